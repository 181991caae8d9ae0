"""What a training takes of the cluster: a warning before it waits for more."""

import pytest

from m3l.config import load
from pipelines.runtime.console import console
from pipelines.workers.run_training import warn_if_too_small


@pytest.mark.parametrize(
    ("workers", "in_memory", "required"),
    [(2, True, None), (2, False, None), (3, True, None), (3, False, "6"), (4, True, "4.5")],
)
def test_training_warns_when_it_must_wait_for_machines(
    local_ray: None, workers: int, in_memory: bool, required: str | None
) -> None:
    config = load("tiny", [])
    with console.capture() as printed:
        warn_if_too_small(config.ray, workers, in_memory)
    warning = (
        f"train: {workers} workers and what reads their rows need {required} CPUs, the cluster has 4: training waits"
    )
    assert (warning in " ".join(printed.get().split())) == (required is not None) == bool(printed.get())
