"""A sweep that was cut off: its scheduler and its search hear again what the trials have written."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ray.tune.schedulers import TrialScheduler

from m3l.config import Config, load
from m3l.tuning import search_space, trial_records
from pipelines.workers.search import Halving, Optuna

SPACE = "tune.space={train.cut: [10.0, 20.0, 30.0, 40.0, 50.0]}"


def trial(cut: float) -> Any:
    return SimpleNamespace(trial_id="of Ray", config={"point": {"train.cut": cut}})


def write(config: Config, cut: float, *objectives: float, end: str | None = None, at: float = 0.0) -> None:
    told = [{"seed": 0, "step": i, "objective": v, "at": at + i} for i, v in enumerate(objectives)]
    trial_records.write(config, trial_records.read(config, {"train.cut": cut}) | {"evaluations": told, "end": end})


def test_a_trial_behind_those_that_were_heard_before_is_stopped_and_kept_as_such(tmp_path: Path) -> None:
    config = load("tiny", [f"paths.run={tmp_path}", "tune.scheduler=asha"])
    write(config, 10.0, 1.0, 0.9, end="finished")
    write(config, 20.0, 2.0, 1.9, at=10.0)
    scheduler = Halving(config, trial_records.records(config))
    for cut, objective, said in ((30.0, 9.0, TrialScheduler.STOP), (40.0, 0.5, TrialScheduler.CONTINUE)):
        scheduler.on_trial_add(None, trial(cut))
        trial_records.write(config, trial_records.read(config, {"train.cut": cut}))
        assert scheduler.on_trial_result(None, trial(cut), {"evaluation": 1, "objective": objective}) == said
    ends = {record["point"]["train.cut"]: record["end"] for record in trial_records.records(config)}
    assert ends == {10.0: "finished", 20.0: None, 30.0: "stopped", 40.0: None}
    # What is known already is not judged again.
    assert scheduler.on_trial_result(None, trial(20.0), {"evaluation": 2, "objective": 99.0}) == TrialScheduler.CONTINUE


def test_what_the_scheduler_said_when_nobody_heard_it_any_more_is_said_again(tmp_path: Path) -> None:
    config = load("tiny", [f"paths.run={tmp_path}", "tune.scheduler=asha"])
    write(config, 10.0, 1.0, 0.9, end="finished")
    write(config, 20.0, 5.0, at=10.0)
    Halving(config, trial_records.records(config))
    assert [record["end"] for record in trial_records.records(config)] == ["finished", "stopped"]


def test_optuna_goes_on_with_what_was_begun_and_then_as_if_it_was_not_cut_off(tmp_path: Path) -> None:
    def asked(config: Config, begun: int) -> list[float]:
        """The cuts of the trials until the last, the last few of which are begun and not finished."""
        chosen = search_space.space(config)
        before = trial_records.records(config)
        search, found = Optuna(config, chosen, search_space.points(config, chosen), before), []
        for number in range(4 - sum(record["end"] is not None for record in before)):
            point = search.suggest(str(number))["point"]
            found.append(point["train.cut"])
            objective = abs(point["train.cut"] - 20.0)
            if number == begun:
                write(config, point["train.cut"], objective, at=100.0 * len(found))
                return found
            write(config, point["train.cut"], objective, end="finished", at=100.0 * len(found))
            search.on_trial_complete(str(number), {"objective": objective})
        return found

    whole, cut = (
        load("tiny", [SPACE, f"paths.run={tmp_path / name}", "tune.search=optuna", "tune.trials=4"])
        for name in ("whole", "cut")
    )
    uncut = asked(whole, begun=-1)
    assert uncut[0] == whole.train.cut and len(set(uncut)) == 4  # as configured, then others
    first = asked(cut, begun=2)
    assert first == uncut[:3] and asked(cut, begun=-1) == uncut[2:]
