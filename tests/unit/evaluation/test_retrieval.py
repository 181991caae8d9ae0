"""Scores of retrieved frames: recall, first hit, near-duplicates, both subjects."""

import numpy as np
import pytest

from m3l.data.records import KeyFrame, MediaFrames
from m3l.evaluation import retrieval
from m3l.evaluation.retrieval import RetrievalCase, mean_scores, uniform_indices

TRUTH = {
    "subjects": ["fox", "owl"],
    "media": [
        {
            "media_id": "m",
            "spans": [
                {"subject": "fox", "start_s": 0.0, "end_s": 4.0},
                {"subject": "owl", "start_s": 8.0, "end_s": 9.0},
            ],
        }
    ],
}


def build_case(frames: int = 12, **changes: object) -> RetrievalCase:
    key_frames = tuple(KeyFrame(time_s=float(i), image=b"", width=1, height=1) for i in range(frames))
    vectors = np.eye(frames, dtype=np.float16)
    vectors[1] = vectors[0]
    files = [MediaFrames(media_id="m", url="m", kind="video", frames=key_frames)]
    return RetrievalCase.of(files, vectors, TRUTH | changes)


def test_frames_are_scored_by_the_subjects_on_screen() -> None:
    case = build_case()
    assert case.has_choice(11) and not case.has_choice(12)
    assert case.score([5, 0, 1, 2], k=4) == {
        "recall": 3 / 4,
        "reciprocal_rank": 1 / 2,
        "near_duplicates": 1 / 4,
        "shows_both": 0.0,
    }
    assert case.score([0, 8, 5], k=3) == {
        "recall": 2 / 3,
        "reciprocal_rank": 1.0,
        "near_duplicates": 0.0,
        "shows_both": 1.0,
    }
    assert case.score([5, 6, 8], k=2)["reciprocal_rank"] == 0.0


def test_shows_both_is_scored_only_if_the_key_frames_show_two_subjects() -> None:
    assert build_case(subjects=["fox"]).score([0], k=1)["shows_both"] is None
    assert build_case(frames=6).score([0], k=1)["shows_both"] is None


def test_uniform_indices_and_mean_scores() -> None:
    assert uniform_indices(21, 3) == [0, 10, 20]
    assert mean_scores([{"a": 1.0, "b": None}, {"a": 0.0, "b": None}]) == {"a": 0.5, "b": None}


def test_recall_and_reciprocal_rank() -> None:
    hits = np.array([False, True, True, False, True])
    assert retrieval.recall_at(hits, relevant=4, k=3) == pytest.approx(2 / 3)
    assert retrieval.recall_at(hits, relevant=4, k=5) == 0.75
    assert retrieval.recall_at(hits, relevant=0, k=3) is None
    assert retrieval.reciprocal_rank(hits) == 0.5
    assert retrieval.reciprocal_rank(hits[:1]) == 0


def test_near_duplicates_have_nearly_the_same_direction() -> None:
    vectors = np.array([[1, 0], [9, 0], [0, 1], [0.01, 5], [-1, 0]], np.float32)
    assert retrieval.near_duplicates(vectors) == pytest.approx(2 / 5)  # the second and the fourth
    assert retrieval.near_duplicates(np.zeros((3, 2), np.float32)) == 0
    assert retrieval.near_duplicates(vectors[:0]) is None
