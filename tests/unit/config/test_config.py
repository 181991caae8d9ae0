"""A configuration is right, or one line says which field is wrong and what to write."""

from importlib import resources

import pytest
import yaml

from m3l.config import Config, ConfigError, anchored, load, override, parse

PRESETS = sorted(file.name[:-5] for file in resources.files("m3l.presets").iterdir() if file.name.endswith(".yaml"))


def refusal(text: str, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(text, overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_the_same_after_a_round_trip_through_yaml(name: str) -> None:
    config = load(name)
    assert config.name == name
    assert parse(config.to_yaml()) == config


def test_the_defaults_are_those_of_the_paper() -> None:
    config = Config()
    assert (config.train.cut, config.retriever.bce_weight, config.retriever.dfr_weight) == (50, 0.1, 0.9)
    assert (config.media.key_frames, config.retriever.top_k) == (50, 10)
    assert [(task.masked, task.head) for task in config.tasks] == [("caption", "caption"), ("likes", "likes")]
    assert all("You are content creating wizard." in task.template for task in config.tasks)


def test_an_override_changes_one_field_alone() -> None:
    config = load("tiny", ["train.lr=0.5", "model.lora={rank: 2}", "paths.run=s3://bucket/run/"])
    assert (config.train.lr, config.train.epochs) == (0.5, load("tiny").train.epochs)
    assert config.model.lora and config.model.lora.rank == 2
    assert config.paths.of("posts") == "s3://bucket/run/posts"


def test_a_copy_with_changes_leaves_the_original() -> None:
    config = load("tiny")
    changed = override(config, {"train.cut": 20.0, "retriever.clip.pretrained": None, "evaluate.splits": ["a", "b"]})
    assert (changed.train.cut, changed.retriever.clip.pretrained, changed.evaluate.splits) == (20, None, ("a", "b"))
    assert config.train.cut == load("tiny").train.cut
    assert override(changed, {"train.cut": config.train.cut, "evaluate.splits": list(config.evaluate.splits)}) == config
    with pytest.raises(ConfigError, match=r"train\.cutt"):
        override(config, {"train.cutt": 1})


def test_a_mistyped_field_is_an_error_that_lists_the_fields() -> None:
    assert refusal("train: {epoch: 3}").startswith("train.epoch: no such field; the fields here are schedule, cut,")
    assert "the fields here are clip, top_k" in refusal("", "retriever.topk=3")
    assert "the fields here are name, pretrained, tiny" in refusal("retriever: {clip: {nam: x}}")
    assert "the fields here are rank, alpha" in refusal("model: {lora: {rnk: 2}}")
    message = refusal("tasks: [{name: a, masked: likes, head: likes, templat: '[MASK]'}]")
    assert "the fields here are name, masked" in message
    assert "the fields here are name, seed, paths" in refusal("trian: {}")


def test_a_value_out_of_range_names_its_field() -> None:
    assert refusal("train: {cut: 101}").startswith("train.cut: ")
    assert refusal("train: {strategy: pipeline}").startswith("train.strategy: ")
    assert refusal("model: {lora: {rank: 0}}").startswith("model.lora.rank: ")


@pytest.mark.parametrize("item", ["train.lr", "=3", "name.x=3", "train.lr={", "train.lr.x=3"])
def test_a_malformed_override_is_an_error_of_one_line(item: str) -> None:
    assert item.split("=")[0].split(".")[0] in refusal("name: a\ntrain: {lr: 1.0}", item)


def test_a_malformed_configuration_is_an_error_of_one_line(tmp_path) -> None:
    assert "mapping" in refusal("- a\n- b")
    assert "not YAML" in refusal("a: [\n")
    with pytest.raises(ConfigError, match=r"no preset 'tinny': use one of .*tiny"):
        load("tinny")
    with pytest.raises(ConfigError, match="no configuration file"):
        load(str(tmp_path / "absent.yaml"))
    assert "leaves no post to train on" in refusal("corpus: {validation_share: 0.5, test_share: 0.5}")
    (tmp_path / "mine.yaml").write_text("name: mine\n")
    assert load(str(tmp_path / "mine.yaml"), ["seed=4"]).seed == 4


@pytest.mark.parametrize(
    ("masked", "head", "template", "says"),
    [
        ("likes", "likes", "{{Likes {likes}.}} [MASK]", "the template shows its masked field {likes}"),
        ("posted_at", "caption", "On {date}: [MASK]", "the template shows its masked field {date}"),
        ("likes", "likes", "Likes:", "exactly one [MASK], at its end"),
        ("likes", "likes", "[MASK] or [MASK]", "exactly one [MASK], at its end"),
        ("likes", "likes", "[MASK] likes", "exactly one [MASK], at its end"),
        ("caption", "likes", "[MASK]", "the head likes predicts likes, not caption"),
    ],
)
def test_a_task_with_an_unusable_template_is_refused(masked: str, head: str, template: str, says: str) -> None:
    task = {"name": "odd", "masked": masked, "head": head, "template": template}
    assert says in refusal(yaml.safe_dump({"tasks": [task]}))


def test_tasks_mask_fields_of_posts_and_have_different_names() -> None:
    task = {"name": "a", "masked": "caption", "head": "caption", "template": "[MASK]"}
    assert "names must differ" in refusal(yaml.safe_dump({"tasks": [task, task]}))
    assert "tasks.0.masked" in refusal(yaml.safe_dump({"tasks": [task | {"masked": "views"}]}))


def test_local_paths_become_absolute_and_others_stay(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paths = ["paths.run=runs/x", "paths.bundle=s3://bucket/bundle", "predict.out=predicted.csv"]
    config = anchored(load("tiny", [*paths, "model.checkpoint=mine"]))
    assert config.model.checkpoint == "mine"  # there is no such folder: the name of a repository on the hub
    (tmp_path / "mine").mkdir()
    assert anchored(config).model.checkpoint == str(tmp_path / "mine")
    assert config.paths.of("posts") == str(tmp_path / "runs/x/posts")
    assert config.paths.of("bundle") == "s3://bucket/bundle"
    assert config.predict.out == str(tmp_path / "predicted.csv")
    assert config.paths.media_root is None


def test_muon_is_refused_with_sharded_matrices():
    with pytest.raises(ConfigError, match="use adamw, or strategy ddp"):
        load("tiny", ["train.optimiser=muon", "train.strategy=fsdp"])
