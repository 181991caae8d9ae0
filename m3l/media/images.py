"""Sampling images: JPEG, PNG and WebP, including animated WebP."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from m3l.config import MediaConfig
from m3l.media.errors import MediaError
from m3l.media.limits import check_animation_size, check_picture_size
from m3l.media.sample import Frame, SampledFrames, StrideFilter
from m3l.media.sniff import ImageFormat


def sample_image(path: Path, format: ImageFormat, config: MediaConfig) -> SampledFrames:
    """The picture at 0 s; an animated WebP, which FFmpeg cannot read, is sampled like a video.

    Args:
        path: A local file.
        format: Its format, see `sniff`.
        config: Limits and stride.

    Raises:
        MediaError: The file is damaged or not within the limits; also while the frames are read.
    """
    if format == "webp":
        with _open(path, format, config) as image:
            count = getattr(image, "n_frames", 1)
            check_animation_size(count, *image.size)
        if count > 1:
            return SampledFrames(min(count, config.max_samples), _sample_animation(path, format, config))
    return SampledFrames(1, iter([(0.0, read_image(path, format, config))]))


def read_image(path: Path, format: ImageFormat, config: MediaConfig) -> Frame:
    """The picture, rotated by its EXIF orientation, with transparent pixels on white.

    Args:
        path: A local file.
        format: Its format, see `sniff`.
        config: Limits.

    Raises:
        MediaError: The file is damaged or not within the limits.
    """
    with _open(path, format, config) as image:
        return _on_white(ImageOps.exif_transpose(image))


@contextmanager
def _open(path: Path, format: ImageFormat, config: MediaConfig) -> Iterator[Image.Image]:
    """The image, of which only the header has been read and the size checked; turns Pillow's errors into MediaError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit is stricter
            image = Image.open(path, formats=[format])
        with image:
            check_picture_size(*image.size, config)
            yield image
    except Image.DecompressionBombError as error:
        raise MediaError("too_many_pixels", error) from None
    except MemoryError:
        raise MediaError("out_of_memory") from None
    except (UnidentifiedImageError, OSError, ValueError, LookupError, SyntaxError, EOFError) as error:
        detail = "damaged" if isinstance(error, UnidentifiedImageError) else f"{type(error).__name__} {error}"
        raise MediaError("bad_container", detail) from None


def _sample_animation(path: Path, format: ImageFormat, config: MediaConfig) -> Iterator[tuple[float, Frame]]:
    with _open(path, format, config) as image:
        stride, time_s = StrideFilter(config.stride_s), 0.0
        samples = 0
        for index in range(getattr(image, "n_frames", 1)):
            image.seek(index)
            image.load()
            if stride.accepts(time_s):
                yield time_s, _on_white(image)
                samples += 1
            time_s += image.info.get("duration", 0) / 1000
            if samples >= config.max_samples or time_s > config.max_seconds:
                return


def _on_white(image: Image.Image) -> Frame:
    if image.mode.startswith("I;16"):  # Pillow would clip 16 bits to 8 instead of scaling them
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.asarray(image.convert("RGB"))
