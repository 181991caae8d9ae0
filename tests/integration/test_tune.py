"""A sweep through Ray Tune: a trial that falls behind ends early, and one that is cut off ends as if it was not."""

import json
import time
from pathlib import Path
from random import Random
from typing import Any

import pytest
import ray

from m3l.config import Config, ConfigError, load, override
from m3l.data import storage
from m3l.tuning import search_space
from m3l.tuning.trial_records import records
from pipelines import tune
from tests.support.programs import PATIENCE_S, kill, running, wait_for
from tests.support.small_run import small

HOPELESS = 1e-9
SETTINGS = {
    "tune.space": {"train.lr": [0.003, HOPELESS, 0.001]},
    "tune.search": "grid",
    "tune.scheduler": "asha",
    "tune.seeds": 2,
    "tune.epochs": 2,
    "train.evaluations": 2,
    "ray.model_cpus": 2,  # one trial at a time: who falls behind is then known
}


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory, local_ray: None) -> Config:
    """A sweep that nothing cuts off."""
    config = small(tmp_path_factory.mktemp("swept"), **SETTINGS)
    tune.main(config)
    return config


def trials(config: Config) -> list[dict[str, Any]]:
    """What a sweep has told, but for the time."""
    told = storage.read_json(f"{config.paths.of('tune')}/trials.json")
    return [
        trial | {"evaluations": [{k: v for k, v in known.items() if k != "at"} for known in trial["evaluations"]]}
        for trial in told
    ]


def test_a_trial_that_falls_behind_ends_early_and_leaves_its_place(swept: Config) -> None:
    by_rate = {trial["params"]["train.lr"]: trial for trial in trials(swept)}
    assert by_rate[0.003]["end"] == "finished" and len(by_rate[0.003]["seeds"]) == 2
    assert by_rate[0.003]["sd"] > 0 and len(by_rate[0.003]["evaluations"]) == 4
    assert by_rate[HOPELESS]["end"] == "stopped" and len(by_rate[HOPELESS]["evaluations"]) == 1
    (states,) = Path(swept.paths.of("tune"), "sweep").glob("experiment_state-*.json")
    known = [json.loads(state)["status"] for state, _ in json.loads(states.read_text())["trial_data"]]
    assert known == ["TERMINATED"] * 3  # to Ray Tune, too, none of them has failed
    deadline = time.monotonic() + PATIENCE_S
    while ray.available_resources().get("CPU") != ray.cluster_resources()["CPU"]:  # told a moment later
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_a_sweep_leaves_a_preset_a_page_and_events_but_no_state(swept: Config) -> None:
    folder = Path(swept.paths.of("tune"))
    best = load(str(folder / "best.yaml"))
    assert best == override(swept, trials(swept)[0]["params"])
    assert "as configured" in (folder / "index.html").read_text()
    assert len({path.parent for path in folder.rglob("events.out.tfevents.*")}) == 3
    assert not list(folder.rglob("*.safetensors")) and not list(Path(swept.paths.run, "ray").iterdir())


@pytest.mark.parametrize("seed", [0])
def test_a_sweep_goes_on_after_a_kill_and_has_the_same_winner(seed: int, swept: Config, tmp_path: Path) -> None:
    config = small(tmp_path / "run", **SETTINGS)
    command = config, tmp_path, "pipelines.tune"
    with running(*command) as program:  # of its trials, one has ended then, and the second is about to
        wait_for(lambda: sum(len(record["evaluations"]) for record in records(config)) >= 5, program)
        time.sleep(Random(seed).uniform(0, 5))
        kill(program)
    before = kept(config)

    with running(*command) as program:
        assert program.wait(PATIENCE_S) == 0

    assert before and before.items() <= kept(config).items()  # what had ended was not run again
    assert trials(config) == trials(swept)


def kept(config: Config) -> dict[str, int]:
    """The records of the trials that have ended, by when they were written."""
    ended = [search_space.name(record["point"]) for record in records(config) if record["end"]]
    paths = [Path(config.paths.of("tune"), "trials", name, "trial.json") for name in ended]
    return {str(path): path.stat().st_mtime_ns for path in paths}


def test_a_sweep_that_cannot_fit_says_so(local_ray: None, tmp_path: Path) -> None:
    config = small(tmp_path, **SETTINGS | {"tune.trial_workers": 3})
    with pytest.raises(ConfigError, match=r"tune.trial_workers: a trial needs 6\.6 CPUs, the cluster has 4"):
        tune.main(config)
