"""Deaths in the middle of `frames`: no row is lost or comes twice, and no more is done again than was in flight."""

import ctypes
from pathlib import Path
from random import Random

import psutil
import pytest

from m3l.data import storage
from m3l.data.records import Media, MediaFrames
from pipelines import frames
from tests.support.listed_media import listed
from tests.support.programs import PATIENCE_S, Control, end, kill, parts, running, wait_for

PICTURES, BLOCK, WORKERS = 40, 2, 2


@pytest.mark.parametrize("seed", [0])
def test_frames_survives_kills_of_worker_driver_and_raylet(seed: int, tmp_path: Path) -> None:
    config = listed(tmp_path / "run", PICTURES, f"ray.block_media={BLOCK}", f"ray.frames_workers={WORKERS}")
    folder, chance, control = config.paths.of("keyframes"), Random(seed), Control(tmp_path)
    command = config, tmp_path, "tests.support.paused_frames", str(tmp_path)
    kept: dict[str, int] = {}

    control.hold_from(at := chance.randint(3, 9))
    with running(*command) as program:
        wait_for(lambda: len(control.begun()) >= at, program)
        psutil.Process(int(control.begun()[-1][1])).kill()  # a worker: Ray starts another one
        control.hold_from(at := at + chance.randint(5, 9))
        wait_for(lambda: len(control.begun()) >= at, program)
        kept |= parts(folder)
        kill(program)

    control.hold_from(at := at + chance.randint(5, 9))
    with running(*command) as program:
        wait_for(lambda: len(control.begun()) >= at, program)
        kept |= parts(folder)
        started = psutil.Process(program.pid).children(recursive=True)
        next(process for process in started if process.name() == "raylet").kill()
        assert program.wait(PATIENCE_S) != 0
        end(started)

    control.hold_from(10**6)
    with running(*command) as program:
        assert program.wait(PATIENCE_S) == 0

    wanted = sorted(storage.read_column(f"{config.paths.of('posts')}/media", "media_id"))
    assert sorted(storage.read_column(folder, "media_id")) == wanted
    assert kept and kept.items() <= parts(folder).items()  # what was written is not written again
    # The worker was within one block; driver and raylet take all workers with them.
    assert len(control.begun()) - PICTURES <= (1 + WORKERS + WORKERS) * BLOCK
    assert not Path(folder, frames.BEGUN).exists()


def test_a_row_that_kills_its_worker_each_time_is_an_error_and_costs_no_other_row(
    local_ray: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deadly = ("4.jpg", "5.jpg")  # in one block

    class Deadly(frames.Distil):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            self.honest, self.read = self.read, self.read_or_die

        def read_or_die(self, media: Media) -> MediaFrames:
            if media.url in deadly:
                ctypes.string_at(0)  # at once and in this thread, unlike a signal that is sent
            return self.honest(media)

    monkeypatch.setattr(frames, "Distil", Deadly)
    config = listed(tmp_path, 12, "ray.block_media=4")
    summary = frames.main(config)
    rows = {row["url"]: row["error"] for row in storage.read_rows(config.paths.of("keyframes"))}
    assert rows == {f"{n}.jpg": None for n in range(12)} | dict.fromkeys(deadly, "crashed: 2 workers died reading it")
    assert (summary.rows_out, summary.errors) == (12, {"crashed": 2})
