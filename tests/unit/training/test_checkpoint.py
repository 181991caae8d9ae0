"""A run that is cut off goes on from its last whole checkpoint, and ends as one that was not."""

from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import torch

from m3l.data import storage
from m3l.training import checkpoint
from m3l.training.fit import interval, train
from m3l.training.loss_curve import Curve
from m3l.training.sampler import Order
from m3l.training.trainer import Learner
from tests.support.posts import example, row
from tests.unit.training.test_trainer import learner

ROWS = [row(example(number, frames=number % 3)) for number in range(10)]
STEPS = 9


class Cut(Exception):
    """In place of a kill."""


def made(processor: Any, **changes: Any) -> Learner:
    settings = {"checkpoint_steps": 2, "augment": True, "evaluations": 3}
    taught = learner(processor, STEPS, 2, **settings | changes)
    taught.order = Order(10, 0, 3, 1)
    return taught


def ran(taught: Learner, folder: str, until: int | None = None) -> tuple[dict[str, float], list[dict[str, float]]]:
    """The losses and the curve at the end; Cut before the step `until`."""

    def feed(steps: range) -> Iterator[Any]:
        for step in steps:
            if step == until:
                raise Cut
            yield taught.order.pick(ROWS, step, 0, 1)

    curve = Curve(1)
    return train(taught, feed, ROWS[:4], curve, folder), curve.flush()


def weights(taught: Learner) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in taught.trainable.items()}


@pytest.fixture(scope="module")
def whole(processor: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, torch.Tensor], Any]:
    """The weights, losses and curve of the run that nothing cuts off."""
    taught = made(processor)
    told = ran(taught, str(tmp_path_factory.mktemp("whole")))
    return weights(taught), told


def same(taught: Learner, told: Any, whole: Any) -> None:
    assert told == whole[1]
    assert all((parameter == whole[0][name]).all() for name, parameter in weights(taught).items())


@pytest.mark.parametrize("cuts", [(1,), (5,), (3, 7, 8)])
def test_a_run_that_is_cut_off_ends_as_one_that_is_not(
    processor: Any, whole: Any, tmp_path: Path, cuts: tuple[int, ...]
) -> None:
    for until in cuts:
        with pytest.raises(Cut):
            ran(made(processor), str(tmp_path), until)
    found = checkpoint.recover(str(tmp_path))
    assert (found[0] if found else 0) >= cuts[-1] - 2  # of steps, one interval is lost at most
    taught = made(processor)
    same(taught, ran(taught, str(tmp_path)), whole)
    assert storage.folders(str(tmp_path)) == ["step-000000006", "step-000000008"]


def test_a_run_goes_on_from_a_bucket(processor: Any, whole: Any, bucket: str) -> None:
    folder = f"{bucket}/checkpoints"
    with pytest.raises(Cut):
        ran(made(processor), folder, 5)
    assert checkpoint.newest(folder) == 4
    taught = made(processor)
    same(taught, ran(taught, folder), whole)
    assert storage.folders(folder) == ["step-000000006", "step-000000008"]


@pytest.fixture(scope="module")
def cut(processor: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run leaves that was cut off in step 7: the checkpoints of steps 4 and 6."""
    folder = tmp_path_factory.mktemp("cut")
    with pytest.raises(Cut):
        ran(made(processor), str(folder), 7)
    assert storage.folders(str(folder)) == ["step-000000004", "step-000000006"]
    return folder


@pytest.mark.parametrize("name", ["__0_0.distcp", ".metadata", checkpoint.FACTS, checkpoint.MANIFEST])
@pytest.mark.parametrize("harm", ["flip", "truncate", "remove"])
def test_a_damaged_checkpoint_is_found_and_the_one_before_is_used(
    cut: Path, tmp_path: Path, name: str, harm: str
) -> None:
    storage.upload(cut, str(tmp_path))
    path = tmp_path / "step-000000006" / name
    content = bytearray(path.read_bytes())
    if harm == "flip":
        content[len(content) // 2] ^= 1
    path.write_bytes(content[: len(content) // 2] if harm == "truncate" else content)
    if harm == "remove":
        path.unlink()
    found = checkpoint.recover(str(tmp_path))
    assert found and (found[0], found[1]["done"]) == (4, 4)
    assert storage.folders(str(tmp_path)) == ["step-000000004"]


def test_a_run_that_falls_back_ends_alike(processor: Any, whole: Any, cut: Path, tmp_path: Path) -> None:
    storage.upload(cut, str(tmp_path))
    (tmp_path / "step-000000006" / "__0_0.distcp").write_bytes(b"")
    taught = made(processor)
    same(taught, ran(taught, str(tmp_path)), whole)


def test_what_a_writer_meets_reaches_the_run(processor: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        ran(made(processor), str(tmp_path / "file"))


def test_the_steps_after_do_not_change_a_checkpoint_that_is_being_written(processor: Any, tmp_path: Path) -> None:
    taught = made(processor)
    writer = checkpoint.Writer(str(tmp_path))
    asked = Event()
    step = writer.pool.submit(lambda: asked.wait() and taught.step([ROWS[:3]]))  # before the checkpoint is written
    before = weights(taught)
    writer.write(1, *taught.state())
    asked.set()
    writer.wait()
    step.result()
    again = made(processor)
    again.load(str(tmp_path), 1, taught.state()[1])
    assert all((weights(again)[name] == before[name]).all() for name in before)
    assert any((weights(taught)[name] != before[name]).any() for name in before)


def test_early_stopping_ends_with_the_best_weights(processor: Any, tmp_path: Path) -> None:
    heard = {3: 5.0, 4: 2.0, 5: 3.0, 6: 2.5}  # steps: what an evaluation after them tells
    best: list[dict[str, torch.Tensor]] = []

    def patient() -> Learner:
        taught = made(processor, patience=2, evaluations=9, checkpoint_steps=1)

        def evaluate(_: Any) -> dict[str, float]:
            if taught.done == 4 and not best:
                best.append(weights(taught))
            return {"nll": heard[taught.done]}

        taught.evaluate = evaluate  # type: ignore[method-assign]
        return taught

    for folder, until in (("at once", None), ("with a break", 5)):
        if until:
            with pytest.raises(Cut):
                ran(patient(), str(tmp_path / folder), until)
        taught = patient()
        ran(taught, str(tmp_path / folder))
        assert taught.done == 6
        assert all((parameter == best[0][name]).all() for name, parameter in weights(taught).items())


def test_checkpoints_are_about_an_epoch_apart(processor: Any) -> None:
    config = made(processor, checkpoint_steps=None).config
    assert [interval(config, Order(rows, 0, 8, 2)) for rows in (100, 1600, 10**6)] == [50, 100, 1000]
