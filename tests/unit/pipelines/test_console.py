"""What the console shows: the memory of `frames` before it starts, and the progress of every long stage."""

import time

import pytest

from m3l.config import load
from m3l.media.limits import decoder_memory_bytes, max_reply_bytes
from pipelines.frames import BLOCK_COPIES, WORKER_BYTES, memory_line, worker_bytes
from pipelines.runtime.console import progress


def test_the_memory_of_a_worker_follows_from_the_settings() -> None:
    media = load("tiny", ["media.max_samples=100"]).media
    assert worker_bytes(media, block_media=4) == WORKER_BYTES + decoder_memory_bytes(
        media
    ) + BLOCK_COPIES * 4 * max_reply_bytes(media)
    line = memory_line(media, workers=3, block_media=4)
    assert f"3 workers of at most {worker_bytes(media, 4) / 2**30:.1f} GiB each" in line


@pytest.mark.parametrize(("total", "line"), [(None, "ingest: 2,000"), (9000, "ingest: 2,000 of 9,000")])
def test_a_long_stage_prints_its_progress_where_there_is_no_terminal(
    total: int | None, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress("ingest", total) as advance:
        monkeypatch.setattr(advance, "shown", -1000.0)  # long ago
        advance(2000)
    assert line in capsys.readouterr().err


def test_progress_shows_its_rate_and_the_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with progress("train", 100) as advance:
        now[0] += 60  # the start counts for nothing
        advance(10)
        now[0] += 20
        advance(40, "mse 0.5")
    assert "train: 50 of 100, 2.0/s, 25 s left  mse 0.5" in capsys.readouterr().err


def test_progress_says_at_once_what_the_first_step_waits_for(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("train", 100) as advance:
        for note in ("starting 2 workers", "starting 2 workers", "reading the first posts"):
            advance(0, note)
    assert [line.split("  ")[-1] for line in capsys.readouterr().err.splitlines()] == [
        "starting 2 workers",
        "reading the first posts",
    ]
