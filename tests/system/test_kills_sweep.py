"""`kill -9` of a sweep's driver: what had ended is not run again, and the winner is that of an uninterrupted sweep."""

import time
from pathlib import Path
from random import Random

import pytest

from m3l.config import override
from m3l.tuning.trial_records import read_records, trial_folder
from pipelines import tune
from tests.support.programs import kill, running, wait_for
from tests.support.walk import Walk, one_trial_at_a_time, trials


@pytest.mark.parametrize("seed", [0])
def test_a_sweep_resumes_after_a_kill_and_has_the_same_winner(seed: int, walk: Walk, tmp_path: Path) -> None:
    config = override(one_trial_at_a_time(walk.config), {"paths.tune": str(tmp_path / "tune")})
    folder = config.paths.of("tune")
    with running(config, tmp_path, "pipelines.tune") as program:  # one trial has ended then, the next is about to
        wait_for(lambda: sum(len(record["evaluations"]) for record in read_records(folder)) >= 5, program)
        time.sleep(Random(seed).uniform(0, 5))
        kill(program)
    ended = ended_trials(folder)

    tune.main(config)

    assert ended and ended.items() <= ended_trials(folder).items()  # no trial that had ended was run again
    assert trials(config) == trials(walk.config)


def ended_trials(folder: str) -> dict[str, int]:
    """The records of the trials that have ended, with the time at which each was written."""
    ended = [record["point"] for record in read_records(folder) if record["end"]]
    paths = [Path(trial_folder(folder, point), "trial.json") for point in ended]
    return {str(path): path.stat().st_mtime_ns for path in paths}
