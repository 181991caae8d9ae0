"""What a file is, told from its first bytes and never from its name."""

from pathlib import Path
from typing import Literal

from m3l.media.errors import MediaError

VideoFormat = Literal["mov", "matroska", "gif", "mpegts", "avi"]  # FFmpeg's names of the demuxers
ImageFormat = Literal["jpeg", "png", "webp"]  # Pillow's names of the plugins
Format = VideoFormat | ImageFormat

HEAD_BYTES = 512
_QUICKTIME_ATOMS = {b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"}
_TS_PACKET = 188


def sniff(path: Path) -> Format:
    """The format of a regular file; MediaError `not_media` for all else, `not_found` where it cannot be read.

    A demuxer that is named cannot be talked into another one: ffconcat, SDP and m3u8 texts, which FFmpeg
    would follow to other files and hosts, end here.
    """
    try:
        if not path.is_file():
            raise MediaError("not_found", "not a regular file")
        with path.open("rb") as file:
            found = format_of(file.read(HEAD_BYTES))
    except OSError as error:
        raise MediaError("not_found", error.strerror) from None
    if found is None:
        raise MediaError("not_media", "no MP4, WebM, GIF, MPEG-TS, AVI, JPEG, PNG or WebP")
    return found


def format_of(head: bytes) -> Format | None:
    """The format whose magic numbers a file's first bytes carry; 400 bytes are enough for all."""
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
