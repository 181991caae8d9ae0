"""How large media may be, told before a picture is decoded."""

from m3l.config import MediaConfig
from m3l.media.errors import MediaError

MAX_SIDE = 8192  # a line of a million pixels is within any limit of the area
MAX_PACKETS = 90_000  # ten minutes at 150 frames a second
MAX_ANIMATION_PIXELS = 2**31  # of all frames; a flat one of a million pixels costs an attacker 8 kB


def check_size(width: int, height: int, config: MediaConfig) -> None:
    """Raises MediaError `too_many_pixels` for a picture above `config.max_pixels` or MAX_SIDE."""
    if width * height > config.max_pixels:
        raise MediaError("too_many_pixels", f"{width} x {height}, media.max_pixels is {config.max_pixels:,}")
    if max(width, height) > MAX_SIDE:
        raise MediaError("too_many_pixels", f"{width} x {height}, a side has at most {MAX_SIDE:,}")


def check_animation(frames: int, width: int, height: int) -> None:
    """The same for a GIF or WebP, of which all frames have to be decoded."""
    if frames * width * height > MAX_ANIMATION_PIXELS:
        raise MediaError("too_many_pixels", f"{frames:,} frames of {width} x {height}")
