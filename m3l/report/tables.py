"""The report's numbers in full: bars of the variance explained, and a table for each kind of metric and split."""

from collections.abc import Callable
from typing import Any, NamedTuple

from m3l.report.labels import GROUPS, METRICS, PREDICTORS, SPLITS, dig, number, percent

LOWER_IS_BETTER = {"rmse", "rmsle", "mae", "perplexity"}


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
    """Likes, captions and retrieval: of each split where splits are told, else of all held-out posts."""
    splits = {f": {SPLITS.get(name, name)}": _whole(told) for name, told in (metrics.get("splits") or {}).items()}
    every = {": all held-out posts": metrics}
    made = [_likes_table(f"Likes{where}", told) for where, told in (splits or every).items()]
    made.append(_coverage_table(metrics.get("coverage") or {}))
    made += [
        _flat_table(f"Captions{where}", _beside(told.get("captions")), dig(told, "intervals.captions"))
        for where, told in (every | splits).items()
    ]
    made += [
        _flat_table(f"Retrieval{where}", _retrieval(told.get("retrieval")), dig(told, "intervals.retrieval"))
        for where, told in (every | splits).items()
    ]
    return [table for table in made if table.rows]


def _whole(split: dict[str, Any]) -> dict[str, Any]:
    """The figures of a split, which may be those of its likes alone."""
    return split if "likes" in split else {"likes": split}


def _beside(captions: dict[str, Any] | None) -> dict[str, Any]:
    """Metric -> who told the captions -> value."""
    known = dict(captions or {})
    others = known.pop("beside", None) or {}
    told = {metric: value if isinstance(value, dict) else {"model": value} for metric, value in known.items()}
    return {
        metric: by | {who: scores[metric] for who, scores in others.items() if metric in scores}
        for metric, by in told.items()
    }


def _coverage_table(coverage: dict[str, Any]) -> Table:
    """The share of likes inside their intervals, and where it may lie by chance: rows of groups, columns of levels."""
    groups = {name: label for name, label in GROUPS.items() if coverage.get(name)}
    levels = list(dict.fromkeys(level for name in groups for level in coverage[name]))

    def cell(told: dict[str, Any] | None) -> Cell:
        if not told:
            return Cell(number(None))
        return Cell(percent(told["measured"]), " to ".join(map(percent, told["by_chance"])))

    rows = [(label, [cell(coverage[name].get(level)) for level in levels]) for name, label in groups.items()]
    return Table("Likes inside their interval, and what chance allows", [f"{level}%" for level in levels], rows)


def _retrieval(scores: dict[str, Any] | None) -> dict[str, Any]:
    """The scores without the model's mrr where the others' stand beside it; none where no frames were retrieved."""
    known = dict(scores or {})
    if known.get("posts") == 0:
        return {}
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


def _flat_table(title: str, scores: dict[str, Any] | None, intervals: dict[str, Any] | None = None) -> Table:
    """One row per metric; a metric with variants has them in columns of their own."""
    known = _known(scores)
    columns = sorted({name for values in known.values() for name in values}, key=_place(PREDICTORS))

    def cell(metric: str, name: str) -> Cell:
        interval = dig(intervals, f"{metric}.{name}") if name in known[metric] else None
        return Cell(number(known[metric].get(name)), " to ".join(map(number, interval)) if interval else "")

    rows = [(METRICS.get(metric) or metric, [cell(metric, column) for column in columns]) for metric in known]
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
