"""The sweep of the walk, through Ray Tune: a trial that falls behind ends early."""

import json
import time
from pathlib import Path

import pytest
import ray

from m3l.config import ConfigError, load, override
from pipelines import tune
from tests.support.programs import PATIENCE_S
from tests.support.runs import training_run
from tests.support.walk import HOPELESS_LR, Walk, one_trial_at_a_time, trials


def test_a_trial_that_falls_behind_ends_early_and_frees_its_resources(walk: Walk) -> None:
    by_rate = {trial["params"]["train.lr"]: trial for trial in trials(walk.config)}
    assert by_rate[0.003]["end"] == "finished" and len(by_rate[0.003]["seeds"]) == 2
    assert by_rate[0.003]["sd"] > 0 and len(by_rate[0.003]["evaluations"]) == 4
    assert by_rate[HOPELESS_LR]["end"] == "stopped" and len(by_rate[HOPELESS_LR]["evaluations"]) == 1
    (states,) = Path(walk.config.paths.of("tune"), "sweep").glob("experiment_state-*.json")
    statuses = [json.loads(state)["status"] for state, _ in json.loads(states.read_text())["trial_data"]]
    assert statuses == ["TERMINATED"] * 3  # for Ray Tune, too, none of them has failed
    deadline = time.monotonic() + PATIENCE_S
    while ray.available_resources().get("CPU") != ray.cluster_resources()["CPU"]:  # reported a moment later
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_a_sweep_leaves_a_ranked_table_a_preset_a_page_and_events_but_no_state(walk: Walk) -> None:
    folder, ranked = Path(walk.config.paths.of("tune")), trials(walk.config)
    objectives = [trial["objective"] for trial in ranked if trial["end"] == "finished"]
    assert objectives == sorted(objectives)
    best = load(str(folder / "best.yaml"))
    assert best == override(one_trial_at_a_time(walk.config), ranked[0]["params"])
    assert "current configuration" in (folder / "index.html").read_text()
    assert len({path.parent for path in folder.rglob("events.out.tfevents.*")}) == 3
    state = {path.name for path in Path(walk.config.paths.run, "ray").rglob("*") if path.is_file()}
    assert state <= {".validate_storage_marker"}  # of Ray Train
    assert not list(folder.rglob("*.safetensors"))


def test_a_sweep_that_cannot_fit_is_refused(local_ray: None, tmp_path: Path) -> None:
    settings = {"tune.space": {"train.lr": [0.003, 0.001]}, "tune.search": "grid", "tune.trial_workers": 3}
    config = training_run(tmp_path, **settings, **{"ray.model_cpus": 2})
    with pytest.raises(ConfigError, match=r"tune.trial_workers: a trial needs 6\.6 CPUs, the cluster has 4"):
        tune.main(config)
