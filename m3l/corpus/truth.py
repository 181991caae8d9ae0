"""The truth that is kept beside the posts, and the questions that an evaluation asks of it."""

import re
from collections.abc import Iterable
from typing import Any

import pyarrow as pa

_SPAN = pa.struct([("subject", pa.string()), ("start_s", pa.float64()), ("end_s", pa.float64())])
_MEDIA = pa.struct(
    [
        ("media_id", pa.string()),
        ("url", pa.string()),
        ("duration_s", pa.float64()),
        ("spans", pa.list_(_SPAN)),
    ]
)
_PARTS = pa.struct(
    [(name, pa.float64()) for name in ("account", "subject", "scene", "hook", "hour", "weekday", "wording", "noise")]
)
TRUTH = pa.schema(
    [
        pa.field("post_id", pa.string(), nullable=False),
        ("split", pa.string()),
        ("kind", pa.string()),
        ("media", pa.list_(_MEDIA)),
        ("subjects", pa.list_(pa.string())),  # in the order shown
        ("scene", pa.string()),
        ("readable", pa.bool_()),  # false: dead links or corrupt files
        ("parts", _PARTS),  # of log(1 + likes)
        ("expected_log1p", pa.float64()),  # the formula without its noise
    ]
)


def named_in(caption: str, subjects: Iterable[str]) -> list[str]:
    """Which of the subjects a caption names, in the order of first mention; whole words, any case."""
    known = {subject.lower(): subject for subject in subjects}
    words = re.findall(r"\w+", caption.lower())
    return list(dict.fromkeys(known[word] for word in words if word in known))


def on_screen(media: Iterable[dict[str, Any]], media_id: str, time_s: float) -> set[str]:
    """Who is visible at a time of one of `truth["media"]`; an image shows the same at any time."""
    return {
        span["subject"]
        for file in media
        if file["media_id"] == media_id
        for span in file["spans"]
        if span["start_s"] <= time_s < span["end_s"] or span["start_s"] == span["end_s"]
    }
