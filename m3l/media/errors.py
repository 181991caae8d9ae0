"""The one error of this package: why a media file gave no frames."""

from typing import Literal

Kind = Literal[
    "not_allowed",  # the URL names a place that is not open to us
    "not_found",
    "fetch_failed",
    "not_media",
    "no_video_stream",
    "no_frames",
    "bad_container",
    "too_big",
    "too_many_pixels",
    "out_of_memory",
    "timeout",
    "crashed",
    "failed",  # none of the above: a bug of ours
]


class MediaError(Exception):
    """A media file that cannot be read: `kind` is for counting, the text is `kind: detail` in one line."""

    def __init__(self, kind: Kind, detail: object = "") -> None:
        self.kind = kind
        self.detail = " ".join(str(detail).split())[:160]
        super().__init__(f"{kind}: {self.detail}" if self.detail else kind)
