"""Verbs as programs that start a Ray of their own, which ends with them."""

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
PATIENCE_S = 600  # the machine may have other work


@contextmanager
def running(config: Config, folder: Path, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run `python -m COMMAND --config SETTINGS`, with the settings in a folder; end it with all that it has started."""
    settings = folder / "settings.yaml"
    settings.write_text(config.to_yaml())
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    program = subprocess.Popen([sys.executable, "-m", *command, "--config", str(settings)], cwd=ROOT, env=environment)
    try:
        yield program
    finally:
        kill(program)


def kill(program: subprocess.Popen[bytes]) -> None:
    """`kill -9` a program, and wait until what it had started has ended, too."""
    family = [] if program.poll() is not None else psutil.Process(program.pid).children(recursive=True)
    program.kill()
    program.wait()
    end(family)


def end(started: list[psutil.Process]) -> None:
    """Wait until processes have ended, and kill those that have not: Ray's agents outlive a driver by half a minute."""
    for process in psutil.wait_procs(started, timeout=5)[1]:
        process.kill()
    psutil.wait_procs(started, timeout=20)


def wait_for(condition: Callable[[], bool], program: subprocess.Popen[bytes]) -> None:
    """Wait until a condition holds; the program must be running meanwhile."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert program.poll() is None, f"ended with {program.returncode}"
        assert time.monotonic() < deadline
        time.sleep(0.02)


def parts(*folders: str) -> dict[str, int]:
    """The parts in some folders, with the time at which each was written."""
    return {part: Path(part).stat().st_mtime_ns for folder in folders for part in storage.parts(folder)}


def actor(name: str, program: subprocess.Popen[bytes]) -> psutil.Process:
    """The process of the actor of that class in the Ray that a program has started."""
    family = psutil.Process(program.pid).children(recursive=True)
    return next(process for process in family if process.cmdline()[:1] and f"ray::{name}" in process.cmdline()[0])
