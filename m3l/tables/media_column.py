"""The media column of a table -> Media: snscrape's Python syntax (read without `eval`), JSON objects, or URLs."""

import ast
import json
import math
import re
from reprlib import repr as short
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from m3l.data.records import Media, MediaKind

MAX_CHARACTERS = 100_000
MAX_DEPTH = 6  # [Video(variants=[VideoVariant(url='..')])] has 4
MAX_ITEMS = 64
MAX_URL = 4096
MAX_BITRATE = 2_500_000  # bit/s, of a video whose variants do not give their height

KINDS: dict[str, MediaKind] = {
    "photo": "image",
    "image": "image",
    "video": "video",
    "gif": "gif",
    "animated_gif": "gif",
}
EXTENSIONS: dict[str, MediaKind] = {
    **dict.fromkeys(("jpg", "jpeg", "png", "webp", "bmp"), "image"),
    **dict.fromkeys(("mp4", "m4v", "mov", "webm", "mkv", "avi"), "video"),
    "gif": "gif",
}
PLAYABLE = {"video": {"video/mp4"}, "gif": {"video/mp4", "image/gif"}}
PLAYLIST = "m3u8"
ARGUMENTS = {
    "Photo": {"previewUrl", "fullUrl", "altText"},
    "Video": {"thumbnailUrl", "variants", "duration", "views", "altText"},
    "Gif": {"thumbnailUrl", "variants", "altText"},
    "VideoVariant": {"contentType", "url", "bitrate"},
}

_HEIGHT = re.compile(r"/\d{1,5}x(\d{1,5})/")
_BETWEEN_URLS = re.compile(r"[,;|]?\s+|[,;|](?=\w+://)")


def read_media(cell: Any, video_height: int = 360) -> tuple[Media, ...]:
    """The media files of one cell; an item without a playable variant is left out.

    The number of `views` is never read, because it is counted after the post was published.

    Args:
        cell: Text, a list or an object; an empty cell has no media.
        video_height: Of each video, the MP4 variant with the nearest height (in pixels) is used.

    Raises:
        ValueError: The cell holds something other than media.
    """
    value = _parse(cell.strip()) if isinstance(cell, str) else cell
    items = list(value) if isinstance(value, list | tuple) else [] if value is None else [value]
    if len(items) > MAX_ITEMS:
        raise ValueError(f"{len(items):,} items")
    return tuple(media for item in items if (media := _media(item, video_height)))


def _parse(text: str) -> Any:
    """The text of a cell as lists, dictionaries (with the name of a call under `_type`), strings and numbers."""
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"{len(text):,} characters")
    if not re.match(r"[\[{(]|\w+\(|None$|null$|$", text):
        return _BETWEEN_URLS.split(text)
    try:
        return json.loads(text or "null")
    except (ValueError, RecursionError):
        pass
    try:
        return _plain(ast.parse(text, mode="eval").body)
    except (SyntaxError, MemoryError, RecursionError):  # the last two: too deeply nested for Python's parser
        raise ValueError(f"not a list of media, {short(text)}") from None


def _plain(node: ast.AST | None, depth: int = 0) -> Any:
    if depth > MAX_DEPTH:
        raise ValueError("nested too deeply")
    match node:
        case ast.Constant(value=str() | int() | float() | None as value):
            return value
        case ast.List(elts=items):
            return [_plain(item, depth + 1) for item in items]
        case ast.Dict(keys=keys, values=values):
            names = [key.value if isinstance(key, ast.Constant) else None for key in keys]
            return {name: _plain(value, depth + 1) for name, value in zip(names, values, strict=True)}
        case ast.Call(func=ast.Name(id=name), args=[], keywords=arguments) if name in ARGUMENTS:
            names = [argument.arg for argument in arguments]
            if len(set(names)) < len(names) or not ARGUMENTS[name].issuperset(names):
                raise ValueError(f"{name} with arguments {short(names)}")
            return {"_type": name} | {a.arg: _plain(a.value, depth + 1) for a in arguments}
    raise ValueError(f"an expression that is not media, {type(node).__name__}")


def _media(item: Any, video_height: int) -> Media | None:
    if isinstance(item, str):
        return _from_url(item)
    if not isinstance(item, dict):
        raise ValueError(f"an item that is not media, {short(item)}")
    kind = _kind(item)
    if kind == "image":
        url = _url(item, "fullUrl", "url", "previewUrl")
        if url is None:
            raise ValueError("a photo without fullUrl")
        return Media(kind=kind, url=url, thumbnail_url=_url(item, "previewUrl", "thumbnail_url"))
    url = _url(item, "url") or _choose(_playable(item.get("variants"), kind), video_height)
    if url is None or _extension(url) == PLAYLIST:
        return None
    duration_s = _number(item, "duration", "duration_s") if kind == "video" else None
    thumbnail_url = _url(item, "thumbnailUrl", "thumbnail_url")
    return Media(kind=kind, url=url, thumbnail_url=thumbnail_url, duration_s=duration_s)


def _kind(item: dict[str, Any]) -> MediaKind:
    """The kind that an object names ("snscrape.modules.twitter.Photo", "photo"), else the one its fields imply."""
    named = _first(item, "_type", "type", "kind")
    if named is None and item.get("fullUrl") is not None:
        return "image"
    if named is None and item.get("variants") is not None:
        return "gif" if item.get("duration") is None else "video"
    kind = KINDS.get(_word(named).rpartition(".")[2].lower())
    if kind is None:
        raise ValueError(f"neither Photo, Video nor Gif, {short(named)}")
    return kind


class Variant(NamedTuple):
    url: str
    bitrate: float
    height: int  # 0: unknown, because the URL does not give it


def _playable(variants: Any, kind: MediaKind) -> list[Variant]:
    """The variants that are files of a playable type, never a playlist."""
    playable = []
    if variants is not None and not isinstance(variants, list):
        raise ValueError(f"not a list of variants, {short(variants)}")
    for variant in variants or []:
        named = _first(variant, "_type") if isinstance(variant, dict) else "no object"
        if named is not None and not _word(named).endswith("VideoVariant"):
            raise ValueError(f"not a VideoVariant, {short(variant)}")
        url, bitrate = _url(variant, "url"), _number(variant, "bitrate") or 0
        content_type = _word(variant.get("contentType")).partition(";")[0].strip().lower()
        if url and content_type in PLAYABLE[kind] and _extension(url) != PLAYLIST:
            size = _HEIGHT.search(url)
            playable.append(Variant(url, bitrate, int(size[1]) if size else 0))
    return playable


def _choose(variants: list[Variant], video_height: int) -> str | None:
    """The URL of the variant with the nearest height; without heights, the best one up to MAX_BITRATE."""
    if sized := [v for v in variants if v.height]:
        return min(sized, key=lambda v: (abs(v.height - video_height), -v.bitrate)).url
    if light := [v for v in variants if v.bitrate <= MAX_BITRATE]:
        return max(light, key=lambda v: v.bitrate).url
    return min(variants, key=lambda v: v.bitrate).url if variants else None


def _from_url(text: str) -> Media | None:
    url = _url({"url": text.strip()}, "url")
    extension = _extension(url or "")
    if extension == PLAYLIST:
        return None
    if url is None or extension not in EXTENSIONS:
        raise ValueError(f"no URL of an image, GIF or video, {short(text)}")
    return Media(kind=EXTENSIONS[extension], url=url)


def _extension(url: str) -> str:
    """The extension of a URL's path, else of Twitter's `?format=jpg`, in lower case."""
    parts = urlsplit(url)
    _, dot, extension = parts.path.lower().rpartition(".")
    if dot and (extension in EXTENSIONS or extension == PLAYLIST):
        return extension
    return parse_qs(parts.query).get("format", [""])[0].lower()


def _url(item: dict[str, Any], *names: str) -> str | None:
    url = _first(item, *names)
    if url is not None and not (isinstance(url, str) and url.isprintable() and len(url) <= MAX_URL):
        raise ValueError(f"{names[0]} is not a URL, {short(url)}")
    return url or None


def _number(item: dict[str, Any], *names: str) -> float | None:
    """A non-negative number, or None if it is absent or not finite; ValueError for anything else."""
    value = _first(item, *names)
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return None
    if not isinstance(value, int | float) or not 0 <= value < 2**63:
        raise ValueError(f"{names[0]} is not a number, {short(value)}")
    return float(value)


def _first(item: dict[str, Any], *names: str) -> Any:
    return next((item[name] for name in names if item.get(name) is not None), None)


def _word(value: Any) -> str:
    return value if isinstance(value, str) else ""
