"""The search space of a sweep, and the points that are chosen before it starts."""

import pytest

from m3l.config import ConfigError, LoraSettings, load
from m3l.tuning.search_space import Point, build_space, initial_points, retriever_points

SPACE = "tune.space={train.cut: [25.0, 50.0, 75.0], train.lr: [0.0001, 0.001]}"


def points(*settings: str) -> list[Point]:
    config = load("tiny", ["train.cut=50", *settings])
    return initial_points(config, build_space(config))


def test_a_grid_has_every_combination_and_starts_with_the_configured_values() -> None:
    grid = points(SPACE, "train.lr=0.001", "tune.search=grid")
    assert grid[0] == {"train.cut": 50.0, "train.lr": 0.001}
    assert len(grid) == 6 and all(point not in grid[:i] for i, point in enumerate(grid))
    assert len(points(SPACE, "train.lr=0.007", "tune.search=grid")) == 7


def test_random_points_depend_on_the_seed_and_are_not_repeated() -> None:
    space = "tune.space={train.cut: [25.0, 50.0, 75.0], train.lr: {low: 0.0001, high: 0.01, log: true}}"
    drawn = points(space, "tune.trials=9")
    assert len(drawn) == 9 and all(point not in drawn[:i] for i, point in enumerate(drawn))
    assert all(0.0001 <= point["train.lr"] <= 0.01 for point in drawn[1:])
    assert points(space, "tune.trials=9") == drawn != points(space, "tune.trials=9", "seed=1")
    assert len(points(SPACE, "tune.trials=90")) == 7  # there are no more


def test_without_a_space_the_most_important_settings_are_tried() -> None:
    config = load("tiny", ["tune.space={}"])
    assert list(build_space(config)) == ["retriever.bce_weight", "train.cut", "train.lr"]
    joint = load("tiny", ["tune.space={}", "train.schedule=joint", "model.lora={rank: 8}"])
    assert joint.model.lora == LoraSettings(rank=8)
    space = build_space(joint)
    assert list(space) == ["retriever.bce_weight", "train.mse_weight", "train.lr", "model.lora.rank"]
    assert space["model.lora.rank"] == [4, 8, 16]


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
def test_a_field_that_cannot_be_swept_is_one_clear_error(settings: list[str], line: str) -> None:
    with pytest.raises(ConfigError, match=line):
        points(*settings)


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("{low: 2, high: 1}", "a range rises"),
        ("{low: 0, high: 1, log: true}", "above 0"),
        ("{lo: 2}", "low, high, log"),
    ],
)
def test_an_invalid_range_is_one_clear_error(value: str, line: str) -> None:
    with pytest.raises(ConfigError, match=line):
        load("tiny", [f"tune.space={{train.lr: {value}}}"])


def test_each_combination_of_the_retrievers_settings_needs_one_retriever() -> None:
    space = "tune.space={retriever.bce_weight: [0.1, 0.5], train.cut: [25.0, 50.0]}"
    for search in ("grid", "optuna"):
        config = load("tiny", [space, f"tune.search={search}"])
        chosen = build_space(config)
        found = retriever_points(chosen, initial_points(config, chosen), search)
        assert found == [{"retriever.bce_weight": 0.1}, {"retriever.bce_weight": 0.5}]
    config = load("tiny", [SPACE])
    assert retriever_points(build_space(config), points(SPACE), config.tune.search) == []
