"""Distilling: Katna's choice, with and without its bug."""

from collections.abc import Callable, Iterable
from typing import Any, Self

import cv2
import Katna.image_selector
import numpy as np
import pytest
import skimage.data

from m3l.media.distil import Selector, distil, fill, score
from m3l.media.sample import Frame


def clip(seed: int, frames: int = 60) -> list[Frame]:
    """Four pictures, moved, blurred, darkened and brightened at random."""
    random = np.random.default_rng(seed)
    scenes = [getattr(skimage.data, name)() for name in ("astronaut", "coffee", "chelsea", "rocket")]
    made = []
    for index in range(frames):
        scene = scenes[index * len(scenes) // frames]
        height, width = (int(side * random.uniform(0.5, 0.9)) for side in scene.shape[:2])
        top = random.integers(0, scene.shape[0] - height)
        left = random.integers(0, scene.shape[1] - width)
        part = cv2.resize(scene[top : top + height, left : left + width], (96, 72), interpolation=cv2.INTER_AREA)
        part = cv2.GaussianBlur(part, (0, 0), random.uniform(0.1, 3))
        light = random.choice([0.02, 0.1, 0.5, 1, 1, 1, 2.5])
        made.append(np.clip(part * light, 0, 255).astype(np.uint8))
    return made


class InThisProcess:
    """Katna's multiprocessing.Pool without its processes, which must not fork after OpenMP has run."""

    def __init__(self, processes: int) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def map(self, function: Callable[[Any], Any], values: Iterable[Any]) -> list[Any]:
        return [function(value) for value in values]


@pytest.mark.parametrize(("seed", "wanted"), [(0, 5), (1, 10), (2, 20), (3, 30), (4, 55)])
def test_katna_compatible_is_katnas_own_choice(seed: int, wanted: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Katna.image_selector, "Pool", InThisProcess)
    frames = clip(seed)
    pictures = [np.ascontiguousarray(frame[..., ::-1]) for frame in frames]
    chosen = Katna.image_selector.ImageSelector(1).select_best_frames(pictures, wanted)
    katna = [next(i for i, picture in enumerate(pictures) if picture is one) for one in chosen]

    scores = [score(frame, katna_compatible=True) for frame in frames]

    assert Selector().select(scores, wanted) == katna
    assert distil(scores, wanted, katna_compatible=True) == sorted(katna)


@pytest.mark.parametrize("seed", [5, 6, 7])
def test_quick_scores_choose_what_exact_ones_do(seed: int) -> None:
    frames = clip(seed)
    exact = [score(frame, katna_compatible=True) for frame in frames]
    assert distil([score(frame) for frame in frames], 15) == distil(exact, 15)


def test_the_sharpest_of_near_duplicates_is_chosen() -> None:
    scenes = [cv2.resize(scene, (160, 120)) for scene in (skimage.data.astronaut(), skimage.data.coffee())]
    blurs = [2.0, 1.0, 0.0, 3.0, 1.5]  # the third frame of each scene is sharp
    frames = [cv2.GaussianBlur(scene, (0, 0), blur) if blur else scene for scene in scenes for blur in blurs]
    assert distil([score(frame) for frame in frames], 2) == [2, 7]


def test_the_choice_is_in_time_order_bounded_and_repeatable() -> None:
    scores = [score(frame) for frame in clip(8)]
    for wanted in (1, 7, 59, 60, 100):
        chosen = distil(scores, wanted)
        assert len(chosen) == min(wanted, 60)
        assert chosen == sorted(set(chosen)) == distil(scores, wanted)


@pytest.mark.parametrize("grey", [0, 255])
@pytest.mark.parametrize("katna_compatible", [False, True])
def test_what_katna_rejects_gives_frames_at_regular_distances(grey: int, katna_compatible: bool) -> None:
    scores = [score(np.full((48, 64, 3), grey, np.uint8), katna_compatible) for _ in range(21)]
    assert distil(scores, 3, katna_compatible) == [0, 10, 20]


@pytest.mark.parametrize("shape", [(1, 1), (2, 300), (300, 2), (12, 12), (50, 50)])
def test_odd_sizes_have_scores(shape: tuple[int, int]) -> None:
    values = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert np.isfinite(score(values)[:3]).all()


def test_fill_keeps_what_is_chosen() -> None:
    assert fill([4], 9, 3) == [0, 4, 8]
    assert fill([], 3, 5) == [0, 1, 2]
    assert fill([1, 2], 9, 2) == [1, 2]
    assert fill([], 0, 5) == []
