"""A post's media: files below a root, intact or damaged, and the snscrape text that refers to them."""

from pathlib import Path
from typing import Literal
from uuid import uuid4

from m3l.corpus.render import encode
from m3l.corpus.storyboard import Clip

Damage = Literal["dead", "page", "cut"]  # no file; an error page in its place; a truncated download
ERROR_PAGE = b"<!DOCTYPE html><html><body><h1>404 Not Found</h1></body></html>\n"


def media_url(clip: Clip, index: int, number: int) -> str:
    """Path of a media file relative to the media root.

    Args:
        clip: Decides the suffix.
        index: Number of the post, from 0.
        number: Number of the file in the post, from 0.
    """
    name = f"{index:06d}_{number}"
    match clip.kind:
        case "image":
            return f"media/{name}.jpg"
        case "gif":
            return f"media/{name}.gif"
        case "video":
            return f"media/vid/{clip.width}x{clip.height}/{name}.mp4"


def media_text(clips: list[tuple[str, Clip]], playlist_first: bool, views: int) -> str:
    """The challenge's `media` column: the repr of snscrape objects, whose thumbnails and m3u8 do not exist as files.

    Args:
        clips: URL and clip of each file.
        playlist_first: Whether the m3u8 variant comes before the MP4.
        views: View count of videos.
    """
    return f"[{', '.join(_snscrape(url, clip, playlist_first, views) for url, clip in clips)}]"


def write(clip: Clip, path: Path, damage: Damage | None) -> None:
    """Write the clip's file atomically; `dead` leaves no file at `path`."""
    if damage == "dead":
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{uuid4().hex}.tmp")
    draft.write_bytes(ERROR_PAGE if damage == "page" else _cut(clip) if damage == "cut" else encode(clip))
    draft.replace(path)


def _cut(clip: Clip) -> bytes:
    """The beginning of the file, too short to decode anything."""
    data = encode(clip)
    # An MP4's index is at its end; decoders show partial pictures, so a picture is cut within its header.
    return data[: len(data) * 3 // 10] if clip.kind == "video" else data[:256]


def _snscrape(url: str, clip: Clip, playlist_first: bool, views: int) -> str:
    name = Path(url).stem
    thumbnail = f"media/thumb/{name}.jpg"
    match clip.kind:
        case "image":
            return f"Photo(previewUrl={url!r}, fullUrl={url!r})"
        case "gif":
            return f"Gif(thumbnailUrl={thumbnail!r}, variants=[{_variant('image/gif', url, 0)}])"
        case "video":
            variants = [
                _variant("application/x-mpegURL", f"media/pl/{name}.m3u8", None),
                _variant("video/mp4", url, 288000),
            ]
            listed = ", ".join(variants if playlist_first else reversed(variants))
            return f"Video(thumbnailUrl={thumbnail!r}, variants=[{listed}], duration={clip.duration_s}, views={views})"


def _variant(content_type: str, url: str, bitrate: int | None) -> str:
    return f"VideoVariant(contentType={content_type!r}, url={url!r}, bitrate={bitrate})"
