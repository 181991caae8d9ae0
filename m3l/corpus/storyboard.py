"""The plan of a media file: shots, the subjects in them, and how they move."""

from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from m3l.corpus.drawings import DISTRACTORS
from m3l.data.records import MediaKind

SIZES = ((160, 160), (192, 144), (144, 192))  # width, height
VIDEO_FPS = 8  # an eighth of a second is exact in binary: frame times compare exactly with spans
GIF_FPS = 5
HOOK_S = 1.0  # a video hooks if a subject is on screen within its first second
_SLOW_START_S = 1.5  # length of a first shot without a subject, so that sampling cannot confuse the two
_SUBJECT = (0.55, 0.85)  # shares of the frame's short side
_DISTRACTOR = (0.12, 0.22)


@dataclass(frozen=True)
class Sprite:
    """A sticker that moves in a straight line; positions are shares (x, y) of the free space in the frame."""

    name: str
    size: float  # its longer side, as a share of the frame's short side
    angle: float  # degrees
    start: tuple[float, float]
    end: tuple[float, float]


@dataclass(frozen=True)
class Shot:
    """Frames of one camera position, sprites back to front; `fades`: a cross-fade from the previous shot."""

    frames: int
    subject: str | None
    sprites: tuple[Sprite, ...]
    crop: tuple[float, float]  # position of the frame inside the scene, as shares (x, y) of the free space
    brightness: float
    fades: bool = False


@dataclass(frozen=True)
class Clip:
    """One media file; an image is one shot of one frame."""

    kind: MediaKind
    width: int
    height: int
    fps: int
    scene: str
    shots: tuple[Shot, ...]

    @property
    def duration_s(self) -> float | None:
        """Length in seconds; None for an image."""
        return None if self.kind == "image" else sum(shot.frames for shot in self.shots) / self.fps

    @property
    def spans(self) -> list[dict[str, object]]:
        """When subjects are on screen: `{subject, start_s, end_s}` for each shot with a subject, 0 to 0 for an image.

        A cross-fade counts for the shot that has the greater weight.
        """
        ends = list(accumulate(shot.frames for shot in self.shots))
        seconds = 0 if self.kind == "image" else 1 / self.fps
        return [
            {"subject": shot.subject, "start_s": (end - shot.frames) * seconds, "end_s": end * seconds}
            for shot, end in zip(self.shots, ends, strict=True)
            if shot.subject
        ]


def image(rng: np.random.Generator, scene: str, subject: str) -> Clip:
    """A photograph of the subject."""
    return Clip("image", *_size(rng), 1, scene, (_shot(rng, 1, subject),))


def gif(rng: np.random.Generator, scene: str, subject: str) -> Clip:
    """Two to three seconds of the subject moving."""
    frames = int(rng.integers(2 * GIF_FPS, 3 * GIF_FPS, endpoint=True))
    return Clip("gif", *_size(rng), GIF_FPS, scene, (_shot(rng, frames, subject),))


def video(rng: np.random.Generator, scene: str, subjects: tuple[str, ...], hook: bool) -> Clip:
    """Eight to twelve seconds in four to seven shots, half of them with a subject, the first subject before the second.

    Args:
        rng: Draws everything.
        scene: Name of the background.
        subjects: One or two subjects in the order shown.
        hook: Whether the first shot shows a subject.
    """
    lengths = _lengths(rng, int(rng.integers(4, 7, endpoint=True)), hook)
    cast = _cast(rng, len(lengths), subjects, hook)
    shots = [
        _shot(rng, frames, subject, fades=number > 0 and rng.random() < 0.5)
        for number, (frames, subject) in enumerate(zip(lengths, cast, strict=True))
    ]
    return Clip("video", *_size(rng), VIDEO_FPS, scene, tuple(shots))


def _lengths(rng: np.random.Generator, shots: int, hook: bool) -> list[int]:
    """Frames per shot: one to three seconds each, eight to twelve in all."""
    while True:
        lengths = rng.integers(VIDEO_FPS, 3 * VIDEO_FPS, size=shots, endpoint=True)
        slow = lengths[0] >= _SLOW_START_S * VIDEO_FPS
        if 8 * VIDEO_FPS <= lengths.sum() <= 12 * VIDEO_FPS and (hook or slow):
            return [int(length) for length in lengths]


def _cast(rng: np.random.Generator, shots: int, subjects: tuple[str, ...], hook: bool) -> list[str | None]:
    """The subject of each shot; None: distractors only. The first shot has a subject only if `hook`."""
    shown = (shots + int(rng.integers(2))) // 2
    change = int(rng.integers(1, shown)) if len(subjects) == 2 else shown
    actors = iter([subjects[0]] * change + [subjects[-1]] * (shown - change))
    places = {0} if hook else set()
    places |= {1 + int(place) for place in rng.choice(shots - 1, size=shown - hook, replace=False)}
    return [next(actors) if place in places else None for place in range(shots)]


def _shot(rng: np.random.Generator, frames: int, subject: str | None, fades: bool = False) -> Shot:
    few = int(rng.integers(0, 2, endpoint=True)) if subject else int(rng.integers(1, 3, endpoint=True))
    sprites = [_sprite(rng, str(name), _DISTRACTOR) for name in rng.choice(list(DISTRACTORS), few, replace=False)]
    if subject:
        sprites.append(_sprite(rng, subject, _SUBJECT))
    x, y, brightness = rng.random(), rng.random(), rng.uniform(0.9, 1.1)
    return Shot(frames, subject, tuple(sprites), (x, y), brightness, fades)


def _sprite(rng: np.random.Generator, name: str, sizes: tuple[float, float]) -> Sprite:
    (x0, y0), (x1, y1) = rng.random((2, 2)).tolist()
    return Sprite(name, rng.uniform(*sizes), rng.uniform(-12, 12), (x0, y0), (x1, y1))


def _size(rng: np.random.Generator) -> tuple[int, int]:
    return SIZES[int(rng.integers(len(SIZES)))]
