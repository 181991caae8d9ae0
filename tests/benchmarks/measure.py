"""The cost of a command: CPU seconds and peak memory of its process and all children."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil

_INTERVAL_S = 0.05  # between measurements of memory


class Cost(NamedTuple):
    """What a command cost.

    Attributes:
        cpu_s: CPU seconds; of a step, without its imports.
        peak_mib: Peak of the proportional set size over all processes, with everything that they have imported.
        wall_s: Seconds on the clock.
        output: What a step printed besides.
    """

    cpu_s: float
    peak_mib: float
    wall_s: float
    output: dict[str, float]


def cost_of_command(command: Sequence[str], folder: Path) -> Cost:
    """The cost of a command from start to end, run in `folder`; raises CalledProcessError if it fails."""
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL) as process:
        start = time.monotonic()
        peak = _Peak(process.pid)
        _, status, usage = os.wait4(process.pid, 0)  # of the process and of the children that it has waited for
        process.returncode = os.waitstatus_to_exitcode(status)
        wall_s = time.monotonic() - start
        peak_mib = peak.stop()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return Cost(usage.ru_utime + usage.ru_stime, peak_mib, wall_s, {})


def cost_of_step(module: str, argument: Path, folder: Path) -> Cost:
    """The cost of a step without the imports before it.

    Args:
        module: A program that measures its step and prints JSON with at least `cpu_s` and `wall_s`.
        argument: Its argument.
        folder: Where it runs.

    Raises:
        CalledProcessError: The program failed.
    """
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path.cwd()), *filter(None, sys.path)])}
    command = [sys.executable, "-m", module, str(argument)]
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True) as process:
        peak = _Peak(process.pid)
        printed, _ = process.communicate()
        peak_mib = peak.stop()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    output = json.loads(printed.splitlines()[-1])
    return Cost(output.pop("cpu_s"), peak_mib, output.pop("wall_s"), output)


class _Peak:
    """Records the peak memory of a process and its children until it is stopped."""

    def __init__(self, pid: int) -> None:
        self.bytes = 0
        self._root = psutil.Process(pid)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def stop(self) -> float:
        self._stopped.set()
        self._thread.join()
        return self.bytes / 2**20

    def _watch(self) -> None:
        while not self._stopped.wait(_INTERVAL_S):
            with suppress(psutil.Error):
                processes = [self._root, *self._root.children(recursive=True)]
                self.bytes = max(self.bytes, sum(map(_pss_bytes, processes)))


def _pss_bytes(process: psutil.Process) -> int:
    with suppress(OSError):
        lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
        return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)
    return 0
