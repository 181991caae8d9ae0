"""Clips of many kinds, made of photographs and drawings, that exercise Katna's rules for brightness, contrast, blur."""

from collections.abc import Callable, Sequence

import cv2
import numpy as np
import skimage.data

from m3l.media.sample import Frame

FRAMES = 40
Random = np.random.Generator


def photographs() -> list[Frame]:
    return [getattr(skimage.data, name)() for name in ("astronaut", "coffee", "chelsea", "rocket")]


def scenes(random: Random, size: tuple[int, int] = (96, 72), frames: int = FRAMES) -> list[Frame]:
    """Four pictures, moved, blurred, darkened and brightened at random."""
    pictures, clip = photographs(), []
    for index in range(frames):
        part = view(pictures[index * len(pictures) // frames], size, *random.uniform((0, 0, 0.5), (1, 1, 0.9)))
        part = cv2.GaussianBlur(part, (0, 0), random.uniform(0.1, 3))
        clip.append(lit(part, random.choice([0.02, 0.1, 0.5, 1, 1, 1, 2.5])))
    return clip


def view(picture: Frame, size: tuple[int, int], x: float = 0.5, y: float = 0.5, share: float = 0.9) -> Frame:
    """A part of the picture: `share` of each side, at `x` and `y` (0 to 1) of the remaining width and height."""
    height, width = (int(side * share) for side in picture.shape[:2])
    top, left = int((picture.shape[0] - height) * y), int((picture.shape[1] - width) * x)
    return cv2.resize(picture[top : top + height, left : left + width], size, interpolation=cv2.INTER_AREA)


def lit(picture: Frame, gain: float, offset: float = 0) -> Frame:
    return np.clip(picture * gain + offset, 0, 255).astype(np.uint8)


def progress(frames: int = FRAMES) -> Sequence[float]:
    return np.linspace(0, 1, frames).tolist()


def pan(random: Random) -> list[Frame]:
    picture = photographs()[random.integers(4)]
    return [view(picture, (96, 72), x=p, share=0.5) for p in progress()]


def zoom(random: Random) -> list[Frame]:
    picture = photographs()[random.integers(4)]
    return [view(picture, (128, 72), share=0.2 + 0.8 * p) for p in progress()]


def fade(random: Random) -> list[Frame]:
    """From black over a picture to white."""
    picture = photographs()[random.integers(4)]
    return [lit(view(picture, (96, 72), p, p, share=0.7), 2 * p, max(0, 400 * (p - 0.5))) for p in progress()]


def cuts(random: Random) -> list[Frame]:
    pictures = photographs()
    return [
        view(pictures[index // 2 % 4], (96, 72), *random.uniform((0, 0, 0.8), (1, 1, 0.8))) for index in range(FRAMES)
    ]


def upright(random: Random) -> list[Frame]:
    return scenes(random, size=(64, 112))


def night(random: Random) -> list[Frame]:
    """So dark that Katna relaxes its thresholds several times."""
    return [lit(frame, random.uniform(0.02, 0.3)) for frame in scenes(random)]


def blackout(random: Random) -> list[Frame]:
    """Mostly black frames, which Katna rejects: fewer candidates than key frames."""
    return [lit(frame, float(index % 4 == 0)) for index, frame in enumerate(pan(random))]


def snow(random: Random) -> list[Frame]:
    return [lit(frame, 0.2, random.uniform(150, 215)) for frame in scenes(random)]


def fog(random: Random) -> list[Frame]:
    """Low contrast: entropies near Katna's thresholds."""
    return [lit(frame, random.uniform(0.02, 0.3), 110) for frame in scenes(random)]


def grain(random: Random) -> list[Frame]:
    still = view(photographs()[random.integers(4)], (96, 72))
    return [
        np.clip(still + random.normal(0, 3 + index, still.shape), 0, 255).astype(np.uint8) for index in range(FRAMES)
    ]


def focus(random: Random) -> list[Frame]:
    """One view with varying sharpness."""
    still = view(photographs()[random.integers(4)], (160, 120))
    return [lit(cv2.GaussianBlur(still, (0, 0), random.uniform(0.2, 4)), 0.7 + p / 2) for p in progress()]


def drawing(random: Random) -> list[Frame]:
    """Uniform discs that move over a gradient."""
    places, speeds = random.uniform(0, 96, (6, 2)), random.uniform(-3, 3, (6, 2))
    colours = random.integers(0, 256, (6, 3)).tolist()
    clip = []
    for index in range(FRAMES):
        picture = np.dstack([np.tile(np.arange(96, dtype=np.uint8) * 2, (72, 1))] * 3)
        for place, speed, colour in zip(places, speeds, colours, strict=True):
            centre = (place + speed * index) % (96, 72)
            cv2.circle(picture, centre.astype(int).tolist(), 10 + index // 4, colour, -1)
        clip.append(picture)
    return clip


def slides(random: Random) -> list[Frame]:
    """Text on plain pages, one more word in each frame."""
    clip = []
    for index in range(FRAMES):
        picture = np.full((72, 128, 3), 240 - 12 * (index // 10), np.uint8)
        for line in range(index % 10 + 1):
            word = str(random.integers(10**8))
            cv2.putText(picture, word, (4, 7 * line + 8), cv2.FONT_HERSHEY_PLAIN, 0.6, (40, 20, 0), 1)
        clip.append(picture)
    return clip


KINDS: tuple[Callable[[Random], list[Frame]], ...] = (
    scenes,
    pan,
    zoom,
    fade,
    cuts,
    upright,
    night,
    blackout,
    snow,
    fog,
    grain,
    focus,
    drawing,
    slides,
)
