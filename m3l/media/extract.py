"""A local media file as encoded key frames: sampled, selected, compressed."""

from pathlib import Path
from typing import NamedTuple

import cv2

from m3l.config import MediaConfig
from m3l.media.errors import MediaError
from m3l.media.images import sample_image
from m3l.media.sample import Frame, SampledFrames, fill_evenly, sample_video
from m3l.media.sniff import sniff


class EncodedFrame(NamedTuple):
    """A key frame as JPEG; `width` and `height` are in pixels."""

    time_s: float
    width: int
    height: int
    jpeg: bytes


def extract(path: Path, config: MediaConfig) -> list[EncodedFrame]:
    """The key frames of a local file.

    Frames are scored at full size as they are decoded, and only their compressed versions stay in memory. A video
    with no more samples than key frames is not scored.

    Args:
        path: The file.
        config: Limits, stride of the samples, number and size of the key frames.

    Returns:
        At least one and at most `config.key_frames` frames, in time order.

    Raises:
        MediaError: The file cannot be read, or is not within the limits.
    """
    samples = _sample(path, config)
    if samples.expected_count > config.key_frames or config.katna_compatible:
        return _select(samples, config)
    encoded = [_encode(time_s, frame, config) for time_s, frame in samples.frames]
    return [encoded[index] for index in fill_evenly([], len(encoded), config.key_frames)]


def _select(samples: SampledFrames, config: MediaConfig) -> list[EncodedFrame]:
    # Imported here: loading Katna's libraries takes as long as reading ten pictures.
    from m3l.media.katna import score_frame, select_key_frames

    scores, encoded = [], []
    for time_s, frame in samples.frames:
        scores.append(score_frame(frame, config.katna_compatible))
        encoded.append(_encode(time_s, frame, config))
    if len(encoded) < 2:
        return encoded
    return [encoded[index] for index in select_key_frames(scores, config.key_frames, config.katna_compatible)]


def _sample(path: Path, config: MediaConfig) -> SampledFrames:
    match sniff(path):
        case "jpeg" | "png" | "webp" as image:
            return sample_image(path, image, config)
        case video:
            return sample_video(path, video, config)


def _encode(time_s: float, frame: Frame, config: MediaConfig) -> EncodedFrame:
    height, width, _ = frame.shape
    if height > config.image_height:
        width, height = max(1, round(width * config.image_height / height)), config.image_height
        frame = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
    quality = [cv2.IMWRITE_JPEG_QUALITY, config.jpeg_quality]
    encoded, jpeg = cv2.imencode(".jpg", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), quality)
    if not encoded:
        raise MediaError("failed", f"no JPEG of {width} x {height}")
    return EncodedFrame(time_s, width, height, jpeg.tobytes())
