"""Which trial comes next and which one ends early, for a sweep that can be cut off and resumed.

Ray Tune's own snapshot of a sweep is written in place, now and then, and without the scheduler's state. So nothing is
restored from it: scheduler and search algorithm are rebuilt from the records of the trials.
"""

from collections.abc import Sequence
from math import isfinite, nan
from types import SimpleNamespace
from typing import Any

from ray.tune.schedulers import ASHAScheduler, TrialScheduler
from ray.tune.search import Searcher

from m3l.tuning.search_space import Point, point_name
from m3l.tuning.suggest import OptunaSuggester
from m3l.tuning.trial_records import OBJECTIVE, mark_stopped, summarise_trial

REDUCTION_FACTOR = 3  # at each rung, ASHA lets the best of so many trials go on


class ResumableASHA(ASHAScheduler):
    """Asynchronous successive halving (ASHA, arXiv 1810.05934) that first replays the evaluations of a cut-off sweep.

    It identifies a trial by its point, because Ray Tune gives the same trial another id when a sweep is resumed.

    Args:
        folder: The sweep's folder.
        max_evaluations: Evaluations of a trial that is not stopped, over all of its seeds.
        records: The records of the trials so far.
    """

    def __init__(self, folder: str, max_evaluations: int, records: Sequence[dict[str, Any]]):
        super().__init__(
            "evaluation",
            OBJECTIVE,
            "min",
            max_t=max_evaluations + 1,
            reduction_factor=REDUCTION_FACTOR,
            stop_last_trials=False,
        )
        self.folder = folder
        history = [
            (evaluation["at"], number, evaluation[OBJECTIVE], record)
            for record in records
            for number, evaluation in enumerate(record["evaluations"], 1)
        ]
        for _, number, objective, record in sorted(history, key=lambda entry: entry[0]):
            trial = SimpleNamespace(trial_id=point_name(record["point"]))
            super().on_trial_add(None, trial)
            action = super().on_trial_result(None, trial, {"evaluation": number, OBJECTIVE: objective})
            is_pending = not record["end"] and number == len(record["evaluations"])
            if action == TrialScheduler.STOP and is_pending:  # the sweep was cut off before this took effect
                mark_stopped(folder, record["point"], number)

    def on_trial_add(self, controller: Any, trial: Any) -> None:
        super().on_trial_add(controller, _named_by_point(trial))

    def on_trial_result(self, controller: Any, trial: Any, result: dict[str, Any]) -> str:
        action = super().on_trial_result(controller, _named_by_point(trial), result)
        if action == TrialScheduler.STOP:
            mark_stopped(self.folder, trial.config["point"], result["evaluation"])
        return str(action)

    def on_trial_complete(self, controller: Any, trial: Any, result: dict[str, Any]) -> None:
        super().on_trial_complete(controller, _named_by_point(trial), result)

    def on_trial_remove(self, controller: Any, trial: Any) -> None:
        super().on_trial_remove(controller, _named_by_point(trial))


class OptunaSearch(Searcher):
    """Suggests the initial points, then the pending points of a cut-off sweep, then what Optuna makes of all results.

    Args:
        suggester: Suggests points from results.
        points: The initial points of the sweep.
        records: The records of the trials so far.
    """

    def __init__(self, suggester: OptunaSuggester, points: Sequence[Point], records: Sequence[dict[str, Any]]):
        super().__init__(metric=OBJECTIVE, mode="min")
        self.suggester = suggester
        self.suggested = [*points, *(record["point"] for record in records if record["point"] not in points)]
        ended = [record for record in records if record["end"]]
        summaries = [summarise_trial(record) for record in ended]
        self.results = [(each["params"], each[OBJECTIVE]) for each in summaries if each[OBJECTIVE] is not None]
        self.pending = [point for point in self.suggested if point not in [record["point"] for record in ended]]
        self.running: dict[str, Point] = {}

    def suggest(self, trial_id: str) -> Any:
        """The configuration of the next trial, for Ray Tune."""
        if self.pending:
            point: Point | None = self.pending.pop(0)
        elif point := self.suggester.suggest(self.suggested, self.results):
            self.suggested.append(point)
        if point is None:
            return Searcher.FINISHED
        self.running[trial_id] = point
        return {"point": point}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        point = self.running.pop(trial_id)
        if result and isfinite(result.get(OBJECTIVE, nan)):
            self.results.append((point, result[OBJECTIVE]))


def trial_name(trial: Any) -> str:
    """The name of a trial of Ray Tune: that of its point."""
    return point_name(trial.config["point"])


def _named_by_point(trial: Any) -> Any:
    return SimpleNamespace(trial_id=trial_name(trial))
