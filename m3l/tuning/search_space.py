"""The points of a sweep: which values of which fields are tried, in which order, and what came out. Knows no Ray."""

import itertools
import json
import math
import random
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from m3l.config import Config, ConfigError, Range, override
from m3l.data.storage import name_of

Point = dict[str, Any]  # dotted field -> value
Space = Mapping[str, list[Any] | Range]
OBJECTIVE = "objective"  # the sum of the validation losses: both heads count alike, whatever a trial trains with
SWEPT = ("train", "model", "retriever")
RETRIEVER = "retriever."
DRAWS = 1000  # until a new point is given up


def space(config: Config) -> Space:
    """What is tried: `tune.space`, or around the settings that decide most. ConfigError for what changes nothing."""
    chosen = config.tune.space or _usual(config)
    for field in chosen:
        if field in {"train.workers", "train.min_workers"}:
            raise ConfigError(f"tune.space: {field} changes no result: a trial has tune.trial_workers")
        if field == "train.cut" and config.train.schedule == "joint" and "train.schedule" not in chosen:
            raise ConfigError("tune.space: train.cut changes nothing where train.schedule is joint")
        if field.split(".")[0] not in SWEPT:
            raise ConfigError(f"tune.space: {field} changes nothing in a trial, which trains on what ingest has left")
        if chosen[field] == []:
            raise ConfigError(f"tune.space: {field} has no values")
        if config.tune.search == "grid" and isinstance(chosen[field], Range):
            raise ConfigError(f"tune.space: {field}: a grid needs a list of values; a range is for random and optuna")
        if config.tune.search == "optuna" and isinstance(chosen[field], Range) and field.startswith(RETRIEVER):
            raise ConfigError(
                f"tune.space: {field}: give a list, since a retriever is trained for each before the trials"
            )
    for field, values in chosen.items():  # a mistyped field ends here, before any work
        for value in values if isinstance(values, list) else [values.low, values.high]:
            override(config, {field: value})
    return chosen


def _usual(config: Config) -> Space:
    train, lora = config.train, config.model.lora
    chosen: dict[str, list[Any]] = {"retriever.bce_weight": [0.0, 0.1, 0.9]}
    if train.schedule == "joint":
        chosen["train.mse_weight"] = [0.3, 1.0, 3.0]
    else:
        chosen["train.cut"] = [25.0, 50.0, 75.0]
    chosen["train.lr"] = [float(f"{train.lr * factor:.2g}") for factor in (0.3, 1, 3)]
    if lora:
        chosen["model.lora.rank"] = sorted({max(1, lora.rank // 2), lora.rank, 2 * lora.rank})
    return chosen


def points(config: Config, chosen: Space) -> list[Point]:
    """The trials that are known before the sweep: the configuration as it stands, then the grid or random draws.

    Optuna asks for the others on its way.
    """
    own = {field: _value(config, field) for field in chosen}
    if config.tune.search == "optuna":
        return [own]
    if config.tune.search == "grid":
        return [own, *(point for point in _grid(chosen) if point != own)]
    found, chance = [own], random.Random(config.seed)
    for _ in range(DRAWS):
        if len(found) >= config.tune.trials:
            break
        drawn = {field: _drawn(values, chance) for field, values in chosen.items()}
        if drawn not in found:
            found.append(drawn)
    return found


def retrievers(config: Config, chosen: Space, known: Sequence[Point]) -> list[Point]:
    """The retrievers that the trials read with, as the fields that make each of them; empty if none is swept."""
    swept = {field: values for field, values in chosen.items() if field.startswith(RETRIEVER)}
    made = [retriever(point) for point in known]
    if config.tune.search == "optuna":
        made += _grid(swept)
    return [point for i, point in enumerate(made) if point and point not in made[:i]]


def retriever(point: Point) -> Point:
    """The part of a point that makes a retriever of its own."""
    return {field: value for field, value in point.items() if field.startswith(RETRIEVER)}


def name(point: Point) -> str:
    """What a point's folder is called."""
    return name_of([json.dumps(point, sort_keys=True)])[:10]


class Asker:
    """Points that Optuna's TPE asks for. The same results give the same point, so that a sweep can be cut off."""

    def __init__(self, chosen: Space, seed: int, trials: int):
        from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

        self.seed, self.startup = seed, max(3, trials // 4)
        self.distributions: dict[str, BaseDistribution] = {
            field: FloatDistribution(values.low, values.high, log=values.log)
            if isinstance(values, Range)
            else CategoricalDistribution(values)
            for field, values in chosen.items()
        }

    def ask(self, asked: Sequence[Point], told: Sequence[tuple[Point, float]]) -> Point | None:
        """A point that was not asked for before, given what came out so far; None if none is found."""
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        sampler = optuna.samplers.TPESampler(seed=self.seed + len(asked), n_startup_trials=self.startup)
        study = optuna.create_study(sampler=sampler)
        for point, value in told:
            if all(self._holds(field, point[field]) for field in self.distributions):
                study.add_trial(optuna.trial.create_trial(params=point, distributions=self.distributions, value=value))
        for _ in range(DRAWS):
            drawn = study.ask(self.distributions).params
            if drawn not in asked:
                return drawn
        return None

    def _holds(self, field: str, value: Any) -> bool:
        found: Any = self.distributions[field]
        return value in found.choices if hasattr(found, "choices") else found.low <= value <= found.high


def told(record: Mapping[str, Any]) -> dict[str, Any]:
    """What a trial's record says at its end: the mean of its seeds, their deviation, and how it ended.

    The objective is None where nothing was measured, or what was measured is no number.
    """
    values = [seed[OBJECTIVE] for seed in record["seeds"]]
    last = [known[OBJECTIVE] for known in record["evaluations"][-1:]]
    objective = statistics.fmean(values or last or [math.nan])
    return {
        "params": record["point"],
        OBJECTIVE: objective if math.isfinite(objective) else None,
        "sd": statistics.stdev(values) if len(values) > 1 and math.isfinite(objective) else None,
        "seeds": record["seeds"],
        "end": record["end"],
        "error": record.get("error"),
        "evaluations": record["evaluations"],
    }


def ranked(trials: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The best first; what ended early comes after what was trained to the end, and what was not measured is last."""
    return sorted(trials, key=lambda t: (t[OBJECTIVE] is None, t["end"] != "finished", t[OBJECTIVE] or 0.0))


def _grid(chosen: Space) -> list[Point]:
    lists = [values for values in chosen.values() if isinstance(values, list)]
    return [dict(zip(chosen, values, strict=True)) for values in itertools.product(*lists)]


def _drawn(values: list[Any] | Range, chance: random.Random) -> Any:
    if isinstance(values, list):
        return chance.choice(values)
    if values.log:
        return math.exp(chance.uniform(math.log(values.low), math.log(values.high)))
    return chance.uniform(values.low, values.high)


def _value(config: Config, field: str) -> Any:
    value: Any = config.model_dump(mode="json")
    for part in field.split("."):
        value = value[part]
    return value
