"""Deaths in the middle of `frames`: no row is lost or comes twice, and no more is done again than was in flight."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import psutil
import pytest

from m3l import storage
from m3l.config import Config
from m3l.records import Media, MediaFrames
from pipelines import frames

from .listed import listed

ROOT = Path(__file__).parents[2]
PICTURES, BLOCK, WORKERS = 40, 2, 2
PATIENCE_S = 1200  # of a machine with other work


class Control:
    """The folder by which a test holds the program tests/pipelines/held.py and sees what it begins."""

    def __init__(self, folder: Path):
        self.folder = folder
        (folder / "begun").touch()

    def hold_from(self, line: int) -> None:
        (self.folder / "new").write_text(str(line))
        (self.folder / "new").rename(self.folder / "hold")

    def begun(self) -> list[tuple[str, int]]:
        lines = (self.folder / "begun").read_text().splitlines()
        return [(media, int(pid)) for media, pid in (line.split() for line in lines)]


@contextmanager
def running(config: Config, control: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`frames` as a program with a Ray of its own, of which nothing is left at the end."""
    settings = control / "settings.yaml"
    settings.write_text(config.to_yaml())
    command = [sys.executable, "-m", "tests.pipelines.held", str(control), "--config", str(settings)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    program = subprocess.Popen(command, cwd=ROOT, env=environment)
    family = [psutil.Process(program.pid)]
    try:
        yield program
    finally:
        family += [] if program.poll() is not None else family[0].children(recursive=True)
        for process in family:
            if process.is_running():
                process.kill()
        program.wait()


def wait_for_line(line: int, control: Control, program: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """Waits until the program is held at a line, and gives the processes that it has started."""
    deadline = time.monotonic() + PATIENCE_S
    while len(control.begun()) < line:
        assert program.poll() is None and time.monotonic() < deadline, control.begun()
        time.sleep(0.05)
    return psutil.Process(program.pid).children(recursive=True)


def parts(folder: str) -> dict[str, int]:
    """The parts in a folder, by when they were written."""
    return {part: Path(part).stat().st_mtime_ns for part in storage.parts(folder)}


@pytest.mark.parametrize("seed", [0])
def test_frames_survives_kills_of_worker_driver_and_raylet(seed: int, tmp_path: Path) -> None:
    config = listed(tmp_path / "run", PICTURES, f"ray.block_media={BLOCK}", f"ray.frames_workers={WORKERS}")
    folder, chance, control = config.paths.of("keyframes"), Random(seed), Control(tmp_path)
    kept: dict[str, int] = {}

    control.hold_from(at := chance.randint(3, 9))
    with running(config, tmp_path) as program:
        wait_for_line(at, control, program)
        os.kill(control.begun()[-1][1], signal.SIGKILL)  # a worker: Ray starts another one
        control.hold_from(at := at + chance.randint(5, 9))
        started = wait_for_line(at, control, program)
        kept |= parts(folder)
        program.kill()
        end(started)

    control.hold_from(at := at + chance.randint(5, 9))
    with running(config, tmp_path) as program:
        started = wait_for_line(at, control, program)
        kept |= parts(folder)
        next(process for process in started if process.name() == "raylet").kill()
        assert program.wait(PATIENCE_S) != 0
        end(started)

    control.hold_from(10**6)
    with running(config, tmp_path) as program:
        assert program.wait(PATIENCE_S) == 0

    wanted = sorted(storage.read_column(f"{config.paths.of('posts')}/media", "media_id"))
    assert sorted(storage.read_column(folder, "media_id")) == wanted
    assert kept and kept.items() <= parts(folder).items()  # what was written is not written again
    # The worker was within one block; driver and raylet take all workers with them.
    assert len(control.begun()) - PICTURES <= (1 + WORKERS + WORKERS) * BLOCK
    assert not Path(folder, frames.BEGUN).exists()


def end(started: list[psutil.Process]) -> None:
    """Waits until what a program had started is gone with it, and ends what is not."""
    for process in psutil.wait_procs(started, timeout=20)[1]:
        process.kill()
    psutil.wait_procs(started, timeout=20)


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
