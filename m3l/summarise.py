"""Measured rows -> metrics.json: the model beside its baselines, split by split."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import numpy as np

from m3l.corpus import named_in
from m3l.metrics import bootstrap, caption_metrics, likes_metrics, r2_log1p, rmsle

HEADLINE = "test_random"  # the split whose likes stand at the top; the others stand under "splits"


def summarise(
    rows: Iterable[dict[str, Any]],
    baselines: dict[str, dict[str, float]],
    subjects: list[str],
    rounds: int,
    seed: int,
) -> dict[str, Any]:
    """metrics.json without "run": likes of the headline split, captions and retrieval of all rows.

    `baselines` are name -> post_id -> likes. What cannot be told (no truth, no such rows) is None.
    """
    measured = list(rows)
    by_split: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in measured:
        by_split[row["split"]].append(row)
    splits = {name: _likes(found, baselines) for name, found in sorted(by_split.items())}
    headline = by_split.get(HEADLINE, measured)
    true, told = _column(headline, "likes"), _column(headline, "told_likes")
    return {
        "likes": _likes(headline, baselines),
        "captions": _captions(measured, subjects),
        "retrieval": _retrieval(measured),
        "splits": {name: {"likes": likes, "posts": len(by_split[name])} for name, likes in splits.items()},
        "intervals": {
            "likes": {
                "r2_log1p": {"model": bootstrap(r2_log1p, true, told, rounds, seed)},
                "rmsle": {"model": bootstrap(rmsle, true, told, rounds, seed)},
            }
        },
        "coverage_80": _mean(r["low"] <= r["likes"] <= r["high"] for r in headline),
    }


def _likes(rows: list[dict[str, Any]], baselines: dict[str, dict[str, float]]) -> dict[str, dict[str, float | None]]:
    """Metric -> who told it -> value."""
    told = {"model": _column(rows, "told_likes"), "model_without_media": _column(rows, "without_media")}
    told |= {name: np.array([likes[r["post_id"]] for r in rows]) for name, likes in baselines.items()}
    if all(row["expected_log1p"] is not None for row in rows):
        told["noise_floor"] = np.expm1(_column(rows, "expected_log1p"))
    true = _column(rows, "likes")
    values = {name: likes_metrics(true, predicted) for name, predicted in told.items()}
    return {metric: {name: v[metric] for name, v in values.items()} for metric in values["model"]}


def _captions(rows: list[dict[str, Any]], subjects: list[str]) -> dict[str, Any]:
    scores = caption_metrics([r["caption"] for r in rows], [r["told_caption"] for r in rows])
    known = [r for r in rows if r["subjects"] and r["seen"]]
    two = [r for r in known if r["kind"] == "video" and len(r["subjects"]) == 2]
    return {
        "subject_named": {
            "model": _mean(_names_all(r["told_caption"], r["subjects"], subjects) for r in known),
            "shuffled_media": _mean(_names_all(r["shuffled_caption"], r["subjects"], subjects) for r in known),
        },
        "order_right": _mean(named_in(r["told_caption"], subjects) == r["subjects"] for r in two),
        **scores,
    }


def _names_all(caption: str, shown: list[str], subjects: list[str]) -> bool:
    return set(shown) <= set(named_in(caption, subjects))


def _retrieval(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Metric -> who chose the frames -> value; `mrr` once more by itself, as the model's."""
    known = [row["retrieval"] for row in rows if row["retrieval"]]

    def told(metric: str) -> dict[str, float | None]:
        return {
            by: _mean(
                found[metric] for post in known for found in post if found["by"] == by and found[metric] is not None
            )
            for by in ("model", "plain_top", "uniform")
        }

    first = told("reciprocal_rank")
    return {
        "recall_at_10": told("recall"),
        "mrr": first["model"],
        "reciprocal_rank": first,
        "near_duplicates": told("near_duplicates"),
        "shows_both": told("shows_both"),
        "posts": len(known),
    }


def _column(rows: list[dict[str, Any]], name: str) -> np.ndarray:
    return np.array([row[name] for row in rows], np.float64)


def _mean(values: Iterable[float | bool]) -> float | None:
    known = list(values)
    return float(np.mean(known)) if known else None
