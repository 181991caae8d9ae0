"""report/predictions/ + report/baselines/ -> the figures of metrics.json, in one worker that holds numbers alone."""

from typing import Any

import numpy as np
from jaxtyping import Bool

from m3l.config import Config
from m3l.data import storage
from m3l.data.id_hash import hashes
from m3l.evaluation import baseline_predictions
from m3l.evaluation.bootstrap import Column
from m3l.evaluation.held_out import truth_of
from m3l.evaluation.score_schema import NUMBERS
from m3l.evaluation.summarise import agreement, coverage, summarise
from m3l.inference.conformal import Intervals

HEADLINE = "test_random"  # the split whose likes stand at the top; every split stands under "splits"
POINTS = 2000  # (true likes, told likes, split) for the report's scatter
PLAIN = ("likes", "cold_account")


def figures(config: Config, measured: str, told: str) -> tuple[dict[str, Any], list[tuple[float, float, str]]]:
    """metrics.json without "run", and POINTS of the posts."""
    ids, numbers = _columns(measured, (*PLAIN, *NUMBERS))
    numbers |= _aligned(ids, *_columns(told, baseline_predictions.NUMBERS))
    order = np.argsort(ids)  # whatever the order of the parts is, the bootstrap draws the same
    numbers = {name: column[order] for name, column in numbers.items()}
    splits = np.array(list(storage.read_column(measured, "split")))[order]

    def of(chosen: Bool[np.ndarray, " post"]) -> dict[str, Any]:
        some = {name: column[chosen] for name, column in numbers.items()}
        return summarise(some, config.evaluate.bootstrap, config.seed)

    by_split = {name: of(splits == name) for name in np.unique(splits).tolist()}
    whole = of(np.ones(len(ids), bool))
    headline = by_split.get(HEADLINE, whole)
    bundle = storage.read_json(f"{config.paths.of('bundle')}/bundle.json")
    metrics = whole | {
        "likes": headline["likes"],
        "intervals": whole["intervals"] | {"likes": headline["intervals"]["likes"]},
        "coverage": coverage(numbers, Intervals.model_validate(bundle["intervals"])),
        "why": _why(config, measured),
        "splits": by_split,
    }
    known = np.flatnonzero(np.isfinite(numbers["likes.model"]))
    some = known[np.random.default_rng(config.seed).permutation(len(known))[:POINTS]]
    points = zip(numbers["likes"][some].tolist(), numbers["likes.model"][some].tolist(), splits[some], strict=True)
    return metrics, [(true, said, str(split)) for true, said, split in points]


def _columns(folder: str, names: tuple[str, ...]) -> tuple[np.ndarray, dict[str, Column]]:
    """The ids of a folder's rows in 8 bytes each, and columns of numbers, NaN where there is none."""
    ids: list[np.ndarray] = []
    columns: dict[str, list[Column]] = {name: [] for name in names}
    for batch in storage.read_batches(folder, ["post_id", *names]):
        ids.append(hashes(batch["post_id"].to_pylist()))
        for name in names:
            columns[name].append(batch[name].cast("float64").to_numpy(zero_copy_only=False))
    return np.concatenate(ids), {name: np.concatenate(parts) for name, parts in columns.items()}


def _aligned(ids: np.ndarray, others: np.ndarray, columns: dict[str, Column]) -> dict[str, Column]:
    """The columns in the order of `ids`."""
    order = np.argsort(others)
    at = order[np.searchsorted(others, ids, sorter=order)]
    return {name: column[at] for name, column in columns.items()}


def _why(config: Config, measured: str) -> dict[str, Any]:
    """How large the effects of the sampled posts are, and how often they have the sign that the formula gives them."""
    rows = [row["why"] for row in storage.read_rows(measured, ["why"]) if row["why"] is not None]
    effects = [effect for row in rows for effect in row]
    parts = sorted({effect["part"] for effect in effects})
    told = {part: float(np.mean([abs(e["effect"]) for e in effects if e["part"] == part])) for part in parts}
    return {"posts": len(rows), "size": told} | (agreement(effects, config.corpus.noise) if truth_of(config) else {})
