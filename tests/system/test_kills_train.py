"""`kill -9` of a worker, of Ray Train's controller and of the driver: `train` resumes, and ends as if uninterrupted."""

import shutil
from itertools import pairwise
from pathlib import Path
from random import Random

import psutil
import pytest

from m3l.config import Config, override
from m3l.data import storage
from m3l.training import checkpoint
from pipelines import train
from tests.support.paused import NEVER, StepPause, pausing_rank
from tests.support.programs import actor, kill, running, wait_for
from tests.support.runs import training_run

INTERVAL, RANKS = 3, 2
SETTINGS = {"train.workers": RANKS, "train.epochs": 6, "train.checkpoint_steps": INTERVAL, "train.cache_bytes": 0}


@pytest.mark.parametrize("seed", [0])
def test_train_survives_kills_of_worker_controller_and_driver_and_the_loss_of_a_machine(
    seed: int, local_ray: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One killed program; two runs in this process go on from what it left.

    The first has two ranks and ends exactly as a run that nothing interrupts. The second has room for one rank only.
    """
    run, random, pause = tmp_path / "run", Random(seed), StepPause(tmp_path)
    config = training_run(run, **SETTINGS | {"train.min_workers": 1})
    # Killed at the step after which a checkpoint is being written: it may be whole or not.
    worker, controller, driver = (INTERVAL * step for step in sorted(random.sample(range(1, 8), 3)))

    pause.at(worker)
    program_config = override(config, {"ray.num_cpus": 8})  # room for both ranks at each restart
    with running(program_config, tmp_path, "tests.support.paused", "train", str(tmp_path)) as program:
        wait_for(lambda: len(pause.ranks(worker)) == RANKS, program)
        psutil.Process(pause.ranks(worker)[random.randrange(RANKS)]).kill()
        wait_for(lambda: pause.ended(worker), program)
        pause.at(controller)
        wait_for(lambda: len(pause.ranks(controller)) == RANKS, program)
        actor("TrainController", program).kill()
        wait_for(lambda: pause.ended(controller), program)
        pause.at(driver)
        wait_for(lambda: len(pause.ranks(driver)) == RANKS, program)
        kill(program)
    flip_a_bit(run / "ray", random)
    shutil.copytree(run, tmp_path / "left")
    pause.at(NEVER)
    monkeypatch.setattr("pipelines.workers.run_training.train_loop_per_worker", pausing_rank(tmp_path))

    train.main(config)
    begun = [(int(step), int(rank)) for step, rank, _ in pause.begun()]
    steps = [step for step, rank in begun if rank == 0]
    restarts = [(step, after) for step, after in pairwise(steps) if after <= step]
    assert [step for step, _ in restarts] == [worker, controller, driver]
    most_lost = (INTERVAL, INTERVAL, 2 * INTERVAL)
    assert all(step - after <= lost for (step, after), lost in zip(restarts, most_lost, strict=True))
    uninterrupted = training_run(tmp_path / "uninterrupted", **SETTINGS)
    train.main(uninterrupted)
    for name in ("model.safetensors", "curve.json", "metrics.json"):
        digests = {storage.digest(f"{each.paths.of('bundle')}/{name}") for each in (config, uninterrupted)}
        assert len(digests) == 1, name
    assert files(run) == files(tmp_path / "uninterrupted")

    shutil.move(run, tmp_path / "two_ranks")
    shutil.move(tmp_path / "left", run)
    before = len(pause.begun())
    train.main(override(config, {"ray.model_cpus": 3}))  # of four
    begun = [(int(step), int(rank)) for step, rank, _ in pause.begun()[before:]]
    first, last = begun[0][0], bundle_json(config, "metrics.json")["steps"]
    assert driver - first <= 2 * INTERVAL
    assert begun == [(step, 0) for step in range(first, last)]
    expected = bundle_json(uninterrupted, "curve.json")
    assert [pytest.approx(point, rel=1e-3) for point in expected] == bundle_json(config, "curve.json")


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def bundle_json(config: Config, name: str) -> object:
    return storage.read_json(f"{config.paths.of('bundle')}/{name}")


def flip_a_bit(state: Path, random: Random) -> None:
    """Damage a file of the newest checkpoint."""
    folder = next(state.glob("train-*/checkpoints"))
    newest = folder / f"step-{checkpoint.latest_step(str(folder)):09d}"
    path = random.choice(sorted(newest.iterdir()))
    content = bytearray(path.read_bytes())
    content[random.randrange(len(content))] ^= 1 << random.randrange(8)
    path.write_bytes(content)
