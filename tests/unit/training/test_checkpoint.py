"""A run that is cut off resumes from its last valid checkpoint, and ends like an uninterrupted one."""

from pathlib import Path
from threading import Event
from typing import Any

import pytest
import torch

from m3l.data import storage
from m3l.training import checkpoint
from m3l.training.fit import checkpoint_interval
from m3l.training.sampler import ResumableSampler
from m3l.training.trainer import Trainer
from tests.support.models import CHECKPOINT_ROWS, CutOff, checkpointing_trainer, train_in, weights


@pytest.fixture(scope="module")
def uninterrupted(
    processor: Any, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, torch.Tensor], tuple[Any, Any]]:
    """The weights of an uninterrupted run, and its losses and curve."""
    trainer = checkpointing_trainer(processor)
    results = train_in(trainer, str(tmp_path_factory.mktemp("uninterrupted")))
    return weights(trainer), results


def assert_ends_alike(trainer: Trainer, folder: Path, uninterrupted: Any) -> None:
    """Resume in a folder and compare the weights, losses and curve at the end."""
    expected_weights, expected_results = uninterrupted
    assert train_in(trainer, str(folder)) == expected_results
    assert all((parameter == expected_weights[name]).all() for name, parameter in weights(trainer).items())


@pytest.mark.parametrize("cuts", [(1,), (5,), (3, 7, 8)])
def test_a_run_that_is_cut_off_ends_like_an_uninterrupted_one(
    processor: Any, uninterrupted: Any, tmp_path: Path, cuts: tuple[int, ...]
) -> None:
    for until in cuts:
        with pytest.raises(CutOff):
            train_in(checkpointing_trainer(processor), str(tmp_path), until)
    newest = checkpoint.recover(str(tmp_path))
    assert (newest[0] if newest else 0) >= cuts[-1] - 2  # at most the steps of one interval are lost
    assert_ends_alike(checkpointing_trainer(processor), tmp_path, uninterrupted)
    assert storage.folders(str(tmp_path)) == ["step-000000006", "step-000000008"]


@pytest.fixture(scope="module")
def cut_off(processor: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was cut off in step 7, with the checkpoints of steps 4 and 6."""
    folder = tmp_path_factory.mktemp("cut_off")
    with pytest.raises(CutOff):
        train_in(checkpointing_trainer(processor), str(folder), 7)
    assert storage.folders(str(folder)) == ["step-000000004", "step-000000006"]
    return folder


@pytest.mark.parametrize("name", ["__0_0.distcp", ".metadata", checkpoint.RUN_STATE, checkpoint.MANIFEST])
@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_a_damaged_checkpoint_is_detected_and_the_one_before_is_used(
    cut_off: Path, tmp_path: Path, name: str, damage: str
) -> None:
    storage.upload(cut_off, str(tmp_path))
    path = tmp_path / "step-000000006" / name
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 1
    path.write_bytes(content[: len(content) // 2] if damage == "truncate" else content)
    if damage == "remove":
        path.unlink()
    newest = checkpoint.recover(str(tmp_path))
    assert newest and (newest[0], newest[1]["done"]) == (4, 4)
    assert storage.folders(str(tmp_path)) == ["step-000000004"]


def test_a_run_that_falls_back_to_the_checkpoint_before_ends_alike(
    processor: Any, uninterrupted: Any, cut_off: Path, tmp_path: Path
) -> None:
    storage.upload(cut_off, str(tmp_path))
    (tmp_path / "step-000000006" / "__0_0.distcp").write_bytes(b"")
    assert_ends_alike(checkpointing_trainer(processor), tmp_path, uninterrupted)


def test_an_error_of_the_background_writer_reaches_the_run(processor: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        train_in(checkpointing_trainer(processor), str(tmp_path / "file"))


def test_later_steps_do_not_change_a_checkpoint_that_is_being_written(processor: Any, tmp_path: Path) -> None:
    trainer = checkpointing_trainer(processor)
    writer = checkpoint.CheckpointWriter(str(tmp_path))
    go_on = Event()
    # In the writer's only thread: this step runs before the checkpoint is written.
    step = writer.pool.submit(lambda: go_on.wait() and trainer.step([CHECKPOINT_ROWS[:3]]))
    before = weights(trainer)
    writer.write(1, *trainer.state())
    go_on.set()
    writer.wait()
    step.result()
    resumed = checkpointing_trainer(processor)
    resumed.load(str(tmp_path), 1, trainer.state()[1])
    assert all((weights(resumed)[name] == before[name]).all() for name in before)
    assert any((weights(trainer)[name] != before[name]).any() for name in before)


def test_early_stopping_ends_with_the_weights_of_the_best_evaluation(processor: Any, tmp_path: Path) -> None:
    validation_losses = {3: 5.0, 4: 2.0, 5: 3.0, 6: 2.5}  # after so many steps
    best: list[dict[str, torch.Tensor]] = []

    def patient_trainer() -> Trainer:
        trainer = checkpointing_trainer(processor, patience=2, evaluations=9, checkpoint_steps=1)

        def evaluate(_: Any) -> dict[str, float]:
            if trainer.steps_done == 4 and not best:
                best.append(weights(trainer))
            return {"nll": validation_losses[trainer.steps_done]}

        trainer.evaluate = evaluate  # type: ignore[method-assign]
        return trainer

    for name, until in (("uninterrupted", None), ("cut off", 5)):
        if until:
            with pytest.raises(CutOff):
                train_in(patient_trainer(), str(tmp_path / name), until)
        trainer = patient_trainer()
        train_in(trainer, str(tmp_path / name))
        assert trainer.steps_done == 6
        assert all((parameter == best[0][name]).all() for name, parameter in weights(trainer).items())


def test_checkpoints_are_about_an_epoch_apart(processor: Any) -> None:
    config = checkpointing_trainer(processor, checkpoint_steps=None).config
    samplers = [ResumableSampler(rows, 0, 8, 2) for rows in (100, 1600, 10**6)]
    assert [checkpoint_interval(config, sampler) for sampler in samplers] == [50, 100, 1000]
