"""Watching a Ray Train run from the driver: a bar that follows rank 0, and its loss curve at the end."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import ray
from ray.util.placement_group import PlacementGroup, remove_placement_group

from m3l.training.loss_curve import LossCurve
from pipelines.runtime.console import progress

POLL_S, DECISION_POLL_S = 1.0, 0.1  # between two looks at a run; at one whose ranks wait for decisions
CURVE_POINTS = 100
ShouldContinue = Callable[[int, dict[str, float]], bool]  # (step, validation losses) -> whether training goes on


class Status(NamedTuple):
    """A moment of a run.

    Attributes:
        step: The last step that is done.
        note: What the run is waiting for, or else its newest losses.
        undecided: Validation losses of the evaluations that nothing was decided about yet, by step.
    """

    step: int
    note: str
    undecided: dict[int, dict[str, float]]


class RunLog(LossCurve):
    """An actor between the ranks and the driver: rank 0 reports, the driver looks and decides.

    Args:
        every: Steps for each point of the curve.
        phase: What the run waits for at first.
    """

    def __init__(self, every: int, phase: str = ""):
        super().__init__(every)
        self.phase = phase
        self.final: dict[str, float] = {}
        self.evaluations: dict[int, dict[str, float]] = {}
        self.decisions: dict[int, bool] = {}
        self.group: PlacementGroup | None = None

    def set_phase(self, phase: str) -> None:
        """What the run waits for, until its next step."""
        self.phase = phase

    def set_placement_group(self, group: PlacementGroup | None) -> None:
        """Where the workers run."""
        self.group = group

    def placement_group(self) -> PlacementGroup | None:
        return self.group

    def add(self, step: int, values: Any) -> None:
        """A step's losses, for the curve that this actor keeps."""
        self.phase = ""
        super().add(step, values)

    def update(self, step: int, points: list[dict[str, float]], losses: dict[str, float]) -> None:
        """A step of a run whose rank 0 keeps the curve.

        Args:
            step: Number of steps that are done.
            points: The last point of the curve, if there is one.
            losses: Validation losses, if they were taken after this step.
        """
        self.phase, self.step, self.points = "", step, points
        if losses:
            self.evaluations[step] = losses

    def status(self) -> Status:
        last = self.points[-1] if self.points else {}
        losses = "  ".join(f"{name} {value:.3f}" for name, value in last.items() if name != "step")
        undecided = {step: losses for step, losses in self.evaluations.items() if step not in self.decisions}
        return Status(self.step, self.phase or losses, undecided)

    def set_decision(self, step: int, go_on: bool) -> None:
        """Whether to go on after the evaluation at a step."""
        self.decisions[step] = go_on

    def decision(self, step: int) -> bool | None:
        """Whether to go on after the evaluation at a step; None: not decided yet."""
        return self.decisions.get(step)

    def finish(self, values: dict[str, float], points: list[dict[str, float]] | None = None) -> None:
        """The run's final values, and its curve where rank 0 keeps it."""
        self.final = values
        self.points = self.flush() if points is None else points

    def result(self) -> tuple[dict[str, float], list[dict[str, float]]]:
        return self.final, self.points


def wait_for_decision(log: Any, step: int) -> bool:
    """For a rank: whether to go on after the evaluation at a step; every rank gets the same answer."""
    while (decision := ray.get(log.decision.remote(step))) is None:
        time.sleep(DECISION_POLL_S / 2)
    return bool(decision)


def release_workers(log: Any) -> None:
    """End the workers whose controller has died, whose placement group Ray would hold as long as the driver lives."""
    if group := ray.get(log.placement_group.remote()):
        remove_placement_group(group)


def run_with_progress(
    title: str,
    steps: int,
    workers: int,
    fit: Callable[[Any], Any],
    should_continue: ShouldContinue | None = None,
) -> tuple[dict[str, float], list[dict[str, float]]]:
    """Run a training to its end under a progress bar.

    Args:
        title: Name of the bar.
        steps: Number of steps of the run.
        workers: Number of workers that it starts.
        fit: Called in a thread with the handle of a `RunLog`; returns when the run has ended.
        should_continue: Decides after each evaluation whether training goes on; None: nobody is asked.

    Returns:
        The final values that rank 0 reported, and the points of its curve.

    Raises:
        BaseException: What `fit` raises.
    """
    log = ray.remote(num_cpus=0)(RunLog).remote(steps // CURVE_POINTS, f"starting {workers} workers")
    failure: list[BaseException] = []

    def run() -> None:
        try:
            fit(log)
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    with progress(title, steps) as advance:
        shown = 0
        while thread.is_alive():
            thread.join(DECISION_POLL_S if should_continue else POLL_S)
            status = ray.get(log.status.remote())
            if should_continue:
                for step, losses in status.undecided.items():
                    ray.get(log.set_decision.remote(step, should_continue(step, losses)))
            advance(status.step - shown, status.note)
            shown = status.step
    if failure:
        raise failure[0]
    return ray.get(log.result.remote())


def train_state_folder(run: str) -> str:
    """Where Ray Train keeps its own state: `ray/` in the run's folder, local or `s3://`."""
    return f"{run}/ray" if "://" in run else str(Path(run).absolute() / "ray")
