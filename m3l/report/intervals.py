"""Charts of uncertainty: metrics with their 95% intervals, and the coverage of the calibrated ranges of likes."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import matplotlib
import numpy as np

from m3l.report import charts
from m3l.report.charts import INK, LINE, SERIES, SOFT
from m3l.report.labels import GROUPS, METRICS, PREDICTORS, SPLITS, dig, percent, predictor

OVERLAP_METRICS = ("bleu1", "bleu4", "rouge_l")
MIN_VALUE = -1.0  # lower values are drawn at the edge
FIXED_COLOURS = {"model": INK, "noise_floor": SOFT}


class Estimate(NamedTuple):
    """A metric of one predictor, and its 95% interval if known."""

    predictor: str
    value: float
    interval: Sequence[float] | None


def r2_by_split(metrics: dict[str, Any]) -> str:
    """R² of log likes of every predictor on every split; an empty string without splits."""
    by_split = metrics.get("splits") or {}
    splits = {name: by_split[name] for name in (*SPLITS, *sorted(by_split)) if name in by_split}
    rows = {
        SPLITS.get(name, name).capitalize(): _estimates(split, "likes", "r2_log1p") for name, split in splits.items()
    }
    return _forest({label: estimates for label, estimates in rows.items() if estimates}, METRICS["r2_log1p"])


def caption_overlap(metrics: dict[str, Any]) -> str:
    """BLEU and ROUGE-L of the model's captions and of baselines; an empty string without baselines."""
    captions = metrics.get("captions") or {}
    if not captions.get("beside"):
        return ""
    by_predictor = {"model": captions, **captions["beside"]}
    scores = {metric: {name: values.get(metric) for name, values in by_predictor.items()} for metric in OVERLAP_METRICS}
    rows = {METRICS[metric]: _estimates(metrics | {"captions": scores}, "captions", metric) for metric in scores}
    return _forest(
        {label: estimates for label, estimates in rows.items() if estimates},
        "0: no word in common, 1: identical to the actual caption",
    )


def coverage(metrics: dict[str, Any]) -> str:
    """The share of posts inside each range over its nominal level; an empty string if it was not measured."""
    measured = metrics.get("coverage") or {}
    groups = {name: measured[name] for name in GROUPS if measured.get(name)}
    if not groups:
        return ""
    with matplotlib.rc_context(charts.STYLE):
        figure, axes = charts.canvas(4.6, 3.0)
        axes.plot([40, 100], [40, 100], color=SOFT, linewidth=0.8)
        for index, (name, levels) in enumerate(groups.items()):
            shift, colour = 1.6 * (index - (len(groups) - 1) / 2), SERIES[index % len(SERIES)]
            for level, share in levels.items():
                low, high = share["by_chance"]
                axes.plot([int(level) + shift] * 2, [100 * low, 100 * high], color=colour, linewidth=5, alpha=0.25)
            x, y = [int(level) + shift for level in levels], [100 * share["measured"] for share in levels.values()]
            axes.plot(x, y, "o", color=colour, markersize=5, label=GROUPS[name])
        axes.set_xticks([50, 80, 95], ["50%", "80%", "95%"])
        axes.set(xlabel="Nominal level of the range", ylabel="Posts inside the range", xlim=(42, 101))
        axes.yaxis.set_major_formatter(lambda value, _: percent(value / 100))
        axes.legend(loc="upper left", fontsize=8.5)
        return charts.markup(figure)


def _estimates(metrics: dict[str, Any], kind: str, metric: str) -> list[Estimate]:
    """One metric of every predictor that was measured, in the order of PREDICTORS."""
    values = dig(metrics, f"{kind}.{metric}") or {}
    intervals = dig(metrics, f"intervals.{kind}.{metric}") or {}
    return [Estimate(name, values[name], intervals.get(name)) for name in PREDICTORS if values.get(name) is not None]


def _forest(rows: dict[str, list[Estimate]], title: str) -> str:
    """A forest plot: a block for each row with a dot and an interval for each predictor; "" without rows."""
    if not rows:
        return ""
    predictors = list(dict.fromkeys(each.predictor for block in rows.values() for each in block))
    centres, y = [], 0.0
    with matplotlib.rc_context(charts.STYLE):
        figure, axes = charts.canvas(4.6, 0.7 + 0.16 * sum(len(block) + 1.5 for block in rows.values()))
        labelled = set[str]()
        for block in rows.values():
            centres.append(y + (len(block) - 1) / 2)
            for estimate in block:
                colour = SERIES[predictors.index(estimate.predictor) % len(SERIES)]
                colour = FIXED_COLOURS.get(estimate.predictor) or colour
                label = None if estimate.predictor in labelled else predictor(estimate.predictor)
                labelled.add(estimate.predictor)
                _draw(axes, estimate, y, colour, label)
                y += 1
            y += 1.5
        axes.axvline(0, color=LINE, linewidth=0.8, zorder=0)
        axes.set_yticks(centres, list(rows))
        least = max(MIN_VALUE, min(each.value for block in rows.values() for each in block))
        axes.set(xlabel=title, ylim=(y - 1.5, -1), xlim=(min(0.0, float(np.floor(10 * least) / 10)) - 0.02, 1.02))
        figure.legend(loc="outside upper left", fontsize=8, ncols=2, handletextpad=0.2)
        return charts.markup(figure)


def _draw(axes: Any, estimate: Estimate, y: float, colour: str, label: str | None) -> None:
    if estimate.interval:
        axes.plot(np.maximum(estimate.interval, MIN_VALUE), [y, y], color=colour, linewidth=1.4, alpha=0.6)
    marker = "o" if estimate.value > MIN_VALUE else "<"
    axes.plot([max(estimate.value, MIN_VALUE)], [y], marker, color=colour, markersize=4.5, label=label)
