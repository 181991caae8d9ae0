"""A local media file as encoded key frames: sampled, distilled, compressed."""

from pathlib import Path

import cv2

from m3l.config import MediaConfig
from m3l.media.errors import MediaError
from m3l.media.images import sample_image
from m3l.media.sample import Frame, Samples, fill, sample_video
from m3l.media.sniff import sniff

Encoded = tuple[float, int, int, bytes]  # time in seconds, width, height, JPEG


def extract(path: Path, config: MediaConfig) -> list[Encoded]:
    """At most `config.key_frames` frames in time order, at least one; raises MediaError.

    Scores are taken at full size as the frames come, and only small pictures are kept. A video with no more
    samples than are wanted needs no scores.
    """
    samples = _samples(path, config)
    if samples.planned > config.key_frames or config.katna_compatible:
        return _distilled(samples, config)
    encoded = [(time_s, *_compress(frame, config)) for time_s, frame in samples.frames]
    return [encoded[index] for index in fill([], len(encoded), config.key_frames)]


def _distilled(samples: Samples, config: MediaConfig) -> list[Encoded]:
    from m3l.media.katna import distil, score  # here: Katna's libraries start as slowly as ten pictures are read

    scores, encoded = [], []
    for time_s, frame in samples.frames:
        scores.append(score(frame, config.katna_compatible))
        encoded.append((time_s, *_compress(frame, config)))
    if len(encoded) < 2:
        return encoded
    return [encoded[index] for index in distil(scores, config.key_frames, config.katna_compatible)]


def _samples(path: Path, config: MediaConfig) -> Samples:
    match sniff(path):
        case "jpeg" | "png" | "webp" as image:
            return sample_image(path, image, config)
        case video:
            return sample_video(path, video, config)


def _compress(frame: Frame, config: MediaConfig) -> tuple[int, int, bytes]:
    height, width, _ = frame.shape
    if height > config.image_height:
        width, height = max(1, round(width * config.image_height / height)), config.image_height
        frame = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
    quality = [cv2.IMWRITE_JPEG_QUALITY, config.jpeg_quality]
    done, jpeg = cv2.imencode(".jpg", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), quality)
    if not done:
        raise MediaError("failed", f"no JPEG of {width} x {height}")
    return width, height, jpeg.tobytes()
