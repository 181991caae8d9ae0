"""Kills in the middle of `frames`: no row is lost or comes twice, and only what was in flight is read again."""

import ctypes
from pathlib import Path
from random import Random

import psutil
import pytest

from m3l.data import storage
from m3l.data.records import Media, MediaFrames
from pipelines import frames
from pipelines.workers.frames import ATTEMPTS
from tests.support.paused import NEVER, Pause, pausing_frames
from tests.support.programs import PATIENCE_S, end, kill, parts, running, wait_for
from tests.support.runs import pictures_run

PICTURES, BLOCK, WORKERS = 40, 2, 2


@pytest.mark.parametrize("seed", [0])
def test_frames_survives_kills_of_worker_driver_and_raylet(
    seed: int, local_ray: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = pictures_run(tmp_path / "run", PICTURES, f"ray.block_media={BLOCK}", f"ray.frames_workers={WORKERS}")
    folder, random, pause = config.paths.of("keyframes"), Random(seed), Pause(tmp_path)
    command = config, tmp_path, "tests.support.paused", "frames", str(tmp_path)
    written: dict[str, int] = {}

    pause.at(line := random.randint(3, 9))
    with running(*command) as program:
        wait_for(lambda: len(pause.begun()) >= line, program)
        psutil.Process(int(pause.begun()[-1][1])).kill()  # a worker: Ray starts another one
        pause.at(line := line + random.randint(5, 9))
        wait_for(lambda: len(pause.begun()) >= line, program)
        written |= parts(folder)
        kill(program)

    pause.at(line := line + random.randint(5, 9))
    with running(*command) as program:
        wait_for(lambda: len(pause.begun()) >= line, program)
        written |= parts(folder)
        started = psutil.Process(program.pid).children(recursive=True)
        next(process for process in started if process.name() == "raylet").kill()
        assert program.wait(PATIENCE_S) != 0
        end(started)

    pause.at(NEVER)
    monkeypatch.setattr(frames, "ExtractKeyFrames", pausing_frames(tmp_path))
    frames.main(config)

    expected = sorted(storage.read_column(f"{config.paths.of('posts')}/media", "media_id"))
    assert sorted(storage.read_column(folder, "media_id")) == expected
    assert written and written.items() <= parts(folder).items()  # no part was written again
    # The worker was within one block; driver and raylet take all workers with them.
    assert len(pause.begun()) - PICTURES <= (1 + WORKERS + WORKERS) * BLOCK
    assert not Path(folder, ATTEMPTS).exists()


def test_a_row_that_kills_its_worker_each_time_is_an_error_and_costs_no_other_row(
    local_ray: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deadly = ("4.jpg", "5.jpg")  # in one block

    class Deadly(frames.ExtractKeyFrames):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            self.read_safely, self.read = self.read, self.read_or_die

        def read_or_die(self, media: Media) -> MediaFrames:
            if media.url in deadly:
                ctypes.string_at(0)  # at once and in this thread, unlike a signal that is sent
            return self.read_safely(media)

    monkeypatch.setattr(frames, "ExtractKeyFrames", Deadly)
    config = pictures_run(tmp_path, 12, "ray.block_media=4")
    summary = frames.main(config)
    rows = {row["url"]: row["error"] for row in storage.read_rows(config.paths.of("keyframes"))}
    assert rows == {f"{n}.jpg": None for n in range(12)} | dict.fromkeys(deadly, "crashed: 2 workers died reading it")
    assert (summary.rows_out, summary.errors) == (12, {"crashed": 2})
