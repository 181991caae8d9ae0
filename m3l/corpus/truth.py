"""The ground truth of the corpus, and how an evaluation queries it."""

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
        ("readable", pa.bool_()),  # false: missing or corrupt media
        ("parts", _PARTS),  # terms of log(1 + likes)
        ("expected_log1p", pa.float64()),  # the formula without its noise
    ]
)


def subjects_named_in(caption: str, subjects: Iterable[str]) -> list[str]:
    """The subjects that a caption names, in the order of first mention; whole words, any case.

    Args:
        caption: The text.
        subjects: Candidates.
    """
    by_word = {subject.lower(): subject for subject in subjects}
    words = re.findall(r"\w+", caption.lower())
    return list(dict.fromkeys(by_word[word] for word in words if word in by_word))


def subjects_on_screen(media: Iterable[dict[str, Any]], media_id: str, time_s: float) -> set[str]:
    """The subjects that a media file shows at a time.

    Args:
        media: `media` of a row of TRUTH.
        media_id: The file.
        time_s: Seconds from its start; an image shows the same at any time.
    """
    return {
        span["subject"]
        for file in media
        if file["media_id"] == media_id
        for span in file["spans"]
        if span["start_s"] <= time_s < span["end_s"] or span["start_s"] == span["end_s"]
    }
