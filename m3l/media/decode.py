"""Decoding packets into pictures: all of them, or only those with given timestamps for about half the work."""

import math
from collections import deque
from collections.abc import Iterator, Sequence, Set

import av
from av.video.codeccontext import VideoCodecContext

# What PyAV raises on a damaged file, besides MemoryError.
DECODE_ERRORS = (av.FFmpegError, ValueError, LookupError, AttributeError, OSError, EOFError)


def decode(codec: VideoCodecContext, packets: Sequence[av.Packet]) -> Iterator[av.VideoFrame]:
    """All frames in presentation order; damaged packets are skipped."""
    for packet in packets:
        yield from _decode_packet(codec, packet)
    yield from _decode_packet(codec, None)


def decode_timestamps(
    codec: VideoCodecContext, packets: Sequence[av.Packet], timestamps: Sequence[int]
) -> Iterator[av.VideoFrame]:
    """The frames with these timestamps, pixel for pixel as a full decode gives them.

    Decoding starts at the last intra-coded frame before each one and skips frames in between that no other frame
    refers to.

    Args:
        codec: The stream's decoder.
        packets: All packets in decoding order. Each needs a timestamp, and the first one an intra-coded frame.
        timestamps: Presentation timestamps of frames, ascending, in the stream's time base.
    """
    pending = deque(timestamps)
    for frame in _decode_needed(codec, packets, set(timestamps)):
        if not pending or frame.pts is None or frame.pts > pending[0]:
            break
        if frame.pts == pending[0]:
            pending.popleft()
            yield frame
    if pending:
        # A frame was missed: the file is damaged, or its key frames are no entry points (periodic intra refresh).
        codec.flush_buffers()
        codec.skip_frame = "DEFAULT"
        missing = set(pending)
        yield from (frame for frame in decode(codec, packets) if frame.pts in missing)


def _decode_needed(
    codec: VideoCodecContext, packets: Sequence[av.Packet], timestamps: Set[int]
) -> Iterator[av.VideoFrame]:
    skipped = False
    for packet, needed in zip(packets, _needed_packets(packets, timestamps), strict=True):
        if not needed:
            skipped = True
            continue
        if skipped:
            yield from _decode_packet(codec, None)
            codec.flush_buffers()
            skipped = False
        codec.skip_frame = "DEFAULT" if packet.pts in timestamps else "NONREF"
        yield from _decode_packet(codec, packet)
    yield from _decode_packet(codec, None)


def _needed_packets(packets: Sequence[av.Packet], timestamps: Set[int]) -> list[bool]:
    """Which packets must be decoded: in each group of pictures, those up to the last one with such a timestamp."""
    needed = [False] * len(packets)
    later, earliest = False, math.inf
    for index in reversed(range(len(packets))):
        timestamp = packets[index].pts
        assert timestamp is not None
        if timestamp in timestamps:
            later, earliest = True, min(earliest, timestamp)
        needed[index] = later
        if packets[index].is_keyframe:  # pictures shown before their own key frame need the group before
            later, earliest = earliest < timestamp, math.inf
    return needed


def _decode_packet(codec: VideoCodecContext, packet: av.Packet | None) -> list[av.VideoFrame]:
    """The frames that a packet completes; None flushes the decoder."""
    try:
        return codec.decode(packet)
    except DECODE_ERRORS:
        return []
