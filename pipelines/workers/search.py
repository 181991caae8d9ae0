"""Which trial comes next and which one ends early, for a sweep that may be cut off and go on.

Ray Tune's own snapshot of a sweep is written in place, now and then, and without what the scheduler knows. So nothing
is restored from it: what the trials have written is told again.
"""

from math import isfinite, nan
from types import SimpleNamespace
from typing import Any

from ray.tune.schedulers import ASHAScheduler, TrialScheduler
from ray.tune.search import Searcher

from m3l.config import Config
from m3l.tuning import search_space
from m3l.tuning.search_space import OBJECTIVE, Point
from m3l.tuning.trial_records import remember

SPARED = 3  # of so many trials, ASHA lets the best one go on


class Halving(ASHAScheduler):
    """ASHA that knows a trial by its point: it hears again what it has heard before the sweep was cut off."""

    def __init__(self, config: Config, before: list[dict[str, Any]]):
        most = config.tune.seeds * config.train.evaluations + 1
        super().__init__("evaluation", OBJECTIVE, "min", max_t=most, reduction_factor=SPARED, stop_last_trials=False)
        self.config = config
        heard = [
            (told["at"], number, told[OBJECTIVE], record)
            for record in before
            for number, told in enumerate(record["evaluations"], 1)
        ]
        for _, number, objective, record in sorted(heard, key=lambda told: told[0]):
            trial = SimpleNamespace(trial_id=search_space.name(record["point"]))
            super().on_trial_add(None, trial)
            action = super().on_trial_result(None, trial, {"evaluation": number, OBJECTIVE: objective})
            if action == TrialScheduler.STOP and not record["end"] and number == len(record["evaluations"]):
                remember(config, record["point"], number)  # what it said was not heard any more

    def on_trial_add(self, controller: Any, trial: Any) -> None:
        super().on_trial_add(controller, _named(trial))

    def on_trial_result(self, controller: Any, trial: Any, result: dict[str, Any]) -> str:
        action = super().on_trial_result(controller, _named(trial), result)
        if action == TrialScheduler.STOP:
            remember(self.config, trial.config["point"], result["evaluation"])
        return str(action)

    def on_trial_complete(self, controller: Any, trial: Any, result: dict[str, Any]) -> None:
        super().on_trial_complete(controller, _named(trial), result)

    def on_trial_remove(self, controller: Any, trial: Any) -> None:
        super().on_trial_remove(controller, _named(trial))


class Optuna(Searcher):
    """The points that are known, those that were begun before, then what Optuna makes of all results."""

    def __init__(self, config: Config, chosen: search_space.Space, points: list[Point], before: list[dict[str, Any]]):
        super().__init__(metric=OBJECTIVE, mode="min")
        self.asker = search_space.Asker(chosen, config.seed, config.tune.trials)
        self.asked = points + [record["point"] for record in before if record["point"] not in points]
        ended = [record for record in before if record["end"]]
        heard = [(told["params"], told[OBJECTIVE]) for told in map(search_space.told, ended)]
        self.told = [(point, value) for point, value in heard if value is not None]
        self.first = [point for point in self.asked if point not in [record["point"] for record in ended]]
        self.running: dict[str, Point] = {}

    def suggest(self, trial_id: str) -> Any:
        if self.first:
            point: Point | None = self.first.pop(0)
        elif point := self.asker.ask(self.asked, self.told):
            self.asked.append(point)
        if point is None:
            return Searcher.FINISHED
        self.running[trial_id] = point
        return {"point": point}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        point = self.running.pop(trial_id)
        if result and isfinite(result.get(OBJECTIVE, nan)):
            self.told.append((point, result[OBJECTIVE]))


def name_of(trial: Any) -> str:
    """What a trial of Ray Tune is called: as its point is."""
    return search_space.name(trial.config["point"])


def _named(trial: Any) -> Any:
    return SimpleNamespace(trial_id=name_of(trial))
