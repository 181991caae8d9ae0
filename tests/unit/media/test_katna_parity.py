"""`katna_compatible` selects, from a file, the same key frames as the unmodified Katna library."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from m3l.config import MediaConfig
from m3l.media.extract import extract
from m3l.media.katna import KatnaSelector, score_frame
from tests.support.clips import sampled, write_video
from tests.support.footage import FRAMES, KINDS

ROOT = Path(__file__).parents[3]
STEP_MS = 500  # so that every frame is a sample
CLIPS = {f"{kind.__name__}-{count}": (kind, count) for kind in KINDS for count in (7, 24)}
Choices = dict[str, tuple[Path, list[int]]]
pytestmark = pytest.mark.timeout(600)  # the fixture runs Katna itself: 15 s of CPU, minutes beside other work


@pytest.fixture(scope="module")
def katna(tmp_path_factory: pytest.TempPathFactory) -> Choices:
    """Each clip as a video, and the indices of the frames that Katna selects, in Katna's order."""
    folder = tmp_path_factory.mktemp("parity")
    videos, clips = {}, {}
    for seed, (name, (kind, count)) in enumerate(CLIPS.items()):
        frames = kind(np.random.default_rng(seed))
        times_ms = range(0, FRAMES * STEP_MS, STEP_MS)
        videos[name] = write_video(folder / f"{name}.mp4", times_ms, picture=frames.__getitem__, options={"crf": "12"})
        clips[name] = [frame for _, frame in sampled(videos[name])], count

    (folder / "clips").write_bytes(pickle.dumps(clips))
    program = [sys.executable, str(ROOT / "tests/support/katna_choice.py")]
    # With several threads, Katna's KMeans breaks ties differently from run to run.
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    subprocess.run([*program, str(folder / "clips"), str(folder / "choices")], env=environment, check=True)
    choices = json.loads((folder / "choices").read_text())
    return {name: (video, choices[name]) for name, video in videos.items()}


def test_the_comparison_covers_many_kinds_of_clips() -> None:
    assert len(CLIPS) >= 20


@pytest.mark.parametrize("name", CLIPS)
def test_the_same_frames_are_selected(name: str, katna: Choices) -> None:
    video, choice = katna[name]
    _, count = CLIPS[name]

    rows = extract(video, MediaConfig(katna_compatible=True, key_frames=count))

    assert len(choice) > 0
    assert [round(time_s * 1000 / STEP_MS) for time_s, *_ in rows] == sorted(choice)


@pytest.mark.parametrize("name", ["scenes-24", "night-24", "slides-7"])
def test_the_frames_are_selected_in_the_same_order(name: str, katna: Choices) -> None:
    video, choice = katna[name]
    scores = [score_frame(frame, katna_compatible=True) for _, frame in sampled(video)]
    assert KatnaSelector().select(scores, CLIPS[name][1]) == choice
