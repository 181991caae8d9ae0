"""What a run takes of a cluster, said before it waits for it."""

import pytest

from m3l.config import load
from pipelines.train import console, say_if_it_waits


@pytest.mark.parametrize(("workers", "waits"), [(2, False), (40, True)])
def test_training_that_must_wait_for_machines_says_so(local_ray: None, workers: int, waits: bool) -> None:
    with console.capture() as told:
        say_if_it_waits(load("tiny", [f"train.workers={workers}"]))
    need = "train: 40 workers and their reader need 40.5 CPUs, the cluster has 4: training waits for more."
    assert (need in " ".join(told.get().split())) == waits
    assert bool(told.get()) == waits
