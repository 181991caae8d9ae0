"""The report's numbers in full: bars of the variance explained, and a table for each kind of metric."""

from collections.abc import Callable
from typing import Any, NamedTuple

from m3l.report.words import METRICS, PREDICTORS, SPLITS, dig, number

LOWER_IS_BETTER = {"rmse", "rmsle", "mae"}


class Bar(NamedTuple):
    """One predictor's share of the variance explained, and its 95% interval where it is known."""

    name: str
    label: str
    value: float
    low: float | None
    high: float | None


class Cell(NamedTuple):
    """A number as written, its 95% interval if known, and whether it is its column's best."""

    value: str
    interval: str = ""
    best: bool = False


class Table(NamedTuple):
    title: str
    columns: list[str]
    rows: list[tuple[str, list[Cell]]]


def bars(metrics: dict[str, Any]) -> list[Bar]:
    """Every predictor's R2 of log likes, the model first."""
    explained, made = dig(metrics, "likes.r2_log1p") or {}, []
    for name, label in PREDICTORS.items():
        if (value := explained.get(name)) is not None:
            low, high = dig(metrics, f"intervals.likes.r2_log1p.{name}") or (None, None)
            made.append(Bar(name, label, value, low, high))
    return made


def tables(metrics: dict[str, Any]) -> list[Table]:
    """Likes over all held-out posts and for each split, then captions and retrieval."""
    made = [_likes_table("Likes: all held-out posts", metrics)]
    for split, scores in (metrics.get("splits") or {}).items():
        inner = scores if "likes" in scores else {"likes": scores}
        made.append(_likes_table(f"Likes: {SPLITS.get(split, split)}", inner))
    made += [
        _flat_table("Captions", metrics.get("captions")),
        _flat_table("Retrieval", _retrieval(metrics.get("retrieval"))),
    ]
    return [table for table in made if table.rows]


def _retrieval(scores: dict[str, Any] | None) -> dict[str, Any]:
    """The scores without the model's mrr where the others' stand beside it."""
    known = dict(scores or {})
    if "reciprocal_rank" in known:
        known.pop("mrr", None)
    return known


def _likes_table(title: str, metrics: dict[str, Any]) -> Table:
    """One row per predictor, one column per metric."""
    scores = _known(metrics.get("likes"))
    columns = sorted(scores, key=_place(METRICS))
    names = sorted({name for column in columns for name in scores[column]}, key=_place(PREDICTORS))
    best = {metric: _best(metric, scores[metric]) for metric in columns}

    def cell(metric: str, name: str) -> Cell:
        interval = dig(metrics, f"intervals.likes.{metric}.{name}")
        spread = " to ".join(map(number, interval)) if interval else ""
        return Cell(number(scores[metric].get(name)), spread, best[metric] == name)

    rows = [(PREDICTORS.get(name) or name, [cell(metric, name) for metric in columns]) for name in names]
    return Table(title, [METRICS.get(metric) or metric for metric in columns], rows)


def _flat_table(title: str, scores: dict[str, Any] | None) -> Table:
    """One row per metric; a metric with variants has them in columns of their own."""
    known = _known(scores)
    columns = sorted({name for values in known.values() for name in values}, key=_place(PREDICTORS))
    rows = [
        (METRICS.get(metric) or metric, [Cell(number(values.get(column))) for column in columns])
        for metric, values in known.items()
    ]
    return Table(title, [PREDICTORS.get(column) or column for column in columns], rows)


def _best(metric: str, values: dict[str, float]) -> str | None:
    """Who is best; None where nobody else was measured. Perfect knowledge does not compete."""
    rated = {name: value for name, value in values.items() if name != "noise_floor"}
    choose = min if metric in LOWER_IS_BETTER else max
    return choose(rated, key=lambda name: rated[name]) if len(rated) > 1 else None


def _known(scores: dict[str, Any] | None) -> dict[str, dict[str, float]]:
    """Metric -> variant -> value, without what was not measured; a bare number is the model's."""
    variants = {metric: v if isinstance(v, dict) else {"model": v} for metric, v in (scores or {}).items()}
    known = {metric: {n: x for n, x in v.items() if x is not None} for metric, v in variants.items()}
    return {metric: values for metric, values in known.items() if values}


def _place(order: dict[str, str]) -> Callable[[str], tuple[int, str]]:
    """A sort key: the order of the names that are known, then the others by name."""
    places = {name: place for place, name in enumerate(order)}
    return lambda name: (places.get(name, len(places)), name)
