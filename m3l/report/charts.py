"""The report's charts as inline SVG in the colours of the page, so that they follow its light and dark themes."""

import re
from collections.abc import Sequence
from io import StringIO
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from m3l.report.labels import SPLITS, compact

INK, SOFT, LINE, BAND = "#010101", "#020202", "#030303", "#040404"
SERIES = ["#100001", "#100002", "#100003", "#100004", "#100005", "#100006"]
# Placeholder colours, which the markup replaces by variables of style.css.
_VARIABLES = {INK: "--ink", SOFT: "--soft", LINE: "--line", BAND: "--band"} | {
    colour: f"--c{number}" for number, colour in enumerate(SERIES)
}
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "m3l",
    "text.parse_math": False,
    "font.size": 9,
    "text.color": SOFT,
    "axes.labelcolor": SOFT,
    "axes.edgecolor": LINE,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": SOFT,
    "ytick.labelcolor": SOFT,
    "xtick.minor.bottom": False,
    "ytick.minor.left": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}


def scatter(points: Sequence[tuple[float, float, str]], noise_sd: float | None = None) -> str:
    """Predicted over actual likes on log axes (0 is drawn at 1), with the diagonal.

    Args:
        points: (actual likes, predicted likes, split) of each post.
        noise_sd: Standard deviation of log(1 + likes), drawn as a band around the diagonal.
    """
    actual, predicted = (np.clip([point[axis] for point in points], 1, None) for axis in (0, 1))
    split = np.array([point[2] for point in points])
    ends = np.array([0.7, 1.5 * max(actual.max(), predicted.max(), 10)])
    with matplotlib.rc_context(STYLE):
        figure, axes = canvas(4.6, 4.4)
        if noise_sd:
            low, high = ends * np.exp(-noise_sd), ends * np.exp(noise_sd)
            axes.fill_between(ends, low, high, color=BAND, linewidth=0, label="Noise of the likes (±1 SD)")
        axes.plot(ends, ends, color=SOFT, linewidth=0.8, zorder=1)
        for name, colour in zip(dict.fromkeys(split), SERIES * len(points), strict=False):
            members, label = split == name, SPLITS.get(name, name).capitalize()
            axes.scatter(actual[members], predicted[members], s=11, color=colour, alpha=0.55, linewidths=0, label=label)
        axes.set(xscale="log", yscale="log", xlim=ends, ylim=ends, aspect="equal")
        axes.set(xlabel="Actual likes", ylabel="Predicted likes")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(FuncFormatter(lambda value, _: compact(value)))
        axes.legend(loc="upper left", fontsize=8.5, handletextpad=0.4, borderpad=0)
        return markup(figure)


def curve(rows: Sequence[dict[str, float | None]], name: str, colour: int = 0) -> str:
    """One loss over the training steps, raw and smoothed; an empty string if fewer than two values were logged.

    Args:
        rows: The training log: `step` and losses.
        name: The loss.
        colour: Index of its colour.
    """
    logged = [(row.get("step"), row.get(name)) for row in rows]
    finite = np.array([(s, v) for s, v in logged if s is not None and v is not None and np.isfinite(v)])
    if len(finite) < 2:
        return ""
    step, loss = finite.T
    width = max(1, len(loss) // 20)
    count = np.convolve(np.ones_like(loss), np.ones(width), "same")
    smooth = np.convolve(loss, np.ones(width), "same") / count
    with matplotlib.rc_context(STYLE):
        figure, axes = canvas(3.3, 2.0)
        if width > 1:
            axes.plot(step, loss, color=SERIES[colour % 6], linewidth=0.7, alpha=0.35)
        axes.plot(step, smooth, color=SERIES[colour % 6], linewidth=1.6)
        low, high = np.percentile(loss, [0, 98])  # an early outlier must not flatten the rest
        axes.set(xlabel="Step", ylim=(min(0, low), max(1.08 * high, low + 1e-6)))
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(4))
        return markup(figure)


def dots(rows: Sequence[tuple[str, Sequence[float]]], title: str) -> str:
    """One line per row, the first on top: a dot for each value, and a stroke at their mean.

    Args:
        rows: Label and values of each line.
        title: What the values are.
    """
    with matplotlib.rc_context(STYLE):
        figure, axes = canvas(4.6, 0.6 + 0.28 * len(rows))
        for position, (_, values) in enumerate(rows):
            axes.plot(values, [position] * len(values), "o", color=SERIES[0], markersize=4.5, alpha=0.7)
            axes.plot([np.mean(values)], [position], "|", color=INK, markersize=11, markeredgewidth=1.6)
        axes.set_yticks(range(len(rows)), [name for name, _ in rows])
        axes.set(xlabel=title, ylim=(len(rows) - 0.5, -0.5))
        axes.xaxis.set_major_locator(MaxNLocator(5))
        return markup(figure)


def canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """An empty chart of a size in inches; draw on it and call `markup` with the rcParams of STYLE."""
    figure = Figure((width, height), layout="constrained")
    return figure, figure.subplots()


def markup(figure: Figure) -> str:
    """The chart as inline `<svg>`, without XML prologue, metadata, and ids that other charts have too."""
    buffer = StringIO()
    figure.savefig(buffer, format="svg", transparent=True)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r' id="[a-z][A-Za-z.]*_\d+"| xmlns(:xlink)?="[^"]*"', "", svg)
    svg = re.sub(r"'DejaVu Sans'[^;\"]*", "system-ui, sans-serif", svg).replace("xlink:href", "href")
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg))
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, f"var({variable})")
    return re.sub(r"\n\s*", "\n", svg)
