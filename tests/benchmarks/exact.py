"""Whether sampling with skipped frames gives the same times and pixels as a full decode."""

from pathlib import Path
from typing import NamedTuple

import av
import numpy as np

from m3l.media.sample import sample_video
from m3l.media.sniff import sniff
from tests.benchmarks.ours import CONFIG


class Identity(NamedTuple):
    """How many samples a full decode gives, and how many of ours differ from them."""

    samples: int
    wrong_times: int
    wrong_pictures: int


def compare(path: Path) -> Identity:
    """Compare our samples with those of a simple full decode: the first frame of each half second."""
    format = sniff(path)
    assert format == "mov"
    samples = sample_video(path, format, CONFIG).frames
    count = wrong_times = wrong_pictures = 0
    with av.open(str(path)) as media:
        step = 0
        for frame in media.decode(video=0):
            if frame.time < step * CONFIG.stride_s - 1e-6:
                continue
            step = int(frame.time / CONFIG.stride_s + 1e-6) + 1
            time_s, picture = next(samples, (-1.0, None))
            count += 1
            wrong_times += abs(time_s - frame.time) > 1e-6
            wrong_pictures += picture is None or not np.array_equal(picture, frame.to_ndarray(format="rgb24"))
    wrong_times += sum(1 for _ in samples)
    return Identity(count, int(wrong_times), int(wrong_pictures))
