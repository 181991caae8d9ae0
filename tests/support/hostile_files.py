"""Malicious files: texts that refer to other files, decompression bombs, false headers, streams without pictures."""

import io
import struct
import zlib
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.stream import Disposition
from PIL import Image

from tests.support.clips import numbered, write_video

TEXTS = {  # formats in which FFmpeg would open other files and hosts, and what servers send instead of media
    "ffconcat": "ffconcat version 1.0\nfile 'victim.mp4'\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
    "m3u8": "#EXTM3U\n#EXTINF:1,\nvictim.mp4\n#EXT-X-ENDLIST\n",
    "html": "<!doctype html><title>Not found</title>" + "<p>" * 200,
    "short": "x",
    "empty": "",
}


def png(width: int, height: int, pixels: bytes = b"", chunk: bytes = b"") -> bytes:
    """A PNG whose header claims a size that its pixels need not have; `chunk` is added, its four-letter type first."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [header, *([chunk] if chunk else []), b"IDAT" + zlib.compress(pixels), b"IEND"]
    encoded = (struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(encoded)


def gif_bomb(side: int, frames: int) -> bytes:
    """The same large uniform frame many times: 8 kB for a million pixels."""
    buffer = io.BytesIO()
    Image.new("P", (side, side)).save(buffer, "gif", duration=100)
    gif = buffer.getvalue()
    start = 13 + 3 * 2 ** ((gif[10] & 7) + 1)  # after the header and its palette
    return gif[:start] + gif[start:-1] * frames + gif[-1:]


def webp_bomb(side: int, frames: int) -> bytes:
    """An animated WebP with a large canvas, in which the same small frame repeats."""
    buffer = io.BytesIO()
    colours = ("red", "blue")
    first, second = (Image.new("RGB", (16, 16), colour) for colour in colours)
    first.save(buffer, "webp", save_all=True, append_images=[second], duration=100)
    webp = buffer.getvalue()
    start, second_start = webp.index(b"ANMF"), webp.rindex(b"ANMF")
    canvas = struct.pack("<I", side - 1)[:3] * 2
    sizes = webp.index(b"VP8X") + 12
    body = webp[8:sizes] + canvas + webp[sizes + 6 : start] + webp[start:second_start] * frames
    return b"RIFF" + struct.pack("<I", len(body)) + body


def gif_of_screen(gif: bytes, width: int, height: int) -> bytes:
    """The GIF with another screen size in its header."""
    return gif[:6] + struct.pack("<HH", width, height) + gif[10:]


def jpeg_of_size(width: int, height: int) -> bytes:
    """A small JPEG whose header claims another size."""
    buffer = io.BytesIO()
    Image.fromarray(numbered(1)).save(buffer, "jpeg")
    return patched(buffer.getvalue(), b"\xff\xc0", 5, struct.pack(">HH", height, width))


def patched(data: bytes, after: bytes, offset: int, value: bytes) -> bytes:
    """The data with `value` written `offset` bytes after the start of `after`."""
    start = data.index(after) + offset
    return data[:start] + value + data[start + len(value) :]


def flat_video(path: Path, width: int, height: int) -> bytes:
    """Two black frames of this size."""
    picture = np.zeros((height, width, 3), np.uint8)
    return write_video(path, [0, 40], picture=lambda _: picture, options={"preset": "ultrafast"}).read_bytes()


def write_many_frames(path: Path, frames: int, step_ms: int) -> Path:
    """A video that repeats one tiny encoded frame."""
    one = write_video(path.with_stem("one"), [0], "mpeg4", picture=lambda _: numbered(0)[:16, :16])
    with av.open(str(one)) as source, av.open(str(path), "w") as media:
        stream = media.add_stream_from_template(source.streams.video[0])
        data = bytes(next(source.demux(video=0)))
        for index in range(frames):
            packet = av.Packet(data)
            packet.stream, packet.is_keyframe = stream, True
            packet.pts = packet.dts = index * step_ms
            packet.duration, packet.time_base = step_ms, Fraction(1, 1000)
            media.mux(packet)
    return path


def write_sound(path: Path, codec: str, cover: bool) -> Path:
    """Silence, with or without a cover picture, which a demuxer lists as a video stream."""
    with av.open(str(path), "w") as media:
        sound = media.add_stream(codec, rate=44100)
        assert isinstance(sound, av.AudioStream)
        if cover:
            picture = media.add_stream("mjpeg")
            assert isinstance(picture, av.VideoStream)
            picture.width, picture.height, picture.pix_fmt = 128, 64, "yuvj420p"
            picture.disposition = Disposition.attached_pic
            frame = av.VideoFrame.from_ndarray(numbered(1), format="rgb24").reformat(format="yuvj420p")
            frame.pts = 0
            media.mux(picture.encode(frame))
        for index in range(20):
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            silence.sample_rate, silence.pts, silence.time_base = 44100, index * 1024, Fraction(1, 44100)
            media.mux(sound.encode(silence))
        media.mux(sound.encode())
    return path


def write_no_frames(path: Path, codec: str) -> Path:
    """A container that announces a video stream but has no packet of it."""
    with av.open(str(path), "w") as media:
        stream = media.add_stream(codec, rate=30)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 128, 64, "yuv420p"
        media.start_encoding()
    return path
