"""Distilling: Katna's choice, with and without its bug."""

import cv2
import numpy as np
import pytest
import skimage.data

from m3l.media.katna import distil, score
from m3l.media.sample import Frame, fill
from tests.support.footage import scenes


def clip(seed: int) -> list[Frame]:
    return scenes(np.random.default_rng(seed), frames=60)


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
