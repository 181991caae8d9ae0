"""Pictures as frames: JPEG, PNG, WebP, the animated kind too."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from m3l.config import MediaConfig
from m3l.media.errors import MediaError
from m3l.media.limits import check_animation, check_size
from m3l.media.sample import Frame, Grid, Samples
from m3l.media.sniff import ImageFormat


def sample_image(path: Path, format: ImageFormat, config: MediaConfig) -> Samples:
    """The picture at 0 s, or an animated WebP (which FFmpeg cannot read) as a video; raises MediaError."""
    if format == "webp":
        with _opened(path, format, config) as image:
            count = getattr(image, "n_frames", 1)
            check_animation(count, *image.size)
        if count > 1:
            return Samples(min(count, config.max_samples), _animation(path, format, config))
    return Samples(1, iter([(0.0, read_image(path, format, config))]))


def read_image(path: Path, format: ImageFormat, config: MediaConfig) -> Frame:
    """The picture, turned as its EXIF says, on white where it is transparent; raises MediaError."""
    with _opened(path, format, config) as image:
        return _on_white(ImageOps.exif_transpose(image))


@contextmanager
def _opened(path: Path, format: ImageFormat, config: MediaConfig) -> Iterator[Image.Image]:
    """The file with only its header read, and its size checked."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit is tighter
            image = Image.open(path, formats=[format])
        with image:
            check_size(*image.size, config)
            yield image
    except Image.DecompressionBombError as error:
        raise MediaError("too_many_pixels", error) from None
    except MemoryError:
        raise MediaError("out_of_memory") from None
    except (UnidentifiedImageError, OSError, ValueError, LookupError, SyntaxError, EOFError) as error:
        detail = "damaged" if isinstance(error, UnidentifiedImageError) else f"{type(error).__name__} {error}"
        raise MediaError("bad_container", detail) from None


def _animation(path: Path, format: ImageFormat, config: MediaConfig) -> Iterator[tuple[float, Frame]]:
    with _opened(path, format, config) as image:
        grid, time_s = Grid(config.stride_s), 0.0
        samples = 0
        for index in range(getattr(image, "n_frames", 1)):
            image.seek(index)
            image.load()
            if grid.takes(time_s):
                yield time_s, _on_white(image)
                samples += 1
            time_s += image.info.get("duration", 0) / 1000
            if samples >= config.max_samples or time_s > config.max_seconds:
                return


def _on_white(image: Image.Image) -> Frame:
    if image.mode.startswith("I;16"):  # Pillow would clip 16 bits to 8, not scale them
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.asarray(image.convert("RGB"))
