"""Small real media files whose pictures show their own frame number."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

from m3l.config import MediaConfig
from m3l.media.sample import Frame, sample_video
from m3l.media.sniff import sniff

BITS, CELL = 8, 16  # the number is drawn as a row of black and white cells


def numbered(index: int, height: int = 64, width: int = BITS * CELL) -> Frame:
    """A moving texture with its number in the upper quarter."""
    rows, columns = np.mgrid[:height, :width]
    channels = rows * 3 + index * 5, columns * 2 + index * 9, rows + columns
    picture = np.stack(channels, axis=2).astype(np.uint8)
    for bit in range(BITS):
        picture[: height // 4, bit * CELL : (bit + 1) * CELL] = 255 * (index >> bit & 1)
    return picture


def number(picture: Frame) -> int:
    """The number that a decoded picture shows."""
    row = picture[: picture.shape[0] // 4].mean(axis=(0, 2)).reshape(BITS, -1)
    return sum(1 << bit for bit in range(BITS) if row[bit].mean() > 127)


def write_video(
    path: Path,
    times_ms: Sequence[int],
    codec: str = "libx264",
    picture: Callable[[int], Frame] = numbered,
    options: dict[str, str] | None = None,
    rotation: int = 0,
) -> Path:
    """A video with one frame at each time."""
    with av.open(str(path), "w") as media:
        stream = media.add_stream(codec, rate=30, options=options or {})
        assert isinstance(stream, av.VideoStream)
        stream.codec_context.time_base = Fraction(1, 1000)
        stream.height, stream.width, _ = picture(0).shape
        stream.pix_fmt = "yuv420p"
        if rotation:
            stream.set_display_rotation(rotation)
        for index, time_ms in enumerate(times_ms):
            frame = av.VideoFrame.from_ndarray(picture(index), format="rgb24")
            frame.pts, frame.time_base = time_ms, Fraction(1, 1000)
            media.mux(stream.encode(frame))
        media.mux(stream.encode())
    return path


def write_gif(path: Path, delays_ms: Sequence[int]) -> Path:
    """A GIF of numbered pictures, each shown for its delay."""
    first, *others = (Image.fromarray(numbered(index)) for index in range(len(delays_ms)))
    first.save(path, "gif", save_all=True, append_images=others, duration=list(delays_ms))
    return path


def sampled(path: Path, **settings: object) -> list[tuple[float, Frame]]:
    """The samples of a video; `settings` are fields of MediaConfig."""
    format = sniff(path)
    assert format != "jpeg" and format != "png" and format != "webp"
    return list(sample_video(path, format, MediaConfig.model_validate(settings)).frames)


def decoded(path: Path) -> list[tuple[float, Frame]]:
    """All frames with their times (seconds after the first), by the simplest use of PyAV."""
    with av.open(str(path)) as media:
        frames = [(frame.time, frame.to_ndarray(format="rgb24")) for frame in media.decode(video=0)]
    return [(time - frames[0][0], picture) for time, picture in frames]
