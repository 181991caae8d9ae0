"""Sampling frames of a video at a regular stride, with their true times."""

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
from m3l.media.decode import DECODE_ERRORS, decode, decode_timestamps
from m3l.media.errors import MediaError
from m3l.media.limits import MAX_PACKETS, check_animation_size, check_picture_size
from m3l.media.sniff import VideoFormat

Frame = UInt8[np.ndarray, "height width 3"]  # RGB

SKIPPABLE_CODECS = {"h264", "hevc", "vp9", "av1"}  # skipping frames is exact in these; others are decoded completely
_TOLERANCE = 1e-6  # of a stride: times are rational numbers stored as floats
_ATTACHED_PICTURE = 0x400  # FFmpeg's disposition of a cover picture, which is no video


class SampledFrames(NamedTuple):
    """A lazy sequence of sampled frames.

    Attributes:
        expected_count: About how many frames there will be; damaged files give fewer.
        frames: Pairs of seconds after the first frame and the picture, in time order.
    """

    expected_count: int
    frames: Iterator[tuple[float, Frame]]


class StrideFilter:
    """Accepts, of ascending times, the first one at or after each multiple of the stride.

    Args:
        stride_s: The stride in seconds.
    """

    def __init__(self, stride_s: float) -> None:
        self.stride_s = stride_s
        self._next_step = 0

    def accepts(self, time_s: float) -> bool:
        """Whether to sample the frame at this time (in seconds); times must not decrease from call to call."""
        step = math.floor(time_s / self.stride_s + _TOLERANCE)
        if step < self._next_step:
            return False
        self._next_step = step + 1
        return True


def fill_evenly(selected: Sequence[int], total: int, count: int) -> list[int]:
    """The selected indices and more, evenly spaced among the others, in ascending order.

    Args:
        selected: Indices below `total`.
        total: Number of items.
        count: How many indices to return; all of them if `total` is smaller.
    """
    indices = set(selected)
    others = [index for index in range(total) if index not in indices]
    missing = min(count - len(indices), len(others))
    if missing > 0:
        indices.update(others[round(i)] for i in np.linspace(0, len(others) - 1, missing))
    return sorted(indices)


def sample_video(path: Path, format: VideoFormat, config: MediaConfig) -> SampledFrames:
    """Sample the first `config.max_seconds` of a video every `config.stride_s` seconds, rotated upright.

    All packets are demuxed first, which is cheap, to choose the times to sample. The stride is widened if it would
    give more than `config.max_samples` frames. Of a damaged file, the frames before the damage are returned.

    Args:
        path: A local file.
        format: Its format, see `sniff`.
        config: Limits and stride.

    Raises:
        MediaError: The file cannot be read or is not within the limits; also while the frames are read.
    """
    with _as_media_errors(), ExitStack() as stack:
        media = stack.enter_context(_open(path, format, config))
        stream = _video_stream(media, config)
        codec = stream.codec_context
        unit_s, fps = float(stream.time_base or 1), float(stream.average_rate or 25)
        packets = _demux(media, stream, unit_s, config)
        if format == "gif":
            check_animation_size(len(packets), codec.width, codec.height)

        timestamps = _timestamps(packets)
        times = [(t - timestamps[0]) * unit_s for t in timestamps] or [i / fps for i in range(len(packets))]
        stride_s = max(config.stride_s, times[-1] / config.max_samples * (1 + 1e-4))
        stride = StrideFilter(stride_s)
        sampled = [i for i, time in enumerate(times) if stride.accepts(time)]

        timed: Iterator[tuple[float, av.VideoFrame]]
        if _can_skip(codec.codec.canonical_name, packets):
            frames = decode_timestamps(codec, packets, [timestamps[i] for i in sampled])
            timed = (((frame.pts - timestamps[0]) * unit_s, frame) for frame in frames if frame.pts is not None)
        else:
            timed = _sample_decoded(decode(codec, packets), StrideFilter(stride_s), unit_s, fps)
        return SampledFrames(len(sampled), _pictures(timed, config, stack.pop_all()))


@contextmanager
def _as_media_errors() -> Iterator[None]:
    try:
        yield
    except MemoryError:
        raise MediaError("out_of_memory") from None
    except DECODE_ERRORS as error:
        # `strerror` is the message without the path, which must not become public.
        raise MediaError("bad_container", getattr(error, "strerror", None) or type(error).__name__) from None


@contextmanager
def _open(path: Path, format: VideoFormat, config: MediaConfig) -> Iterator[InputContainer]:
    options = {
        "protocol_whitelist": "none",  # FFmpeg gets an open file and may not open anything that it refers to
        "max_pixels": str(config.max_pixels),  # opening a file already decodes pictures
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
            check_picture_size(codec.width, codec.height, config)
            codec.options = {"max_pixels": str(config.max_pixels)}  # the size can change within a video
            stream.thread_type, stream.thread_count = "NONE", 1  # parallel over videos, not within one
            return stream
    raise MediaError("no_video_stream", ", ".join(stream.type for stream in media.streams))


def _demux(media: InputContainer, stream: av.VideoStream, unit_s: float, config: MediaConfig) -> list[av.Packet]:
    """The packets of the first `config.max_seconds`, up to any damage; `unit_s` is the stream's time base."""
    packets: list[av.Packet] = []
    size, start = 0, None
    with suppress(*DECODE_ERRORS):
        for packet in media.demux(stream):
            timestamp = packet.pts if packet.dts is None else packet.dts
            start = timestamp if start is None else start
            if timestamp is not None and start is not None and (timestamp - start) * unit_s > config.max_seconds:
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


def _timestamps(packets: list[av.Packet]) -> list[int]:
    """When frames are shown, ascending, in the stream's time base, without those that an edit list hides."""
    timestamps = {p.dts if p.pts is None else p.pts for p in packets if not p.is_discard}
    return sorted(timestamp for timestamp in timestamps if timestamp is not None)


def _can_skip(codec: str, packets: list[av.Packet]) -> bool:
    return codec in SKIPPABLE_CODECS and packets[0].is_keyframe and all(p.pts is not None for p in packets)


def _sample_decoded(
    frames: Iterator[av.VideoFrame], stride: StrideFilter, unit_s: float, fps: float
) -> Iterator[tuple[float, av.VideoFrame]]:
    """Sample frames whose times are known only after decoding; frames without a time follow at the average rate."""
    first: float | None = None
    for index, frame in enumerate(frames):
        time = index / fps if frame.pts is None else frame.pts * unit_s
        first = time if first is None else first
        if stride.accepts(time - first):
            yield time - first, frame


def _pictures(
    frames: Iterator[tuple[float, av.VideoFrame]], config: MediaConfig, resources: ExitStack
) -> Iterator[tuple[float, Frame]]:
    """The frames as upright RGB pictures; closes `resources` (the file) at the end."""
    with resources, _as_media_errors():
        empty = True
        for time, frame in frames:
            check_picture_size(frame.width, frame.height, config)
            picture = frame.to_ndarray(format="rgb24")
            yield time, np.ascontiguousarray(np.rot90(picture, round(frame.rotation / 90)))
            empty = False
        if empty:
            raise MediaError("no_frames", "no picture could be decoded")
