"""Verbs as programs with a Ray of their own, of which nothing is left when they end."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from m3l.config import Config
from m3l.data import storage

ROOT = Path(__file__).parents[2]
PATIENCE_S = 1200  # of a machine with other work


@contextmanager
def running(config: Config, folder: Path, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    """`python -m COMMAND --config SETTINGS`, which lie in the folder; ended with all that it has started."""
    settings = folder / "settings.yaml"
    settings.write_text(config.to_yaml())
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    program = subprocess.Popen([sys.executable, "-m", *command, "--config", str(settings)], cwd=ROOT, env=environment)
    try:
        yield program
    finally:
        kill(program)


def kill(program: subprocess.Popen[bytes]) -> None:
    """`kill -9`, and waits until what the program had started is gone with it."""
    family = [] if program.poll() is not None else psutil.Process(program.pid).children(recursive=True)
    program.kill()
    program.wait()
    end(family)


def end(started: list[psutil.Process]) -> None:
    """Waits until what a program had started is gone with it, and ends what is not."""
    for process in psutil.wait_procs(started, timeout=20)[1]:
        process.kill()
    psutil.wait_procs(started, timeout=20)


def wait_for(condition: Callable[[], bool], program: subprocess.Popen[bytes]) -> None:
    """Waits until something holds while the program runs."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert program.poll() is None, f"ended with {program.returncode}"
        assert time.monotonic() < deadline
        time.sleep(0.02)


def parts(*folders: str) -> dict[str, int]:
    """The parts in some folders, by when they were written."""
    return {part: Path(part).stat().st_mtime_ns for folder in folders for part in storage.parts(folder)}


class Control:
    """The folder by which a test holds a program, held_frames.py or held_steps.py, and sees what it begins."""

    def __init__(self, folder: Path):
        self.folder = folder
        (folder / "begun").touch()

    def hold_from(self, number: int) -> None:
        (self.folder / "new").write_text(str(number))
        (self.folder / "new").rename(self.folder / "hold")

    def begun(self) -> list[list[str]]:
        return [line.split() for line in (self.folder / "begun").read_text().splitlines()]


def actor(name: str, program: subprocess.Popen[bytes]) -> psutil.Process:
    """The process of a Ray actor of that class, of a program's own Ray."""
    family = psutil.Process(program.pid).children(recursive=True)
    return next(process for process in family if process.cmdline()[:1] and f"ray::{name}" in process.cmdline()[0])
