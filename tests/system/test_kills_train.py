"""`kill -9` of a worker, of Ray Train's controller and of the driver: `train` goes on, and ends as if nothing was."""

from itertools import pairwise
from pathlib import Path
from random import Random

import psutil
import pytest

from m3l.config import Config, override
from m3l.data import storage
from m3l.training import checkpoint
from pipelines import train
from tests.support.programs import PATIENCE_S, Control, actor, kill, running, wait_for
from tests.support.small_run import small

INTERVAL, RANKS = 3, 2
SETTINGS = {"train.workers": RANKS, "train.epochs": 6, "train.checkpoint_steps": INTERVAL, "train.cache_bytes": 0}


class Steps(Control):
    """Of each step that a rank begins: the step, the rank and its pid."""

    def ranks(self, step: int) -> dict[int, int]:
        """The pids of the ranks that have begun a step last."""
        return {int(rank): int(pid) for begun, rank, pid in self.begun() if int(begun) == step}

    def gone(self, step: int) -> bool:
        """Whether the processes of those ranks have ended."""
        return not any(map(psutil.pid_exists, self.ranks(step).values()))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Config:
    """A run that nothing cuts off. Asked for late: where memory is short, one Ray after the other."""
    request.getfixturevalue("local_ray")
    config = small(tmp_path_factory.mktemp("whole"), **SETTINGS)
    train.main(config)
    return config


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.mark.parametrize("seed", [0])
def test_train_survives_kills_of_worker_controller_and_driver(
    seed: int, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    config, chance, control = small(tmp_path / "run", **SETTINGS), Random(seed), Steps(tmp_path)
    command = config, tmp_path, "tests.support.paused_steps", str(tmp_path)
    # Killed at the step after which a checkpoint is being written: it may be whole or not.
    worker, controller, driver = (INTERVAL * step for step in sorted(chance.sample(range(1, 8), 3)))

    control.hold_from(worker)
    with running(*command) as program:
        wait_for(lambda: len(control.ranks(worker)) == RANKS, program)
        psutil.Process(control.ranks(worker)[chance.randrange(RANKS)]).kill()
        wait_for(lambda: control.gone(worker), program)
        control.hold_from(controller)
        wait_for(lambda: len(control.ranks(controller)) == RANKS, program)
        actor("TrainController", program).kill()
        wait_for(lambda: control.gone(controller), program)
        control.hold_from(driver)
        wait_for(lambda: len(control.ranks(driver)) == RANKS, program)
        kill(program)
    harm(tmp_path / "run" / "ray", chance)

    control.hold_from(10**6)
    with running(*command) as program:
        assert program.wait(PATIENCE_S) == 0

    begun = [int(step) for step, rank, _ in control.begun() if rank == "0"]
    back = [(step, after) for step, after in pairwise(begun) if after <= step]
    assert [step for step, _ in back] == [worker, controller, driver]
    assert all(
        step - after <= lost for (step, after), lost in zip(back, (INTERVAL, INTERVAL, 2 * INTERVAL), strict=True)
    )

    whole = request.getfixturevalue("whole")
    for name in ("model.safetensors", "curve.json", "metrics.json"):
        here, there = (f"{made.paths.of('bundle')}/{name}" for made in (config, whole))
        assert storage.digest(here) == storage.digest(there), name
    assert files(Path(config.paths.run)) == files(Path(whole.paths.run))


def test_train_goes_on_with_one_worker_where_two_do_not_fit_any_more(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    settings = SETTINGS | {"train.min_workers": 1, "ray.model_cpus": 3, "ray.num_cpus": 8}  # two to read the rows
    config, control, held = small(tmp_path / "run", **settings), Steps(tmp_path), 2 * INTERVAL + 1
    program_of_steps = tmp_path, "tests.support.paused_steps", str(tmp_path)
    control.hold_from(held)
    with running(config, *program_of_steps) as program:
        wait_for(lambda: len(control.ranks(held)) == RANKS, program)
        kill(program)
    before = len(control.begun())

    control.hold_from(10**6)
    with running(override(config, {"ray.num_cpus": 5}), *program_of_steps) as program:
        assert program.wait(PATIENCE_S) == 0

    after = [(int(step), int(rank)) for step, rank, _ in control.begun()[before:]]
    first, steps = after[0][0], storage.read_json(f"{config.paths.of('bundle')}/metrics.json")["steps"]
    assert held - first <= 2 * INTERVAL  # the checkpoint that was being written may be lost, too
    assert after == [(step, 0) for step in range(first, steps)]
    told, expected = (storage.read_json(f"{made.paths.of('bundle')}/curve.json")
                      for made in (config, request.getfixturevalue("whole")))  # fmt: skip
    assert [pytest.approx(point, rel=1e-3) for point in expected] == told


def harm(state: Path, chance: Random) -> None:
    """Flips a bit in a file of the newest checkpoint."""
    folder = next(state.glob("train-*/checkpoints"))
    newest = folder / f"step-{checkpoint.newest(str(folder)):09d}"
    path = chance.choice(sorted(newest.iterdir()))
    content = bytearray(path.read_bytes())
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)
