"""Verbs as programs with a Ray of their own, of which nothing is left when they end."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
PATIENCE_S = 1200  # of a machine with other work


@contextmanager
def running(*command: str) -> Iterator[subprocess.Popen[bytes]]:
    """`python -m COMMAND`; ended with all that it has started, if it has not ended itself."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    program = subprocess.Popen([sys.executable, "-m", *command], cwd=ROOT, env=environment)
    try:
        yield program
    finally:
        kill(program)


def kill(program: subprocess.Popen[bytes]) -> None:
    """`kill -9`, and waits until what the program had started is gone with it."""
    family = [] if program.poll() is not None else psutil.Process(program.pid).children(recursive=True)
    program.kill()
    program.wait()
    for process in psutil.wait_procs(family, timeout=20)[1]:
        process.kill()
    psutil.wait_procs(family, timeout=20)


def wait_for(condition: Callable[[], bool], program: subprocess.Popen[bytes]) -> None:
    """Waits until something holds while the program runs."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert program.poll() is None, f"ended with {program.returncode}"
        assert time.monotonic() < deadline
        time.sleep(0.02)


def actor(name: str, program: subprocess.Popen[bytes]) -> psutil.Process:
    """The process of a Ray actor of that class, of a program's own Ray."""
    family = psutil.Process(program.pid).children(recursive=True)
    return next(process for process in family if process.cmdline()[:1] and f"ray::{name}" in process.cmdline()[0])
