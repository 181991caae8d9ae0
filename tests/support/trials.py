"""Records of trials, as a sweep over `train.cut` leaves them."""

from typing import Any

from m3l.tuning.trial_records import rank_trials, summarise_trial


def trial_record(
    cut: float, *objectives: float, end: str | None = "finished", error: str | None = None
) -> dict[str, Any]:
    """The record of one trial.

    Args:
        cut: The value that the trial tries.
        objectives: The result of each of its seeds.
        end: How it ended; None: it is pending.
        error: The message of its failure.
    """
    seeds = [
        {"seed": seed, "objective": value, "validation_nll": value / 2, "validation_mse": value / 2}
        for seed, value in enumerate(objectives)
    ]
    evaluations = [{"seed": 0, "step": 4, "objective": 9.0 + cut, "at": cut, "nll": 4.0, "mse": 5.0}]
    return {"point": {"train.cut": cut}, "evaluations": evaluations, "seeds": seeds, "end": end, "error": error}


RECORDS = [
    trial_record(25.0, end="stopped"),
    trial_record(50.0, 2.0, 3.0, 4.0),
    trial_record(60.0, 1.0, 2.0, 3.0),
    trial_record(70.0, float("nan"), 1.0),
    trial_record(75.0, error="<script>", end=None) | {"evaluations": []},
]
TRIALS = rank_trials([summarise_trial(record) for record in RECORDS])
