"""Charts of how sure the figures are: each with its interval, beside others, and the coverage of likes' intervals."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import matplotlib
import numpy as np

from m3l.report import charts
from m3l.report.charts import INK, LINE, SERIES, SOFT
from m3l.report.labels import GROUPS, METRICS, PREDICTORS, SPLITS, dig, percent

WORDED = ("bleu1", "bleu4", "rouge_l")
WORST = -1.0  # what is worse stands at the edge
PLAIN = {"model": INK, "noise_floor": SOFT}


class Told(NamedTuple):
    """Who told something, how well, and the 95% interval of that where it is known."""

    who: str
    value: float
    interval: Sequence[float] | None


def by_split(metrics: dict[str, Any]) -> str:
    """R2 of log likes of every predictor on every split; an empty string where there are no splits."""
    told = metrics.get("splits") or {}
    splits = {name: told[name] for name in (*SPLITS, *sorted(told)) if name in told}
    rows = {SPLITS.get(name, name): _told(split, "likes", "r2_log1p") for name, split in splits.items()}
    return _forest({label: told for label, told in rows.items() if told}, METRICS["r2_log1p"])


def by_wording(metrics: dict[str, Any]) -> str:
    """BLEU and ROUGE of the model's captions beside others; an empty string where nobody stands beside it."""
    captions = metrics.get("captions") or {}
    if not captions.get("beside"):
        return ""
    every = {"model": captions, **captions["beside"]}
    scores = {metric: {who: told.get(metric) for who, told in every.items()} for metric in WORDED}
    whole = metrics | {"captions": scores}
    rows = {METRICS[metric]: _told(whole, "captions", metric) for metric in WORDED}
    return _forest(
        {label: told for label, told in rows.items() if told}, "from 0, no word in common, to 1, the true caption"
    )


def covered(metrics: dict[str, Any]) -> str:
    """The share of likes inside each interval over what it promises; an empty string where it was not measured."""
    coverage = metrics.get("coverage") or {}
    groups = {name: coverage[name] for name in GROUPS if coverage.get(name)}
    if not groups:
        return ""
    with matplotlib.rc_context(charts.STYLE):
        figure, axes = charts.canvas(4.6, 3.0)
        axes.plot([40, 100], [40, 100], color=SOFT, linewidth=0.8)
        for place, (name, levels) in enumerate(groups.items()):
            shift, colour = 1.6 * (place - (len(groups) - 1) / 2), SERIES[place % len(SERIES)]
            for level, told in levels.items():
                low, high = told["by_chance"]
                axes.plot([int(level) + shift] * 2, [100 * low, 100 * high], color=colour, linewidth=5, alpha=0.25)
            at, measured = [int(level) + shift for level in levels], [100 * t["measured"] for t in levels.values()]
            axes.plot(at, measured, "o", color=colour, markersize=5, label=GROUPS[name])
        axes.set_xticks([50, 80, 95], ["50%", "80%", "95%"])
        axes.set(xlabel="promised", ylabel="likes inside", xlim=(42, 101))
        axes.yaxis.set_major_formatter(lambda value, _: percent(value / 100))
        axes.legend(loc="upper left", fontsize=8.5)
        return charts.markup(figure)


def _told(metrics: dict[str, Any], kind: str, metric: str) -> list[Told]:
    """Everyone's figure of one metric, in the order of PREDICTORS."""
    scores = dig(metrics, f"{kind}.{metric}") or {}
    intervals = dig(metrics, f"intervals.{kind}.{metric}") or {}
    known = [who for who in PREDICTORS if scores.get(who) is not None]
    return [Told(who, scores[who], intervals.get(who)) for who in known]


def _forest(rows: dict[str, list[Told]], title: str) -> str:
    """A block for each row, and in it a dot with its interval for everyone; an empty string without rows."""
    if not rows:
        return ""
    names = list(dict.fromkeys(told.who for block in rows.values() for told in block))
    places, at, labelled = [], 0.0, set[str]()
    with matplotlib.rc_context(charts.STYLE):
        figure, axes = charts.canvas(4.6, 0.7 + 0.16 * sum(len(block) + 1.5 for block in rows.values()))
        for block in rows.values():
            places.append(at + (len(block) - 1) / 2)
            for told in block:
                colour = PLAIN.get(told.who) or SERIES[names.index(told.who) % len(SERIES)]
                if told.interval:
                    axes.plot(np.maximum(told.interval, WORST), [at, at], color=colour, linewidth=1.4, alpha=0.6)
                label = None if told.who in labelled else PREDICTORS[told.who]
                labelled.add(told.who)
                marker = "o" if told.value > WORST else "<"
                axes.plot([max(told.value, WORST)], [at], marker, color=colour, markersize=4.5, label=label)
                at += 1
            at += 1.5
        axes.axvline(0, color=LINE, linewidth=0.8, zorder=0)
        axes.set_yticks(places, list(rows))
        least = max(WORST, min(told.value for block in rows.values() for told in block))
        axes.set(xlabel=title, ylim=(at - 1.5, -1), xlim=(min(0.0, float(np.floor(10 * least) / 10)) - 0.02, 1.02))
        figure.legend(loc="outside upper left", fontsize=8, ncols=2, handletextpad=0.2)
        return charts.markup(figure)
