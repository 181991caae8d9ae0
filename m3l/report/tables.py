"""The report's bars of explained variance, and tables of all metrics, overall and by split."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from m3l.report.labels import GROUPS, METRICS, PREDICTORS, SPLITS, dig, number, percent, predictor

LOWER_IS_BETTER = {"rmse", "rmsle", "mae", "perplexity"}


class Bar(NamedTuple):
    """The share of the variance that one predictor explains, and the ends of its 95% interval if known."""

    name: str
    label: str
    value: float
    low: float | None
    high: float | None


class Cell(NamedTuple):
    """A formatted value, its 95% interval or deviation if known, and whether it is the best of its column."""

    value: str
    interval: str = ""
    best: bool = False


class Table(NamedTuple):
    """A titled table: labels of the columns, and label and cells of each row."""

    title: str
    columns: list[str]
    rows: list[tuple[str, list[Cell]]]


def bars(metrics: dict[str, Any]) -> list[Bar]:
    """R² of log likes of every predictor, the model first."""
    values, result = dig(metrics, "likes.r2_log1p") or {}, []
    for name in PREDICTORS:
        if (value := values.get(name)) is not None:
            low, high = dig(metrics, f"intervals.likes.r2_log1p.{name}") or (None, None)
            result.append(Bar(name, predictor(name), value, low, high))
    return result


def tables(metrics: dict[str, Any]) -> list[Table]:
    """Tables of likes, coverage, captions and retrieval; likes by split if there are splits, the rest for both."""
    by_split = {name: _complete(split) for name, split in (metrics.get("splits") or {}).items()}
    splits = {f": {SPLITS.get(name, name)}": split for name, split in by_split.items()}
    overall = {": all held-out posts": metrics}
    result = [_likes_table(f"Likes{title}", part) for title, part in (splits or overall).items()]
    result.append(_coverage_table(metrics.get("coverage") or {}))
    for title, part in (overall | splits).items():
        captions = _captions_by_predictor(part.get("captions"))
        result.append(_metric_table(f"Captions{title}", captions, dig(part, "intervals.captions")))
    for title, part in (overall | splits).items():
        retrieval = _retrieval_metrics(part.get("retrieval"))
        result.append(_metric_table(f"Retrieval{title}", retrieval, dig(part, "intervals.retrieval")))
    return [table for table in result if table.rows]


def _complete(split: dict[str, Any]) -> dict[str, Any]:
    """The metrics of a split, which may be those of its likes alone."""
    return split if "likes" in split else {"likes": split}


def _captions_by_predictor(captions: dict[str, Any] | None) -> dict[str, Any]:
    """Metric -> predictor -> value; the other predictors are under `beside`."""
    model = dict(captions or {})
    others = model.pop("beside", None) or {}
    metrics = {metric: value if isinstance(value, dict) else {"model": value} for metric, value in model.items()}
    return {
        metric: values | {name: other[metric] for name, other in others.items() if metric in other}
        for metric, values in metrics.items()
    }


def _retrieval_metrics(metrics: dict[str, Any] | None) -> dict[str, Any]:
    """The metrics without `mrr` if `reciprocal_rank` has it, too; empty if no frames were retrieved."""
    result = dict(metrics or {})
    if result.get("posts") == 0:
        return {}
    if "reciprocal_rank" in result:
        result.pop("mrr", None)
    return result


def _coverage_table(coverage: dict[str, Any]) -> Table:
    """The share of posts inside their range, and where 95% of such shares lie; groups by levels."""
    groups = {name: label for name, label in GROUPS.items() if coverage.get(name)}
    levels = list(dict.fromkeys(level for name in groups for level in coverage[name]))

    def cell(share: dict[str, Any] | None) -> Cell:
        if not share:
            return Cell(number(None))
        return Cell(percent(share["measured"]), " to ".join(map(percent, share["by_chance"])))

    rows = [(label, [cell(coverage[name].get(level)) for level in levels]) for name, label in groups.items()]
    return Table(
        "Calibrated ranges: posts inside, and what to expect by chance", [f"{level}%" for level in levels], rows
    )


def _likes_table(title: str, metrics: dict[str, Any]) -> Table:
    """One row per predictor, one column per metric."""
    values = _measured(metrics.get("likes"))
    columns = sorted(values, key=_position(METRICS))
    names = sorted({name for column in columns for name in values[column]}, key=_position(PREDICTORS))
    best = {metric: _best(metric, values[metric]) for metric in columns}

    def cell(metric: str, name: str) -> Cell:
        interval = dig(metrics, f"intervals.likes.{metric}.{name}")
        return Cell(number(values[metric].get(name)), _interval(interval), best[metric] == name)

    rows = [(predictor(name), [cell(metric, name) for metric in columns]) for name in names]
    return Table(title, [METRICS.get(metric) or metric for metric in columns], rows)


def _metric_table(title: str, metrics: dict[str, Any] | None, intervals: dict[str, Any] | None = None) -> Table:
    """One row per metric, one column per predictor."""
    values = _measured(metrics)
    columns = sorted({name for by_name in values.values() for name in by_name}, key=_position(PREDICTORS))

    def cell(metric: str, name: str) -> Cell:
        interval = dig(intervals, f"{metric}.{name}") if name in values[metric] else None
        return Cell(number(values[metric].get(name)), _interval(interval))

    rows = [(METRICS.get(metric) or metric, [cell(metric, column) for column in columns]) for metric in values]
    return Table(title, [predictor(column) for column in columns], rows)


def _interval(interval: Sequence[float] | None) -> str:
    return " to ".join(map(number, interval)) if interval else ""


def _best(metric: str, values: dict[str, float]) -> str | None:
    """The best predictor, the noise floor excepted; None if only one was measured."""
    candidates = {name: value for name, value in values.items() if name != "noise_floor"}
    choose = min if metric in LOWER_IS_BETTER else max
    return choose(candidates, key=lambda name: candidates[name]) if len(candidates) > 1 else None


def _measured(metrics: dict[str, Any] | None) -> dict[str, dict[str, float]]:
    """Metric -> predictor -> value, without what was not measured; a bare number is the model's."""
    variants = {metric: v if isinstance(v, dict) else {"model": v} for metric, v in (metrics or {}).items()}
    values = {metric: {n: x for n, x in v.items() if x is not None} for metric, v in variants.items()}
    return {metric: by_name for metric, by_name in values.items() if by_name}


def _position(order: dict[str, str]) -> Callable[[str], tuple[int, str]]:
    """A sort key: the order of the labelled names, then all others by name."""
    positions = {name: position for position, name in enumerate(order)}
    return lambda name: (positions.get(name, len(positions)), name)
