"""Retrieved frames against the truth: found, first, copied, complete."""

import numpy as np

from m3l.data.records import KeyFrame, MediaFrames
from m3l.evaluation.retrieval import Album, average, evenly

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


def album(frames: int = 12, **changes: object) -> Album:
    shown = tuple(KeyFrame(time_s=float(i), image=b"", width=1, height=1) for i in range(frames))
    vectors = np.eye(frames, dtype=np.float16)
    vectors[1] = vectors[0]
    return Album.of([MediaFrames(media_id="m", url="m", kind="video", frames=shown)], vectors, TRUTH | changes)


def test_frames_are_judged_by_who_is_on_screen() -> None:
    told = album()
    assert told.leaves_a_choice(11) and not told.leaves_a_choice(12)
    assert told.judge([5, 0, 1, 2], k=4) == {
        "recall": 3 / 4,
        "reciprocal_rank": 1 / 2,
        "near_duplicates": 1 / 4,
        "shows_both": 0.0,
    }
    assert told.judge([0, 8, 5], k=3) == {
        "recall": 2 / 3,
        "reciprocal_rank": 1.0,
        "near_duplicates": 0.0,
        "shows_both": 1.0,
    }
    assert told.judge([5, 6, 8], k=2)["reciprocal_rank"] == 0.0


def test_both_are_asked_for_only_where_the_key_frames_show_two() -> None:
    assert album(subjects=["fox"]).judge([0], k=1)["shows_both"] is None
    assert album(frames=6).judge([0], k=1)["shows_both"] is None


def test_evenly_spaced_frames_and_averages() -> None:
    assert evenly(21, 3) == [0, 10, 20]
    assert average([{"a": 1.0, "b": None}, {"a": 0.0, "b": None}]) == {"a": 0.5, "b": None}
