"""Builds the report as one self-contained HTML page: no scripts, no requests, all images inline."""

import base64
import math
from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from m3l.data.storage import write_text
from m3l.report import charts, comparison, intervals
from m3l.report.headlines import headlines
from m3l.report.labels import PARTS, change, number, percent
from m3l.report.schema import Frame, GalleryPost, ReportData
from m3l.report.tables import bars, tables

THUMBNAIL = (288, 216)  # pixels: sharp on a phone, and a dozen posts stay within a few MB


def build_report(data: Mapping[str, Any] | ReportData, folder: str) -> str:
    """Write `folder`/index.html and return its path; parts without data are left out.

    Args:
        data: `ReportData`, or a mapping of its fields.
        folder: A local or `s3://` folder.

    Raises:
        pydantic.ValidationError: The data do not have the shape of `ReportData`.
    """
    path = f"{str(folder).rstrip('/')}/index.html"
    write_text(path, render(ReportData.model_validate(data)))
    return path


def environment() -> Environment:
    """The Jinja environment of the report's templates; all values are escaped."""
    return Environment(
        loader=PackageLoader("m3l.report", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )


def render(data: ReportData) -> str:
    """The page as HTML; user-written text is escaped."""
    templates = environment()
    templates.filters |= {
        "number": number,
        "percent": percent,
        "change": change,
        "part": lambda name: PARTS.get(name, name),
        "picture": _data_uri,
        "seconds": _duration,
    }
    metrics = data.metrics
    return templates.get_template("template.html").render(
        data=data,
        run=metrics.get("run") or {},
        headlines=headlines(metrics),
        bars=bars(metrics),
        tables=tables(metrics),
        scatter=charts.scatter(data.points, data.noise_sd) if data.points else "",
        by_split=intervals.r2_by_split(metrics),
        caption_overlap=intervals.caption_overlap(metrics),
        covered=intervals.coverage(metrics),
        why=metrics.get("why") or {},
        curves=_curves(data),
        compared=comparison.table(data.comparison),
        dots=comparison.picture(data.comparison),
        likes_scale=_likes_scale(data.gallery),
    )


def _curves(data: ReportData) -> list[tuple[str, str]]:
    """(title, chart) of every logged loss."""
    charts_of_losses: list[tuple[str, str]] = []
    for stage, rows in data.curves.items():
        names = dict.fromkeys(name for row in rows for name in row if name != "step")
        for name in names:
            if svg := charts.curve(rows, name, len(charts_of_losses)):
                charts_of_losses.append((f"{stage}: {name}", svg))
    return charts_of_losses


def _likes_scale(gallery: tuple[GalleryPost, ...]) -> Callable[[float], float]:
    """A function from likes to their position between the gallery's fewest and most likes: percent, log scale."""
    likes = [v for post in gallery for v in (post.actual_likes, post.likes, post.likes_low, post.likes_high)]
    log1p = [math.log1p(max(0.0, value)) for value in likes if value is not None] or [0.0]
    low, high = min(log1p), max(log1p)
    return lambda likes: 100 * (math.log1p(max(0.0, likes)) - low) / ((high - low) or 1)


def _data_uri(frame: Frame) -> str:
    """The frame as a small JPEG in a data URI; an empty string if it cannot be decoded."""
    try:
        with Image.open(BytesIO(frame.image)) as image:
            small = image.convert("RGB")
    except (OSError, ValueError, Image.DecompressionBombError):
        return ""
    small.thumbnail(THUMBNAIL)
    buffer = BytesIO()
    small.save(buffer, "JPEG", quality=78, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def _duration(seconds: int | float) -> str:
    """A duration in its natural unit: 4.5 s, 12 min, 1.5 h."""
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.1f} {unit}" if seconds < 10 * size else f"{seconds / size:.0f} {unit}"
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
