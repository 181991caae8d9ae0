"""The one exception of this package: why a media file gave no frames."""

from typing import Literal

Kind = Literal[
    "not_allowed",  # the URL's scheme, host, address or path is not allowed
    "not_found",  # no such file, no regular file, or HTTP 404 or 410
    "fetch_failed",  # DNS, TLS, connection or storage error, another HTTP status, or too many redirects
    "not_media",  # the first bytes belong to none of the formats in m3l/media/sniff.py
    "no_video_stream",  # a container of sound alone, or with nothing but a cover picture
    "no_frames",  # a video stream of which no picture could be decoded
    "bad_container",  # a damaged or lying file
    "too_big",  # more than media.max_bytes, or too many packets
    "too_many_pixels",  # more than media.max_pixels, a side that is too long, or an animation that is too large
    "out_of_memory",  # decoding needed more than the decoder process may take
    "timeout",  # longer than media.fetch_timeout_s or media.decode_timeout_s
    "crashed",  # the decoder process ended in the middle of a file, or sent an invalid reply
    "failed",  # none of the above: a bug in this package
]


class MediaError(Exception):
    """A media file that cannot be read; its text is `kind: detail`, in one line.

    Args:
        kind: The reason, for counting.
        detail: The reason for a person, in one line of at most 160 characters (the rest is cut off).
    """

    def __init__(self, kind: Kind, detail: object = "") -> None:
        self.kind = kind
        self.detail = " ".join(str(detail).split())[:160]
        super().__init__(f"{kind}: {self.detail}" if self.detail else kind)
