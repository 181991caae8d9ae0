"""What Ray prints goes to a log; what this project prints stays on the screen."""

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import os, sys, warnings
from pipelines.runtime.console import console
from pipelines.runtime.ray_output import ray_output

console.print("before")
with ray_output(sys.argv[1]) as log:
    print("a box of Tune")
    os.write(2, b"a line of Ray's core\\n")
    warnings.warn("a warning of Ray Data")
    console.print("our line")
    with ray_output("elsewhere") as inner:
        assert inner == log
    {last}
print("after")
"""


def run(folder: Path, last: str = "pass") -> tuple[subprocess.CompletedProcess[str], str]:
    command = [sys.executable, "-c", PROGRAM.format(last=last), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    return done, (folder / "logs" / "ray.log").read_text()


def test_ray_prints_into_a_log_and_the_console_on_the_screen(tmp_path: Path) -> None:
    done, log = run(tmp_path)
    assert (done.stdout, done.stderr) == ("after\n", "before\nour line\n")
    assert "a box of Tune" in log and "a line of Ray's core" in log and "a warning of Ray Data" in log


def test_a_failure_names_the_log_and_is_shown(tmp_path: Path) -> None:
    done, log = run(tmp_path, "raise ValueError('no such file')")
    assert done.returncode == 1
    assert f"what Ray printed: {tmp_path}/logs/ray.log" in done.stderr.replace("\n", "")
    assert "ValueError: no such file" in done.stderr and "ValueError" not in log
