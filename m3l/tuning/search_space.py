"""What a sweep tries: the values of which fields, and the points that are chosen before it starts. Knows no Ray."""

import itertools
import json
import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

from m3l.config import Config, ConfigError, Range, override
from m3l.data.storage import short_hash

Point = dict[str, Any]  # dotted field -> the value that a trial tries
Space = Mapping[str, list[Any] | Range]  # dotted field -> the values to try
TUNABLE_SECTIONS = ("train", "model", "retriever")
RETRIEVER = "retriever."
MAX_DRAWS = 1000  # random draws in search of a point that was not drawn before


def build_space(config: Config) -> Space:
    """The search space of a sweep.

    Args:
        config: `tune.space`, or else a few values around those of the most important fields.

    Raises:
        ConfigError: A field does not exist, has no values, or would not change a trial's result.
    """
    space = config.tune.space or _default_space(config)
    for field in space:
        if problem := _problem(config, space, field):
            raise ConfigError(f"tune.space: {field}{problem}")
    for field, values in space.items():
        for value in values if isinstance(values, list) else [values.low, values.high]:
            override(config, {field: value})  # raises for a mistyped field or a value out of range
    return space


def initial_points(config: Config, space: Space) -> list[Point]:
    """The points that are chosen before the sweep: the configured values first, then the grid or random draws.

    Args:
        config: The configured values, `seed`, and `search` and `trials` of `tune`. With `search` optuna the first point
            is the only one; Optuna suggests the others during the sweep.
        space: The search space.
    """
    configured = {field: _configured_value(config, field) for field in space}
    if config.tune.search == "optuna":
        return [configured]
    if config.tune.search == "grid":
        return [configured, *(point for point in _grid(space) if point != configured)]
    points, generator = [configured], random.Random(config.seed)
    for _ in range(MAX_DRAWS):
        if len(points) >= config.tune.trials:
            break
        point = {field: _draw(values, generator) for field, values in space.items()}
        if point not in points:
            points.append(point)
    return points


def retriever_points(space: Space, points: Sequence[Point], search: str) -> list[Point]:
    """The settings of each retriever that the trials need; empty if no field of the retriever is swept.

    Args:
        space: The search space.
        points: The initial points.
        search: `tune.search`; Optuna may combine all values of the retriever's fields.
    """
    settings = [retriever_part(point) for point in points]
    if search == "optuna":
        settings += _grid(retriever_part(space))
    return [part for i, part in enumerate(settings) if part and part not in settings[:i]]


def retriever_part(point: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a point that are the retriever's: trials with the same values of them share a retriever."""
    return {field: value for field, value in point.items() if field.startswith(RETRIEVER)}


def point_name(point: Point) -> str:
    """The name of a point's folder."""
    return short_hash([json.dumps(point, sort_keys=True)])[:10]


def _problem(config: Config, space: Space, field: str) -> str | None:
    """Why a field cannot be swept, as the end of a sentence that starts with the field."""
    is_range = isinstance(space[field], Range)
    if field in {"train.workers", "train.min_workers"}:
        return " changes no result: a trial has tune.trial_workers"
    if field == "train.cut" and config.train.schedule == "joint" and "train.schedule" not in space:
        return " changes nothing where train.schedule is joint"
    if field.split(".")[0] not in TUNABLE_SECTIONS:
        return " changes nothing in a trial, which trains on the posts that ingest has left"
    if space[field] == []:
        return " has no values"
    if config.tune.search == "grid" and is_range:
        return ": a grid needs a list of values; a range is for random and optuna"
    if config.tune.search == "optuna" and is_range and field.startswith(RETRIEVER):
        return ": give a list, since a retriever is trained for each value before the trials"
    return None


def _default_space(config: Config) -> Space:
    train, lora = config.train, config.model.lora
    space: dict[str, list[Any]] = {"retriever.bce_weight": [0.0, 0.1, 0.9]}
    if train.schedule == "joint":
        space["train.mse_weight"] = [0.3, 1.0, 3.0]
    else:
        space["train.cut"] = [25.0, 50.0, 75.0]
    space["train.lr"] = [float(f"{train.lr * factor:.2g}") for factor in (0.3, 1, 3)]
    if lora:
        space["model.lora.rank"] = sorted({max(1, lora.rank // 2), lora.rank, 2 * lora.rank})
    return space


def _grid(space: Space) -> list[Point]:
    lists = [values for values in space.values() if isinstance(values, list)]
    return [dict(zip(space, values, strict=True)) for values in itertools.product(*lists)]


def _draw(values: list[Any] | Range, generator: random.Random) -> Any:
    if isinstance(values, list):
        return generator.choice(values)
    if values.log:
        return math.exp(generator.uniform(math.log(values.low), math.log(values.high)))
    return generator.uniform(values.low, values.high)


def _configured_value(config: Config, field: str) -> Any:
    value: Any = config.model_dump(mode="json")
    for part in field.split("."):
        value = value[part]
    return value
