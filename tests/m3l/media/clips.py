"""Small real media files whose pictures tell their own frame number, and some that are no media."""

import io
import struct
import zlib
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

from m3l.config import MediaConfig
from m3l.media.container import sniff
from m3l.media.sample import Frame, sample_video

BITS, CELL = 8, 16  # the number is burnt in as a row of black and white cells

TEXTS = {  # what FFmpeg would follow to other files and hosts, and what servers send in place of media
    "ffconcat": "ffconcat version 1.0\nfile 'victim.mp4'\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
    "m3u8": "#EXTM3U\n#EXTINF:1,\nvictim.mp4\n#EXT-X-ENDLIST\n",
    "html": "<!doctype html><title>Not found</title>" + "<p>" * 200,
    "short": "x",
    "empty": "",
}


def numbered(index: int, height: int = 64, width: int = BITS * CELL) -> Frame:
    """A moving texture with its number in the upper quarter."""
    rows, columns = np.mgrid[:height, :width]
    channels = rows * 3 + index * 5, columns * 2 + index * 9, rows + columns
    picture = np.stack(channels, axis=2).astype(np.uint8)
    for bit in range(BITS):
        picture[: height // 4, bit * CELL : (bit + 1) * CELL] = 255 * (index >> bit & 1)
    return picture


def number(picture: Frame) -> int:
    """The number that is burnt into a decoded picture."""
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
    first, *others = (Image.fromarray(numbered(index)) for index in range(len(delays_ms)))
    first.save(path, "gif", save_all=True, append_images=others, duration=list(delays_ms))
    return path


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims its size and holds nothing."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [header, b"IDAT" + zlib.compress(b"")]
    packed = (struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def gif_bomb(side: int, frames: int) -> bytes:
    """One large flat picture, again and again: 8 kB for a million pixels."""
    buffer = io.BytesIO()
    Image.new("P", (side, side)).save(buffer, "gif", duration=100)
    gif = buffer.getvalue()
    start = 13 + 3 * 2 ** ((gif[10] & 7) + 1)  # after the header and its palette
    return gif[:start] + gif[start:-1] * frames + gif[-1:]


def sampled(path: Path, **settings: object) -> list[tuple[float, Frame]]:
    format = sniff(path)
    assert format not in {"jpeg", "png", "webp"}
    return list(sample_video(path, format, MediaConfig.model_validate(settings)).frames)


def decoded(path: Path) -> list[tuple[float, Frame]]:
    """Every frame with its time, by the plainest use of PyAV."""
    with av.open(str(path)) as media:
        frames = [(frame.time, frame.to_ndarray(format="rgb24")) for frame in media.decode(video=0)]
    return [(time - frames[0][0], picture) for time, picture in frames]
