"""A configuration extends another: a preset or a file next to it."""

from operator import attrgetter
from pathlib import Path

import pytest

from m3l.config import ConfigError, load, parse


def write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def test_sections_are_merged_field_by_field_and_lists_are_replaced() -> None:
    tiny = load("tiny")
    config = parse("{extends: tiny, train: {epochs: 2}, evaluate: {splits: [test_time]}}")
    assert config.train == tiny.train.model_copy(update={"epochs": 2})
    assert config.evaluate == tiny.evaluate.model_copy(update={"splits": ("test_time",)})
    assert config.retriever == tiny.retriever


def test_a_sweeps_space_is_replaced_as_a_whole() -> None:
    assert load("tiny").tune.space
    assert parse("{extends: tiny, tune: {space: {train.lr: [0.1]}}}").tune.space == {"train.lr": [0.1]}
    assert load("smollm2").tune.space == {}


def test_a_file_extends_a_file_relative_to_itself(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    write(tmp_path / "shared" / "base.yaml", "{extends: tiny, seed: 7, train: {lr: 0.5}}")
    config = load(write(tmp_path / "mine.yaml", "{extends: shared/base.yaml, train: {epochs: 2}}"), ["seed=8"])
    assert (config.seed, config.train.lr, config.train.epochs) == (8, 0.5, 2)
    assert config.train.batch_size == load("tiny").train.batch_size


def test_an_extended_configuration_is_written_out_in_full() -> None:
    config = load("smollm2")
    assert "extends" not in config.to_yaml()
    assert parse(config.to_yaml()) == config


def test_a_deprecated_name_in_the_base_gives_way_to_the_new_one(tmp_path: Path) -> None:
    base = write(tmp_path / "base.yaml", "train: {warmup_epochs: 3}")
    with pytest.warns(FutureWarning, match=r"train\.alignment_epochs"):
        assert parse(f"{{extends: {base}, train: {{alignment_epochs: 2}}}}").train.alignment_epochs == 2


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        (
            "smollm2",
            {
                "corpus.posts": 2500,
                "media.key_frames": 16,
                "retriever.clip.tiny": True,
                "retriever.trainable": "layers",
                "model.checkpoint": "checkpoints/smollm2",
                "model.lora.rank": 16,
                "model.dtype": "bfloat16",
                "model.new_accounts": "name",
                "model.max_caption_tokens": 40,
                "train.alignment_epochs": 7,
                "train.alignment_tasks": False,
                "train.epochs": 2,
                "train.optimiser": "muon",
                "train.lr": 1.5e-3,
                "tune.trials": 8,
                "tune.scheduler": "asha",
                "tune.posts": None,
                "evaluate.batch_size": 32,
                "evaluate.num_beams": 3,
            },
        ),
        (
            "flan-t5-xl",
            {
                "model.checkpoint": "Salesforce/instructblip-flan-t5-xl",
                "model.lora.alpha": 32,
                "model.dtype": "bfloat16",
                "train.lr": 1e-4,
                "ray.clip_gpus": 0.25,
                "ray.model_gpus": 1,
            },
        ),
    ],
)
def test_presets_that_extend_others_have_these_values(name: str, fields: dict[str, object]) -> None:
    config = load(name)
    assert {field: attrgetter(field)(config) for field in fields} == fields
    assert config.paths.run == f"runs/{name}"


def test_smollm2_has_the_tasks_of_tiny() -> None:
    assert load("smollm2").tasks == load("tiny").tasks


def test_loops_and_unknown_names_are_one_clear_line(tmp_path: Path) -> None:
    first = write(tmp_path / "first.yaml", "extends: second.yaml")
    write(tmp_path / "second.yaml", "extends: first.yaml")
    for text, message in (
        (f"extends: {first}", "extends: .*first.yaml extends .*second.yaml extends .*first.yaml, a loop"),
        ("extends: tiney", "no preset 'tiney': use one of"),
        ("extends: missing.yaml", "no configuration file missing.yaml"),
        ("extends: [tiny]", "extends: name a preset or a .yaml file"),
    ):
        with pytest.raises(ConfigError, match=message) as caught:
            parse(text)
        assert "\n" not in str(caught.value)
