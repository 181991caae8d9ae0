"""Frames of a video at a regular stride, with their true times."""

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from av.container import InputContainer
from jaxtyping import UInt8

from m3l.config import MediaConfig
from m3l.media.decode import DAMAGE, decode, decode_wanted
from m3l.media.errors import MediaError
from m3l.media.limits import MAX_PACKETS, check_animation, check_size
from m3l.media.sniff import VideoFormat

Frame = UInt8[np.ndarray, "height width 3"]  # RGB

PLANNED_CODECS = {"h264", "hevc", "vp9", "av1"}  # skipping is exact in these; MPEG-4 and VP8 are read whole
_TOLERANCE = 1e-6  # of a stride: times are rationals read as floats
_ATTACHED_PICTURE = 0x400  # FFmpeg's disposition of a cover, which is no video


class Samples(NamedTuple):
    """Frames to come in time order (seconds after the first, picture), and about how many they will be."""

    planned: int
    frames: Iterator[tuple[float, Frame]]


class Grid:
    """Picks, of rising times, the first at or after each multiple of the stride."""

    def __init__(self, stride_s: float) -> None:
        self.stride_s = stride_s
        self._next = 0

    def takes(self, time_s: float) -> bool:
        step = math.floor(time_s / self.stride_s + _TOLERANCE)
        if step < self._next:
            return False
        self._next = step + 1
        return True


def fill(chosen: Sequence[int], total: int, wanted: int) -> list[int]:
    """The chosen indices and others below `total` at regular distances: `wanted` in all, or every one."""
    taken = set(chosen)
    rest = [index for index in range(total) if index not in taken]
    missing = min(wanted - len(taken), len(rest))
    if missing > 0:
        taken.update(rest[round(i)] for i in np.linspace(0, len(rest) - 1, missing))
    return sorted(taken)


def sample_video(path: Path, format: VideoFormat, config: MediaConfig) -> Samples:
    """The first `config.max_seconds` at a stride of `config.stride_s`, upright; MediaError, also while read.

    All packets are demuxed first, which is cheap, and the wanted times chosen; the stride is wider where it
    gave more than `config.max_samples`. A damaged file gives what comes before the damage.
    """
    with _damage_told(), ExitStack() as stack:
        media = stack.enter_context(_opened(path, format, config))
        stream = _video_stream(media, config)
        codec = stream.codec_context
        unit, rate = float(stream.time_base or 1), float(stream.average_rate or 25)
        packets = _demux(media, stream, unit, config)
        if format == "gif":
            check_animation(len(packets), codec.width, codec.height)

        stamps = _stamps(packets)
        times = [(s - stamps[0]) * unit for s in stamps] or [i / rate for i in range(len(packets))]
        stride_s = max(config.stride_s, times[-1] / config.max_samples * (1 + 1e-4))
        grid = Grid(stride_s)
        chosen = [i for i, time in enumerate(times) if grid.takes(time)]

        timed: Iterator[tuple[float, av.VideoFrame]]
        if _can_plan(codec.codec.canonical_name, packets):
            wanted = decode_wanted(codec, packets, [stamps[i] for i in chosen])
            timed = (((frame.pts - stamps[0]) * unit, frame) for frame in wanted if frame.pts is not None)
        else:
            timed = _on_grid(decode(codec, packets), Grid(stride_s), unit, rate)
        return Samples(len(chosen), _pictures(timed, config, stack.pop_all()))


@contextmanager
def _damage_told() -> Iterator[None]:
    try:
        yield
    except MemoryError:
        raise MediaError("out_of_memory") from None
    except DAMAGE as error:
        # `strerror` is the message without the path, which is nobody's business.
        raise MediaError("bad_container", getattr(error, "strerror", None) or type(error).__name__) from None


@contextmanager
def _opened(path: Path, format: VideoFormat, config: MediaConfig) -> Iterator[InputContainer]:
    options = {
        "protocol_whitelist": "none",  # we hand over an open file; whatever it refers to stays closed
        "max_pixels": str(config.max_pixels),  # opening decodes pictures already
    }
    with (
        path.open("rb") as file,
        av.open(file, "r", format=format, metadata_errors="ignore", options=options) as media,
    ):
        yield media


def _video_stream(media: InputContainer, config: MediaConfig) -> av.VideoStream:
    for stream in media.streams.video:
        if not int(stream.disposition) & _ATTACHED_PICTURE and stream.codec_context is not None:
            codec = stream.codec_context
            check_size(codec.width, codec.height, config)
            codec.options = {"max_pixels": str(config.max_pixels)}  # sizes can change on the way
            stream.thread_type, stream.thread_count = "NONE", 1  # many videos at once, not many threads
            return stream
    raise MediaError("no_video_stream", ", ".join(stream.type for stream in media.streams))


def _demux(media: InputContainer, stream: av.VideoStream, unit: float, config: MediaConfig) -> list[av.Packet]:
    """The packets of the first `config.max_seconds`, or those before the damage."""
    packets: list[av.Packet] = []
    size, start = 0, None
    with suppress(*DAMAGE):
        for packet in media.demux(stream):
            stamp = packet.pts if packet.dts is None else packet.dts
            start = stamp if start is None else start
            if stamp is not None and start is not None and (stamp - start) * unit > config.max_seconds:
                break
            if packet.size:  # the last one is empty
                packets.append(packet)
                size += packet.size
            # A container can list the same bytes many times.
            if size > config.max_bytes or len(packets) > MAX_PACKETS:
                raise MediaError("too_big", f"{len(packets):,} packets of {size:,} bytes")
    if not packets:
        raise MediaError("no_frames", "no packet could be read")
    return packets


def _stamps(packets: list[av.Packet]) -> list[int]:
    """When frames are shown, rising, in the stream's unit, less those that an edit list hides."""
    stamps = {p.dts if p.pts is None else p.pts for p in packets if not p.is_discard}
    return sorted(stamp for stamp in stamps if stamp is not None)


def _can_plan(codec: str, packets: list[av.Packet]) -> bool:
    return codec in PLANNED_CODECS and packets[0].is_keyframe and all(p.pts is not None for p in packets)


def _on_grid(
    frames: Iterator[av.VideoFrame], grid: Grid, unit: float, rate: float
) -> Iterator[tuple[float, av.VideoFrame]]:
    """Frames whose times only decoding tells; those that have none follow at the average rate."""
    first: float | None = None
    for index, frame in enumerate(frames):
        time = index / rate if frame.pts is None else frame.pts * unit
        first = time if first is None else first
        if grid.takes(time - first):
            yield time - first, frame


def _pictures(
    frames: Iterator[tuple[float, av.VideoFrame]], config: MediaConfig, opened: ExitStack
) -> Iterator[tuple[float, Frame]]:
    with opened, _damage_told():
        empty = True
        for time, frame in frames:
            check_size(frame.width, frame.height, config)
            picture = frame.to_ndarray(format="rgb24")
            yield time, np.ascontiguousarray(np.rot90(picture, round(frame.rotation / 90)))
            empty = False
        if empty:
            raise MediaError("no_frames", "no picture could be decoded")
