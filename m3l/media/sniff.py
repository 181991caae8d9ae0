"""The format of a media file, recognised by its first bytes and never by its name."""

from pathlib import Path
from typing import Literal

from m3l.media.errors import MediaError

VideoFormat = Literal["mov", "matroska", "gif", "mpegts", "avi"]  # FFmpeg's names of the demuxers
ImageFormat = Literal["jpeg", "png", "webp"]  # Pillow's names of the plugins
Format = VideoFormat | ImageFormat

HEAD_BYTES = 512
_QUICKTIME_ATOMS = {b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"}
_TS_PACKET = 188  # bytes of an MPEG transport stream's packet, each of which begins with 0x47


def sniff(path: Path) -> Format:
    """The format of a local file.

    FFmpeg is then told which demuxer to use, so that no content can choose another one. Text formats that FFmpeg
    would follow to other files and hosts (ffconcat, SDP, m3u8) are rejected here.

    Raises:
        MediaError: `not_media` if the format is none of these, `not_found` if it is no regular file or unreadable.
    """
    try:
        if not path.is_file():
            raise MediaError("not_found", "not a regular file")
        with path.open("rb") as file:
            format = detect_format(file.read(HEAD_BYTES))
    except OSError as error:
        raise MediaError("not_found", error.strerror) from None
    if format is None:
        raise MediaError("not_media", "no MP4, WebM, GIF, MPEG-TS, AVI, JPEG, PNG or WebP")
    return format


def detect_format(head: bytes) -> Format | None:
    """The format whose magic numbers the first bytes of a file contain; 400 bytes are enough for all of them."""
    match head:
        case _ if head[4:8] in _QUICKTIME_ATOMS:
            return "mov"
        case _ if head.startswith(b"\x1a\x45\xdf\xa3"):
            return "matroska"
        case _ if head.startswith((b"GIF87a", b"GIF89a")):
            return "gif"
        case _ if head.startswith(b"\xff\xd8\xff"):
            return "jpeg"
        case _ if head.startswith(b"\x89PNG\r\n\x1a\n"):
            return "png"
        case _ if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
            return "webp"
        case _ if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
            return "avi"
        case _ if len(head) > _TS_PACKET and set(head[: 2 * _TS_PACKET + 1 : _TS_PACKET]) == {0x47}:
            return "mpegts"
    return None
