"""The stage `train`, held in the middle of its steps: `python -m tests.pipelines.held_steps FOLDER --config FILE`.

FOLDER/begun gets a line for every step that a rank begins: the step, the rank and its pid. The steps from the number in
FOLDER/hold on wait until it rises.
"""

import os
import sys
import time
from pathlib import Path
from typing import Any

from pipelines import train
from pipelines.cli import app

CONTROL, honest = Path(sys.argv.pop(1)), train.work


def held(task: dict[str, Any]) -> None:
    """One rank of Ray Train, which holds its steps."""
    from m3l.distributed.parallelize import place
    from m3l.training.trainer import Learner

    step = Learner.step

    def held_step(learner: Learner, cells: Any) -> dict[str, float]:
        with (CONTROL / "begun").open("a") as begun:
            begun.write(f"{learner.done} {place()[0]} {os.getpid()}\n")
        while learner.done >= int((CONTROL / "hold").read_text()):
            time.sleep(0.02)
        return step(learner, cells)

    Learner.step = held_step  # type: ignore[method-assign]
    honest(task)


if __name__ == "__main__":
    train.work = held
    app(["train", *sys.argv[1:]])
