"""Packets to pictures: all of them, or the wanted ones for about half the work."""

import math
from collections import deque
from collections.abc import Iterator, Sequence, Set

import av
from av.video.codeccontext import VideoCodecContext

# What PyAV raises on a damaged file, besides MemoryError.
DAMAGE = (av.FFmpegError, ValueError, LookupError, AttributeError, OSError, EOFError)


def decode(codec: VideoCodecContext, packets: Sequence[av.Packet]) -> Iterator[av.VideoFrame]:
    """All frames in the order they are shown; damaged packets are left out."""
    for packet in packets:
        yield from _decoded(codec, packet)
    yield from _decoded(codec, None)


def decode_wanted(
    codec: VideoCodecContext, packets: Sequence[av.Packet], wanted: Sequence[int]
) -> Iterator[av.VideoFrame]:
    """The frames with the wanted timestamps, which rise: pixel for pixel what decoding everything gives.

    Each is decoded from the key frame before it, less the frames in between that no other refers to. Needs a
    timestamp on every packet and a key frame in the first.
    """
    left = deque(wanted)
    for frame in _planned(codec, packets, set(wanted)):
        if not left or frame.pts is None or frame.pts > left[0]:
            break
        if frame.pts == left[0]:
            left.popleft()
            yield frame
    if left:
        # One was missed: through damage, or key frames that nothing can start from (periodic intra refresh).
        codec.flush_buffers()
        codec.skip_frame = "DEFAULT"
        missing = set(left)
        yield from (frame for frame in decode(codec, packets) if frame.pts in missing)


def _planned(codec: VideoCodecContext, packets: Sequence[av.Packet], wanted: Set[int]) -> Iterator[av.VideoFrame]:
    gap = False
    for packet, needed in zip(packets, _needed(packets, wanted), strict=True):
        if not needed:
            gap = True
            continue
        if gap:
            yield from _decoded(codec, None)
            codec.flush_buffers()
            gap = False
        codec.skip_frame = "DEFAULT" if packet.pts in wanted else "NONREF"
        yield from _decoded(codec, packet)
    yield from _decoded(codec, None)


def _needed(packets: Sequence[av.Packet], wanted: Set[int]) -> list[bool]:
    """Which packets to decode: those from a key frame up to the last wanted one of its group."""
    needed = [False] * len(packets)
    later, earliest = False, math.inf
    for index in reversed(range(len(packets))):
        stamp = packets[index].pts
        assert stamp is not None
        if stamp in wanted:
            later, earliest = True, min(earliest, stamp)
        needed[index] = later
        if packets[index].is_keyframe:  # pictures shown before their own key frame need the group before
            later, earliest = earliest < stamp, math.inf
    return needed


def _decoded(codec: VideoCodecContext, packet: av.Packet | None) -> list[av.VideoFrame]:
    try:
        return codec.decode(packet)
    except DAMAGE:
        return []
