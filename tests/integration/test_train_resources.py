"""What a run takes of a cluster, said before it waits for it."""

import pytest

from m3l.config import load
from pipelines.train import console, say_if_it_waits


@pytest.mark.parametrize(
    ("workers", "kept", "needs"),
    [(2, True, None), (2, False, None), (3, True, None), (3, False, "6"), (4, True, "4.5")],
)
def test_training_that_must_wait_for_machines_says_so(
    local_ray: None, workers: int, kept: bool, needs: str | None
) -> None:
    with console.capture() as told:
        say_if_it_waits(load("tiny", [f"train.workers={workers}"]), kept)
    said = f"train: {workers} workers and what reads their rows need {needs} CPUs, the cluster has 4: training waits"
    assert (said in " ".join(told.get().split())) == (needs is not None) == bool(told.get())
