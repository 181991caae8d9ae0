"""What the driver sees of a training run."""

from pipelines.runtime.train_run import RunLog


def test_a_run_says_what_it_waits_for_until_its_next_step() -> None:
    log = RunLog(every=1, phase="starting 2 workers")
    assert log.status().note == "starting 2 workers"
    log.set_phase("reading the first samples")
    assert log.status().note == "reading the first samples"
    log.add(1, {"loss": 0.5})
    assert log.status() == (1, "loss 0.500", {})
    log.set_phase("writing the retriever")
    assert log.status().note == "writing the retriever"


def test_an_evaluation_is_undecided_until_the_driver_decides() -> None:
    log = RunLog(every=1)
    log.update(4, [{"step": 4, "mse": 1.0}], {"mse": 0.25})
    assert log.status().undecided == {4: {"mse": 0.25}} and log.decision(4) is None
    log.set_decision(4, False)
    assert log.status().undecided == {} and log.decision(4) is False
