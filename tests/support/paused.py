"""Stages that a test can pause: `python -m tests.support.paused STAGE FOLDER --config FILE`.

FOLDER/begun gets a line for each unit of work that is begun: for `frames`, the id of a media file and the worker's pid;
for `train`, the step, the rank and its pid. From the line (of `frames`) or the step (of `train`) whose number is in
FOLDER/pause on, work waits until that number rises.
"""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from m3l.data.records import Media, MediaFrames

NEVER = 10**6


class Pause:
    """The test's side of such a folder."""

    def __init__(self, folder: Path):
        self.folder = folder
        (folder / "begun").touch()

    def at(self, number: int) -> None:
        """Let work go on until that line or step."""
        (self.folder / "new").write_text(str(number))
        (self.folder / "new").rename(self.folder / "pause")

    def begun(self) -> list[list[str]]:
        """The fields of each line."""
        return [line.split() for line in (self.folder / "begun").read_text().splitlines()]


class StepPause(Pause):
    """The test's side of a paused training run."""

    def ranks(self, step: int) -> dict[int, int]:
        """The pids of the ranks that began a step last, by rank."""
        return {int(rank): int(pid) for begun, rank, pid in self.begun() if int(begun) == step}

    def ended(self, step: int) -> bool:
        """Whether the processes of those ranks have ended."""
        return not any(map(psutil.pid_exists, self.ranks(step).values()))


def pausing_frames(folder: Path) -> type:
    """The actor of `frames`, which waits where `folder` says."""
    from pipelines.workers.frames import ExtractKeyFrames

    class Pausing(ExtractKeyFrames):  # a local class, which travels to the workers by value
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            self.read_now, self.read = self.read, self.read_later

        def read_later(self, media: Media) -> MediaFrames:
            line = f"{media.media_id} {os.getpid()}\n"
            with (folder / "begun").open("a") as begun:
                begun.write(line)
                begun.flush()
                number = begun.tell() // len(line)
            while number >= int((folder / "pause").read_text()):
                time.sleep(0.02)
            return self.read_now(media)

    return Pausing


def pausing_rank(folder: Path) -> Callable[[dict[str, Any]], None]:
    """What `train` runs in each rank, with steps that wait where `folder` says."""
    from pipelines.workers.train import train_loop_per_worker

    def rank(loop_config: dict[str, Any]) -> None:
        from m3l.distributed.collectives import rank_and_world_size
        from m3l.training.trainer import Trainer

        step_now = Trainer.step

        def step_later(trainer: Trainer, microbatches: Any) -> dict[str, float]:
            with (folder / "begun").open("a") as begun:
                begun.write(f"{trainer.steps_done} {rank_and_world_size()[0]} {os.getpid()}\n")
            while trainer.steps_done >= int((folder / "pause").read_text()):
                time.sleep(0.02)
            return step_now(trainer, microbatches)

        Trainer.step = step_later  # type: ignore[method-assign]
        train_loop_per_worker(loop_config)

    return rank


if __name__ == "__main__":
    from pipelines import frames
    from pipelines.cli import app
    from pipelines.workers import run_training

    stage, control = sys.argv[1], Path(sys.argv[2])
    if stage == "frames":
        frames.ExtractKeyFrames = pausing_frames(control)  # type: ignore[misc]
    else:
        run_training.train_loop_per_worker = pausing_rank(control)
    app([stage, *sys.argv[3:]])
