"""report/predictions/ + report/baselines/ -> the metrics of metrics.json, in one process that holds only numbers."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool

from m3l.data import storage
from m3l.data.id_hash import hash_texts
from m3l.evaluation.baseline_predictions import BASELINE_COLUMNS
from m3l.evaluation.bootstrap import PostValues
from m3l.evaluation.coverage import coverage
from m3l.evaluation.effect_metrics import mean_effects, sign_agreement
from m3l.evaluation.score_schema import SCORE_COLUMNS
from m3l.evaluation.summarise import summarise
from m3l.inference.conformal import Intervals

HEADLINE_SPLIT = "test_random"  # its likes metrics are the top-level ones; every split is under "splits"
SCATTER_POINTS = 2000
POST_COLUMNS = ("likes", "cold_account")

Point = tuple[float, float, str]  # actual likes, predicted likes, split


@dataclass(frozen=True)
class Aggregation:
    """What metrics are aggregated from, and how.

    Attributes:
        predictions: Folder of SCORES.
        baselines: Folder of BASELINES, for the same posts.
        bundle: Folder of the evaluated bundle, for its calibrated intervals.
        replicates: Number of bootstrap replicates.
        seed: Seed of the bootstrap and of the sampled points.
        noise: Standard deviation of log(1 + likes) in the synthetic corpus; None for other posts.
    """

    predictions: str
    baselines: str
    bundle: str
    replicates: int
    seed: int
    noise: float | None


def aggregate_metrics(settings: Aggregation) -> tuple[dict[str, Any], list[Point]]:
    """The content of metrics.json without "run", and a sample of at most SCATTER_POINTS posts for the scatter plot."""
    ids, scores = _read_columns(settings.predictions, (*POST_COLUMNS, *SCORE_COLUMNS))
    scores |= _align(ids, *_read_columns(settings.baselines, BASELINE_COLUMNS))
    order = np.argsort(ids)  # so that the bootstrap does not depend on the order of the files
    scores = {name: values[order] for name, values in scores.items()}
    splits = np.array(list(storage.read_column(settings.predictions, "split")))[order]

    def summarise_posts(members: Bool[np.ndarray, " post"]) -> dict[str, Any]:
        subset = {name: values[members] for name, values in scores.items()}
        return summarise(subset, settings.replicates, settings.seed)

    by_split = {name: summarise_posts(splits == name) for name in np.unique(splits).tolist()}
    overall = summarise_posts(np.ones(len(ids), bool))
    headline = by_split.get(HEADLINE_SPLIT, overall)
    bundle = storage.read_json(f"{settings.bundle}/bundle.json")
    metrics = overall | {
        "likes": headline["likes"],
        "intervals": overall["intervals"] | {"likes": headline["intervals"]["likes"]},
        "coverage": coverage(scores, Intervals.model_validate(bundle["intervals"])),
        "why": _effects(settings.predictions, settings.noise),
        "splits": by_split,
    }
    return metrics, _sample_points(scores, splits, settings.seed)


def _sample_points(scores: dict[str, PostValues], splits: np.ndarray, seed: int) -> list[Point]:
    predicted = np.flatnonzero(np.isfinite(scores["likes.model"]))
    sample = predicted[np.random.default_rng(seed).permutation(len(predicted))[:SCATTER_POINTS]]
    columns = scores["likes"][sample].tolist(), scores["likes.model"][sample].tolist(), splits[sample].tolist()
    return list(zip(*columns, strict=True))


def _read_columns(folder: str, names: tuple[str, ...]) -> tuple[np.ndarray, dict[str, PostValues]]:
    """The ids of a folder's rows as 64-bit hashes, and columns of numbers, NaN where null."""
    ids: list[np.ndarray] = []
    columns: dict[str, list[PostValues]] = {name: [] for name in names}
    for batch in storage.read_batches(folder, ["post_id", *names]):
        ids.append(hash_texts(batch["post_id"].to_pylist()))
        for name in names:
            columns[name].append(batch[name].cast("float64").to_numpy(zero_copy_only=False))
    return np.concatenate(ids), {name: np.concatenate(parts) for name, parts in columns.items()}


def _align(ids: np.ndarray, other_ids: np.ndarray, columns: dict[str, PostValues]) -> dict[str, PostValues]:
    """The columns of `other_ids` in the order of `ids`."""
    order = np.argsort(other_ids)
    rows = order[np.searchsorted(other_ids, ids, sorter=order)]
    return {name: values[rows] for name, values in columns.items()}


def _effects(predictions: str, noise: float | None) -> dict[str, Any]:
    """The mean effect of each part over the explained posts, and how often its sign is right if the truth is known."""
    posts = [row["why"] for row in storage.read_rows(predictions, ["why"]) if row["why"] is not None]
    effects = [effect for post in posts for effect in post]
    agreement = {} if noise is None else sign_agreement(effects, noise)
    return {"posts": len(posts), "size": mean_effects(effects)} | agreement
