"""Where a sweep looks, what Optuna asks for, and the page that tells what came out."""

import re
from typing import Any

import pytest

from m3l.config import ConfigError, LoraSettings, Range, load
from m3l.report.sweep import render
from m3l.tuning import search_space

SPACE = "tune.space={train.cut: [25.0, 50.0, 75.0], train.lr: [0.0001, 0.001]}"


def points(*settings: str) -> list[search_space.Point]:
    config = load("tiny", ["train.cut=50", *settings])
    return search_space.points(config, search_space.space(config))


def test_the_configuration_as_it_stands_comes_first_and_a_grid_is_whole() -> None:
    found = points(SPACE, "train.lr=0.001", "tune.search=grid")
    assert found[0] == {"train.cut": 50.0, "train.lr": 0.001}
    assert len(found) == 6 and all(point not in found[:i] for i, point in enumerate(found))
    assert len(points(SPACE, "train.lr=0.007", "tune.search=grid")) == 7


def test_random_draws_come_from_the_seed_and_are_not_repeated() -> None:
    space = "tune.space={train.cut: [25.0, 50.0, 75.0], train.lr: {low: 0.0001, high: 0.01, log: true}}"
    found = points(space, "tune.trials=9")
    assert len(found) == 9 and all(point not in found[:i] for i, point in enumerate(found))
    assert all(0.0001 <= point["train.lr"] <= 0.01 for point in found[1:])
    assert points(space, "tune.trials=9") == found != points(space, "tune.trials=9", "seed=1")
    assert len(points(SPACE, "tune.trials=90")) == 7  # there are no more


def test_without_a_space_the_settings_are_tried_that_decide_most() -> None:
    config = load("tiny", ["tune.space={}"])
    assert list(search_space.space(config)) == ["retriever.bce_weight", "train.cut", "train.lr"]
    joint = load("tiny", ["tune.space={}", "train.schedule=joint", "model.lora={rank: 8}"])
    assert joint.model.lora == LoraSettings(rank=8)
    found = search_space.space(joint)
    assert list(found) == ["retriever.bce_weight", "train.mse_weight", "train.lr", "model.lora.rank"]
    assert found["model.lora.rank"] == [4, 8, 16]


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        (["tune.space={ray.block_rows: [1]}"], "changes nothing in a trial"),
        (["tune.space={train.workers: [1, 2]}"], "tune.trial_workers"),
        (["tune.space={train.cut: [1.0]}", "train.schedule=joint"], "changes nothing where train.schedule is joint"),
        (["tune.space={train.rate: [1.0]}"], "train.rate: no such field"),
        (["tune.space={train.lr: [-1.0]}"], "train.lr: "),
        (["tune.space={train.lr: []}"], "no values"),
        (["tune.space={model.lora.rank: [4]}"], "lora is not a section"),
        (["tune.space={train.lr: {low: 0.1, high: 1}}", "tune.search=grid"], "a grid needs a list"),
        (["tune.space={retriever.lr: {low: 0.1, high: 1}}", "tune.search=optuna"], "give a list"),
    ],
)
def test_a_sweep_that_cannot_be_says_so_in_a_line(settings: list[str], line: str) -> None:
    with pytest.raises(ConfigError, match=line):
        points(*settings)


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ("{low: 2, high: 1}", "a range rises"),
        ("{low: 0, high: 1, log: true}", "above 0"),
        ("{lo: 2}", "low, high, log"),
    ],
)
def test_a_range_that_is_none_is_one_clear_error(given: str, line: str) -> None:
    with pytest.raises(ConfigError, match=line):
        load("tiny", [f"tune.space={{train.lr: {given}}}"])


def test_a_retriever_is_trained_for_each_setting_that_trials_read_with() -> None:
    space = "tune.space={retriever.bce_weight: [0.1, 0.5], train.cut: [25.0, 50.0]}"
    for search in ("grid", "optuna"):
        config = load("tiny", [space, f"tune.search={search}"])
        chosen = search_space.space(config)
        found = search_space.retrievers(config, chosen, search_space.points(config, chosen))
        assert found == [{"retriever.bce_weight": 0.1}, {"retriever.bce_weight": 0.5}]
    config = load("tiny", [SPACE])
    assert search_space.retrievers(config, search_space.space(config), points(SPACE)) == []


def test_optuna_asks_the_same_of_the_same_results_and_nothing_twice() -> None:
    chosen: search_space.Space = {"a": Range(low=0, high=10), "b": ["x", "y"]}

    def searched(cut: int) -> list[tuple[search_space.Point, float]]:
        told: list[tuple[search_space.Point, float]] = [
            ({"a": 9.0, "b": "z"}, 50.0)
        ]  # as configured, outside of the space
        asker = search_space.Asker(chosen, 0, 16)
        for number in range(24):
            asker = search_space.Asker(chosen, 0, 16) if number == cut else asker
            point = asker.ask([point for point, _ in told], told)
            assert point is not None
            told.append((point, (point["a"] - 3) ** 2 + (point["b"] == "y")))
        return told

    told = searched(cut=-1)
    assert searched(cut=11) == told
    assert min(value for _, value in told) < 0.1  # by chance alone: about 1
    asked = [{"b": "x"}, {"b": "y"}]
    assert search_space.Asker({"b": ["x", "y"]}, 0, 4).ask(asked, []) is None


def record(cut: float, *objectives: float, end: str | None = "finished", error: str | None = None) -> dict[str, Any]:
    seeds = [
        {"seed": i, "objective": v, "validation_nll": v / 2, "validation_mse": v / 2} for i, v in enumerate(objectives)
    ]
    evaluations = [{"seed": 0, "step": 4, "objective": 9.0 + cut, "at": cut, "nll": 4.0, "mse": 5.0}]
    return {"point": {"train.cut": cut}, "evaluations": evaluations, "seeds": seeds, "end": end, "error": error}


TRIALS = search_space.ranked(
    [
        search_space.told(found)
        for found in (
            record(25.0, end="stopped"),
            record(50.0, 2.0, 3.0, 4.0),
            record(60.0, 1.0, 2.0, 3.0),
            record(70.0, float("nan"), 1.0),
            record(75.0, error="<script>", end=None) | {"evaluations": []},
        )
    ]
)


def test_trials_are_told_by_the_mean_of_their_seeds_and_ranked() -> None:
    assert [trial["params"]["train.cut"] for trial in TRIALS] == [60.0, 50.0, 25.0, 70.0, 75.0]
    assert [trial["objective"] for trial in TRIALS] == [2.0, 3.0, 34.0, None, None]
    assert [trial["sd"] for trial in TRIALS] == [1.0, 1.0, None, None, None]


def test_the_page_tells_what_the_configuration_gives_and_what_is_best_with_its_spread() -> None:
    page = render(TRIALS, {"train.cut": 50.0})
    text = re.sub(r"<script.*?</script>|<[^>]*>", "", page, flags=re.DOTALL)
    assert re.search(r"3\.0000\s*as configured, ± 1\.0000\s*train.cut 50\.0", text)
    assert re.search(r"2\.0000\s*the best, ± 1\.0000\s*train.cut 60\.0", text)
    assert "Means of 3 seeds" in text
    for title in ("Each line is a trial", "What decides", "Objective, trial by trial"):
        assert title in text
    assert "&lt;script&gt;" in page
    assert not re.search(r"<script[^>]* src=|<link", page)  # all that it needs is inside


def test_a_page_of_one_trial_has_no_picture_of_what_decides() -> None:
    one = [search_space.told(record(50.0, 2.0))]
    page = render(one, {"train.cut": 50.0})
    assert "What decides" not in page and "tune.seeds=3" in page
