"""One self-contained page from an evaluation: no script, no request, every picture inside."""

import base64
import html
import math
from collections.abc import Mapping
from io import BytesIO
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from m3l.data.storage import write_text
from m3l.report import charts, comparison, intervals
from m3l.report.headlines import headlines
from m3l.report.labels import PARTS, change, number, percent
from m3l.report.schema import Evaluation, Frame, Shown
from m3l.report.tables import bars, tables

THUMBNAIL = (288, 216)  # pixels: sharp on a phone, and a dozen posts stay within a few MB


def build_report(evaluation: Mapping[str, Any] | Evaluation, folder: str) -> str:
    """Write `folder`/index.html (local or `s3://`) and return its path; parts that are missing are left out.

    Raises pydantic's ValidationError if what is there has not the shape of `Evaluation`.
    """
    path = f"{str(folder).rstrip('/')}/index.html"
    write_text(path, render(Evaluation.model_validate(evaluation)))
    return path


def render(evaluation: Evaluation) -> str:
    """The page as HTML text; whatever users wrote is escaped."""
    environment = Environment(
        loader=PackageLoader("m3l.report", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters |= {
        "plain": html.unescape,  # the challenge's captions hold &amp; and &lt;; autoescape comes after
        "number": number,
        "percent": percent,
        "change": change,
        "part": lambda name: PARTS.get(name, name),
        "picture": _picture,
        "seconds": _seconds,
    }
    metrics = evaluation.metrics
    return environment.get_template("template.html").render(
        it=evaluation,
        run=metrics.get("run") or {},
        headlines=headlines(metrics),
        bars=bars(metrics),
        tables=tables(metrics),
        scatter=charts.scatter(evaluation.points, evaluation.noise_sd) if evaluation.points else "",
        by_split=intervals.by_split(metrics),
        by_wording=intervals.by_wording(metrics),
        covered=intervals.covered(metrics),
        why=metrics.get("why") or {},
        curves=_curves(evaluation),
        compared=comparison.table(evaluation.comparison),
        dots=comparison.picture(evaluation.comparison),
        likes_scale=_likes_scale(evaluation.gallery),
    )


def _curves(evaluation: Evaluation) -> list[tuple[str, str]]:
    """(title, chart) of every loss that was logged."""
    made: list[tuple[str, str]] = []
    for stage, rows in evaluation.curves.items():
        names = dict.fromkeys(name for row in rows for name in row if name != "step")
        for name in names:
            if svg := charts.curve(rows, name, len(made)):
                made.append((f"{stage}: {name}", svg))
    return made


def _likes_scale(gallery: tuple[Shown, ...]) -> Any:
    """Where a number of likes lies between the gallery's fewest and most, in percent, on a log scale."""
    every = [v for post in gallery for v in (post.true_likes, post.likes, post.likes_low, post.likes_high)]
    known = [math.log1p(max(0.0, value)) for value in every if value is not None] or [0.0]
    low, high = min(known), max(known)
    return lambda likes: 100 * (math.log1p(max(0.0, likes)) - low) / ((high - low) or 1)


def _picture(frame: Frame) -> str:
    """The frame as a small JPEG data URI; an empty string if it cannot be read."""
    try:
        with Image.open(BytesIO(frame.image)) as image:
            small = image.convert("RGB")
    except (OSError, ValueError, Image.DecompressionBombError):
        return ""
    small.thumbnail(THUMBNAIL)
    sink = BytesIO()
    small.save(sink, "JPEG", quality=78, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(sink.getvalue()).decode()


def _seconds(value: int | float) -> str:
    """A duration in its natural unit: 4.5 s, 12 min, 1.5 h."""
    for size, unit in ((3600, "h"), (60, "min")):
        if value >= 1.5 * size:
            return f"{value / size:.1f} {unit}" if value < 10 * size else f"{value / size:.0f} {unit}"
    return f"{value:.1f} s" if value < 10 else f"{value:.0f} s"
