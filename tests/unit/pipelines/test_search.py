"""A resumed sweep: its scheduler and its search algorithm are rebuilt from the records of the trials."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ray.tune.schedulers import TrialScheduler

from m3l.config import Config, load
from m3l.tuning.search_space import build_space, initial_points
from m3l.tuning.suggest import OptunaSuggester
from m3l.tuning.trial_records import read_record, read_records, write_record
from pipelines.workers.search import OptunaSearch, ResumableASHA

SPACE = "tune.space={train.cut: [10.0, 20.0, 30.0, 40.0, 50.0]}"
MAX_EVALUATIONS = 4


def ray_trial(cut: float) -> Any:
    return SimpleNamespace(trial_id="an id of Ray", config={"point": {"train.cut": cut}})


def write(folder: str, cut: float, *objectives: float, end: str | None = None, at: float = 0.0) -> None:
    """Write the record of a trial, evaluated from the time `at` on."""
    evaluations = [{"seed": 0, "step": i, "objective": v, "at": at + i} for i, v in enumerate(objectives)]
    write_record(folder, read_record(folder, {"train.cut": cut}) | {"evaluations": evaluations, "end": end})


def test_a_trial_that_is_behind_those_before_the_cut_is_stopped_and_recorded_as_such(tmp_path: Path) -> None:
    folder = str(tmp_path)
    write(folder, 10.0, 1.0, 0.9, end="finished")
    write(folder, 20.0, 2.0, 1.9, at=10.0)
    scheduler = ResumableASHA(folder, MAX_EVALUATIONS, read_records(folder))
    for cut, objective, action in ((30.0, 9.0, TrialScheduler.STOP), (40.0, 0.5, TrialScheduler.CONTINUE)):
        scheduler.on_trial_add(None, ray_trial(cut))
        write_record(folder, read_record(folder, {"train.cut": cut}))
        result = {"evaluation": 1, "objective": objective}
        assert scheduler.on_trial_result(None, ray_trial(cut), result) == action
    ends = {record["point"]["train.cut"]: record["end"] for record in read_records(folder)}
    assert ends == {10.0: "finished", 20.0: None, 30.0: "stopped", 40.0: None}
    # An evaluation that was replayed is not judged again.
    repeated = {"evaluation": 2, "objective": 99.0}
    assert scheduler.on_trial_result(None, ray_trial(20.0), repeated) == TrialScheduler.CONTINUE


def test_a_decision_that_the_cut_kept_from_taking_effect_is_made_again(tmp_path: Path) -> None:
    folder = str(tmp_path)
    write(folder, 10.0, 1.0, 0.9, end="finished")
    write(folder, 20.0, 5.0, at=10.0)
    ResumableASHA(folder, MAX_EVALUATIONS, read_records(folder))
    assert [record["end"] for record in read_records(folder)] == ["finished", "stopped"]


def run_search(config: Config, pending: int | None = None) -> list[float]:
    """The cuts of the trials that a search of four trials runs; it is cut off in the trial number `pending`."""
    folder, space = config.paths.of("tune"), build_space(config)
    records = read_records(folder)
    suggester = OptunaSuggester(space, config.seed, config.tune.trials)
    search, cuts = OptunaSearch(suggester, initial_points(config, space), records), []
    for number in range(4 - sum(record["end"] is not None for record in records)):
        cut = search.suggest(str(number))["point"]["train.cut"]
        cuts.append(cut)
        objective = abs(cut - 20.0)
        if number == pending:
            write(folder, cut, objective, at=100.0 * len(cuts))
            break
        write(folder, cut, objective, end="finished", at=100.0 * len(cuts))
        search.on_trial_complete(str(number), {"objective": objective})
    return cuts


def test_optuna_resumes_with_the_pending_trial_and_then_as_if_never_cut_off(tmp_path: Path) -> None:
    uninterrupted, cut_off = (
        load("tiny", [SPACE, f"paths.run={tmp_path / name}", "tune.search=optuna", "tune.trials=4"])
        for name in ("uninterrupted", "cut_off")
    )
    cuts = run_search(uninterrupted)
    assert cuts[0] == uninterrupted.train.cut and len(set(cuts)) == 4  # the configured one, then others
    assert run_search(cut_off, pending=2) == cuts[:3]
    assert run_search(cut_off) == cuts[2:]
