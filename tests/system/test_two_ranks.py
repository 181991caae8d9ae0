"""One process, DDP and FSDP2 on two ranks train alike, go on alike, and end with the same weights."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from m3l.training import checkpoint
from tests.support import train_ranks as ours

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two ranks left of each strategy."""
    folder = tmp_path_factory.mktemp("ranks")
    command = [sys.executable, "-m", "tests.support.train_ranks", folder]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=600)
    assert ended.returncode == 0, ended.stderr.decode()[-4000:]
    return folder


@pytest.fixture(scope="module")
def ranks(folder: Path) -> list[dict[str, Any]]:
    return [torch.load(folder / f"rank{number}.pt") for number in (0, 1)]


@pytest.fixture(scope="module")
def alone() -> dict[str, Any]:
    """The same steps in this process."""
    taught = ours.learner("ddp")
    told = [taught.step(ours.cells(step)) | {"norm": taught.norm} for step in range(ours.STEPS)]
    return {"told": told, "held_out": taught.evaluate(ours.HELD_OUT), "weights": _weights(taught)}


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_ranks_train_as_one(strategy: str, ranks: list[dict[str, Any]], alone: dict[str, Any]) -> None:
    one, two = (each[strategy] for each in ranks)
    assert one["told"] == two["told"] and one["held_out"] == two["held_out"]
    assert {name for told in one["told"] for name in told} == {"words", "nll", "mse", "norm"}
    assert "words" in one["told"][1] and "words" not in one["told"][2]
    for told, expected in zip(one["told"], alone["told"], strict=True):
        assert told == pytest.approx(expected, rel=2e-4)
    assert one["held_out"] == pytest.approx(alone["held_out"], rel=1e-3)
    _close(one["weights"], alone["weights"])
    assert all((two["weights"][name] == weight).all() for name, weight in one["weights"].items())


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_a_resumed_run_ends_with_the_same_weights(strategy: str, ranks: list[dict[str, Any]]) -> None:
    ended = ranks[0][strategy]
    assert all((ended["again"][name] == weight).all() for name, weight in ended["weights"].items())


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_one_process_goes_on_with_what_two_ranks_left(strategy: str, folder: Path, ranks: list[dict[str, Any]]) -> None:
    saved = str(folder / strategy)
    taught = ours.learner(strategy)
    step, facts = checkpoint.recover(saved) or (0, {})
    taught.load(saved, step, facts)
    assert taught.done == step == ours.SAVED
    for step in range(ours.SAVED, ours.STEPS):
        taught.step(ours.cells(step))
    _close(_weights(taught), ranks[0][strategy]["weights"])


def _weights(learner: Any) -> dict[str, torch.Tensor]:
    return {name: parameter.detach() for name, parameter in learner.trainable.items()}


def _close(told: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    for name, weight in expected.items():
        # Adam turns the last digit of a gradient near zero into a part of a step.
        assert torch.quantile((told[name] - weight).abs().flatten()[:100_000], 0.99) < 5e-4, name
