"""Size limits that are checked before a picture is decoded, and the memory bounds that follow from them."""

from m3l.config import MediaConfig
from m3l.media.errors import MediaError

MAX_SIDE = 8192  # pixels; a single line of a million pixels would pass any limit on the area
MAX_PACKETS = 90_000  # of a video: ten minutes at 150 frames a second
MAX_ANIMATION_PIXELS = 2**31  # over all frames: a uniform frame of a million pixels costs an attacker only 8 kB
LIBRARY_BYTES = 3 * 2**29  # address space of the decoder process before it reads a file, with a margin
FULL_SIZE_PICTURES = 32  # in memory at once: 16 reference frames, frames being reordered, RGB copies, their scores


def decoder_memory_bytes(config: MediaConfig) -> int:
    """The address space that the kernel grants the decoder process: enough for every file within the limits."""
    pictures = FULL_SIZE_PICTURES * 3 * config.max_pixels
    return LIBRARY_BYTES + config.max_bytes + pictures + config.max_samples * max_frame_bytes(config)


def max_frame_bytes(config: MediaConfig) -> int:
    """An upper bound for one encoded frame with its scores: one byte a pixel, at twice as wide as high."""
    return 2 * config.image_height**2 + 2**12


def max_reply_bytes(config: MediaConfig) -> int:
    """An upper bound for the decoder's reply about one file: all its key frames, or one picture of maximal width."""
    return config.key_frames * max_frame_bytes(config) + MAX_SIDE * config.image_height


def check_picture_size(width: int, height: int, config: MediaConfig) -> None:
    """Check a picture against `config.max_pixels` and MAX_SIDE.

    Args:
        width: In pixels.
        height: In pixels.
        config: Its `max_pixels` limits the area.

    Raises:
        MediaError: `too_many_pixels`.
    """
    if width * height > config.max_pixels:
        raise MediaError("too_many_pixels", f"{width} x {height}, media.max_pixels is {config.max_pixels:,}")
    if max(width, height) > MAX_SIDE:
        raise MediaError("too_many_pixels", f"{width} x {height}, a side has at most {MAX_SIDE:,}")


def check_animation_size(frames: int, width: int, height: int) -> None:
    """Check a GIF or WebP, all of whose frames must be decoded, against MAX_ANIMATION_PIXELS.

    Args:
        frames: Number of frames.
        width: In pixels.
        height: In pixels.

    Raises:
        MediaError: `too_many_pixels`.
    """
    if frames * width * height > MAX_ANIMATION_PIXELS:
        raise MediaError("too_many_pixels", f"{frames:,} frames of {width} x {height}")
