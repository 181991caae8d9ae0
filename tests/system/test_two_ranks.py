"""One process, DDP and FSDP2 on two ranks train alike, resume alike, and end with the same weights."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from m3l.training import checkpoint
from tests.support import two_ranks

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the results of the two ranks."""
    folder = tmp_path_factory.mktemp("ranks")
    command = [sys.executable, "-m", "tests.support.two_ranks", folder]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=600)
    assert ended.returncode == 0, ended.stderr.decode()[-4000:]
    return folder


@pytest.fixture(scope="module")
def ranks(folder: Path) -> list[dict[str, Any]]:
    """The results of each rank's training, by strategy."""
    return [torch.load(folder / f"train{number}.pt") for number in (0, 1)]


@pytest.fixture(scope="module")
def alone() -> dict[str, Any]:
    """The results of the same steps in this process."""
    trainer = two_ranks.make_trainer("ddp")
    losses = [
        trainer.step(two_ranks.microbatches(step)) | {"norm": trainer.grad_norm} for step in range(two_ranks.STEPS)
    ]
    return {"losses": losses, "held_out": trainer.evaluate(two_ranks.HELD_OUT), "weights": _weights(trainer)}


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_ranks_train_as_one(strategy: str, ranks: list[dict[str, Any]], alone: dict[str, Any]) -> None:
    one, two = (each[strategy] for each in ranks)
    assert one["losses"] == two["losses"] and one["held_out"] == two["held_out"]
    assert {name for losses in one["losses"] for name in losses} == {"words", "nll", "mse", "norm"}
    assert "words" in one["losses"][1] and "words" not in one["losses"][2]
    for losses, expected in zip(one["losses"], alone["losses"], strict=True):
        assert losses == pytest.approx(expected, rel=2e-4)
    assert one["held_out"] == pytest.approx(alone["held_out"], rel=1e-3)
    _assert_close(one["weights"], alone["weights"])
    assert all((two["weights"][name] == weight).all() for name, weight in one["weights"].items())


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_a_resumed_run_ends_with_the_same_weights(strategy: str, ranks: list[dict[str, Any]]) -> None:
    results = ranks[0][strategy]
    assert all((results["resumed_weights"][name] == weight).all() for name, weight in results["weights"].items())


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_one_process_resumes_from_the_checkpoint_of_two_ranks(
    strategy: str, folder: Path, ranks: list[dict[str, Any]]
) -> None:
    saved = str(folder / strategy)
    trainer = two_ranks.make_trainer(strategy)
    step, run_state = checkpoint.recover(saved) or (0, {})
    trainer.load(saved, step, run_state)
    assert trainer.steps_done == step == two_ranks.SAVED
    for step in range(two_ranks.SAVED, two_ranks.STEPS):
        trainer.step(two_ranks.microbatches(step))
    _assert_close(_weights(trainer), ranks[0][strategy]["weights"])


def test_the_retrievers_losses_and_gradients_on_two_ranks_are_those_of_one_on_the_joint_batch(folder: Path) -> None:
    one, *two = (torch.load(folder / f"retriever{name}.pt") for name in ("0of1", "0of2", "1of2"))
    for name in ("contrast", "retrieval"):
        shares = torch.stack([rank[name]["loss"] for rank in two])
        assert torch.allclose(shares.mean(), one[name]["loss"], atol=1e-5)
        for parameter, gradient in one[name]["gradients"].items():
            assert torch.allclose(two[0][name]["gradients"][parameter], gradient, atol=1e-5), parameter
            assert torch.equal(two[0][name]["gradients"][parameter], two[1][name]["gradients"][parameter])


def _weights(trainer: Any) -> dict[str, torch.Tensor]:
    return {name: parameter.detach() for name, parameter in trainer.trainable.items()}


def _assert_close(weights: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    for name, weight in expected.items():
        # Adam turns the last digit of a gradient near zero into a part of a step.
        assert torch.quantile((weights[name] - weight).abs().flatten()[:100_000], 0.99) < 5e-4, name
