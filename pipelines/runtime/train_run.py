"""Watching a Ray Train run from the driver: a bar that follows rank 0, and its curve of losses at the end."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray
from ray.util.placement_group import PlacementGroup, remove_placement_group

from m3l.training.loss_curve import Curve
from pipelines.runtime.console import progress

TICK_S, JUDGED_TICK_S = 1.0, 0.1  # between two looks at a run; at one that waits for what is said of it
Judge = Callable[[int, dict[str, float]], bool]


class Log(Curve):
    """What rank 0 says of its steps, for the driver to show; it may bring a curve of its own at the end."""

    def __init__(self, every: int):
        super().__init__(every)
        self.final: dict[str, float] = {}
        self.evaluations: dict[int, dict[str, float]] = {}
        self.verdicts: dict[int, bool] = {}
        self.place: PlacementGroup | None = None

    def begin(self, place: PlacementGroup | None) -> None:
        """The workers are there, in a placement group of their own."""
        self.place = place

    def show(self, step: int, last: list[dict[str, float]], losses: dict[str, float]) -> None:
        """The step, the last point of a curve that is kept elsewhere, and an evaluation's losses, if there was one."""
        self.step, self.points = step, last
        if losses:
            self.evaluations[step] = losses

    def now(self) -> tuple[int, str, dict[int, dict[str, float]]]:
        """The step, the newest losses, and the evaluations that nothing was said of yet, by their steps."""
        last = self.points[-1] if self.points else {}
        unsaid = {step: losses for step, losses in self.evaluations.items() if step not in self.verdicts}
        return self.step, "  ".join(f"{n} {v:.3f}" for n, v in last.items() if n != "step"), unsaid

    def say(self, step: int, go_on: bool) -> None:
        self.verdicts[step] = go_on

    def said(self, step: int) -> bool | None:
        return self.verdicts.get(step)

    def placed(self) -> PlacementGroup | None:
        return self.place

    def finish(self, values: dict[str, float], points: list[dict[str, float]] | None = None) -> None:
        self.final = values
        self.points = self.flush() if points is None else points

    def result(self) -> tuple[dict[str, float], list[dict[str, float]]]:
        return self.final, self.points


def verdict(log: Any, step: int) -> bool:
    """For a rank: whether to go on after the evaluation at a step; waits until that is said, the same to every rank."""
    while (said := ray.get(log.said.remote(step))) is None:
        time.sleep(JUDGED_TICK_S / 2)
    return bool(said)


def release(log: Any) -> None:
    """End the workers whose controller has died, and free their place, which Ray would hold for the driver's life."""
    if place := ray.get(log.placed.remote()):
        remove_placement_group(place)


def watched(
    title: str, steps: int, fit: Callable[[Any], Any], judge: Judge | None = None
) -> tuple[dict[str, float], list[dict[str, float]]]:
    """Run `fit(log)` to its end under a progress bar; returns what rank 0 finished with, and its curve.

    `judge(step, losses)` says whether to go on after each evaluation. Raises what `fit` raises.
    """
    log = ray.remote(num_cpus=0)(Log).remote(steps // 100)
    failure: list[BaseException] = []

    def work() -> None:
        try:
            fit(log)
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    with progress(title, steps) as advance:
        shown = 0
        while thread.is_alive():
            thread.join(JUDGED_TICK_S if judge else TICK_S)
            step, note, unsaid = ray.get(log.now.remote())
            if judge:
                for at, losses in unsaid.items():
                    ray.get(log.say.remote(at, judge(at, losses)))
            advance(step - shown, note)
            shown = step
    if failure:
        raise failure[0]
    return ray.get(log.result.remote())


def run_folder(run: str) -> str:
    """Where Ray Train keeps its own state, beside what the run makes."""
    return f"{run}/ray" if "://" in run else str(Path(run).absolute() / "ray")
