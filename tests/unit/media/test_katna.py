"""Selecting key frames by Katna's rules, with and without its index bug."""

import cv2
import numpy as np
import pytest
import skimage.data

from m3l.media.katna import score_frame, select_key_frames
from m3l.media.sample import Frame, fill_evenly
from tests.support.footage import scenes


def clip(seed: int) -> list[Frame]:
    return scenes(np.random.default_rng(seed), frames=60)


@pytest.mark.parametrize("seed", [5, 6, 7])
def test_fast_scores_select_the_same_frames_as_exact_ones(seed: int) -> None:
    frames = clip(seed)
    exact = [score_frame(frame, katna_compatible=True) for frame in frames]
    assert select_key_frames([score_frame(frame) for frame in frames], 15) == select_key_frames(exact, 15)


def test_the_sharpest_of_near_duplicates_is_selected() -> None:
    scenes = [cv2.resize(scene, (160, 120)) for scene in (skimage.data.astronaut(), skimage.data.coffee())]
    blurs = [2.0, 1.0, 0.0, 3.0, 1.5]  # the third frame of each scene is sharp
    frames = [cv2.GaussianBlur(scene, (0, 0), blur) if blur else scene for scene in scenes for blur in blurs]
    assert select_key_frames([score_frame(frame) for frame in frames], 2) == [2, 7]


def test_the_selection_is_ordered_bounded_and_repeatable() -> None:
    scores = [score_frame(frame) for frame in clip(8)]
    for count in (1, 7, 59, 60, 100):
        selected = select_key_frames(scores, count)
        assert len(selected) == min(count, 60)
        assert selected == sorted(set(selected)) == select_key_frames(scores, count)


@pytest.mark.parametrize("grey", [0, 255])
@pytest.mark.parametrize("katna_compatible", [False, True])
def test_if_katna_rejects_every_frame_evenly_spaced_ones_are_selected(grey: int, katna_compatible: bool) -> None:
    scores = [score_frame(np.full((48, 64, 3), grey, np.uint8), katna_compatible) for _ in range(21)]
    assert select_key_frames(scores, 3, katna_compatible) == [0, 10, 20]


@pytest.mark.parametrize("shape", [(1, 1), (2, 300), (300, 2), (12, 12), (50, 50)])
def test_frames_of_unusual_sizes_have_finite_scores(shape: tuple[int, int]) -> None:
    values = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert np.isfinite(score_frame(values)[:3]).all()


def test_fill_evenly_keeps_the_selected_indices() -> None:
    assert fill_evenly([4], 9, 3) == [0, 4, 8]
    assert fill_evenly([], 3, 5) == [0, 1, 2]
    assert fill_evenly([1, 2], 9, 2) == [1, 2]
    assert fill_evenly([], 0, 5) == []
