"""How large media may be, told before a picture is decoded, and the memory that reading them takes."""

from m3l.config import MediaConfig
from m3l.media.errors import MediaError

MAX_SIDE = 8192  # a line of a million pixels is within any limit of the area
MAX_PACKETS = 90_000  # ten minutes at 150 frames a second
MAX_ANIMATION_PIXELS = 2**31  # of all frames; a flat one of a million pixels costs an attacker 8 kB
LIBRARIES_BYTES = 3 * 2**29  # address space of the process that decodes before it reads anything, and some room
PICTURES = 32  # of full size at a time: 16 that others refer to, those in between, RGB and its scores


def decoder_bytes(config: MediaConfig) -> int:
    """The memory of the process that decodes, which the kernel holds it to: enough for any file in these limits."""
    pictures = PICTURES * 3 * config.max_pixels
    return LIBRARIES_BYTES + config.max_bytes + pictures + config.max_samples * frame_bytes(config)


def frame_bytes(config: MediaConfig) -> int:
    """An encoded frame at most, with its scores: a byte a pixel, twice as wide as high."""
    return 2 * config.image_height**2 + 2**12


def reply_bytes(config: MediaConfig) -> int:
    """What one media file gives at most: its key frames, or a single strip as wide as is allowed."""
    return config.key_frames * frame_bytes(config) + MAX_SIDE * config.image_height


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
