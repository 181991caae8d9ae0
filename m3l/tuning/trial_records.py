"""The record that each trial of a sweep writes, by which a sweep resumes, and the summary of a finished one."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from m3l.data import storage
from m3l.tuning.search_space import Point, point_name

OBJECTIVE = "objective"  # the sum of the validation losses: both heads count alike, whatever their weights in training
RECORD, STOPPED = "trial.json", "stopped.json"  # written by the trial; by the driver, when it stops the trial


def trial_folder(folder: str, point: Point) -> str:
    """The folder of a trial in the sweep's folder."""
    return f"{folder}/trials/{point_name(point)}"


def read_record(folder: str, point: Point) -> dict[str, Any]:
    """The record of a trial; a new one if it has none yet.

    Args:
        folder: The sweep's folder.
        point: What the trial tries.

    Returns:
        `point`; `evaluations`, each with its objective and time; `seeds`, the results of its finished trainings; `end`,
        None while it is pending, else "finished" or "stopped"; `error`.
    """
    new: dict[str, Any] = {"point": point, "evaluations": [], "seeds": [], "end": None, "error": None}
    return storage.read_json(f"{trial_folder(folder, point)}/{RECORD}") or new


def write_record(folder: str, record: Mapping[str, Any]) -> None:
    """Write the record of a trial into the sweep's folder."""
    storage.write_json(f"{trial_folder(folder, record['point'])}/{RECORD}", record)


def read_records(folder: str) -> list[dict[str, Any]]:
    """The records of all trials in a sweep's folder, in the order of their first evaluations."""
    trials = f"{folder}/trials"
    records = []
    for name in storage.folders(trials):
        if record := storage.read_json(f"{trials}/{name}/{RECORD}"):
            if not record["end"] and storage.read_json(f"{trials}/{name}/{STOPPED}"):
                record["end"] = "stopped"
            records.append(record)
    return sorted(records, key=lambda record: min((each["at"] for each in record["evaluations"]), default=math.inf))


def mark_stopped(folder: str, point: Point, evaluation: int) -> None:
    """Record that a trial was stopped.

    Args:
        folder: The sweep's folder.
        point: What the trial tried.
        evaluation: The evaluation after which it was stopped, counted from 1.
    """
    storage.write_json(f"{trial_folder(folder, point)}/{STOPPED}", {"evaluation": evaluation})


def summarise_trial(record: Mapping[str, Any]) -> dict[str, Any]:
    """A trial's entry of trials.json.

    Args:
        record: The record of the trial.

    Returns:
        `params`; `objective`, the mean over its seeds, or else its last evaluation, None if nothing finite was
        measured; `sd`, the standard deviation over its seeds; and `seeds`, `end`, `error`, `evaluations` as recorded.
    """
    values = [seed[OBJECTIVE] for seed in record["seeds"]]
    last_evaluation = [evaluation[OBJECTIVE] for evaluation in record["evaluations"][-1:]]
    objective = statistics.fmean(values or last_evaluation or [math.nan])
    return {
        "params": record["point"],
        OBJECTIVE: objective if math.isfinite(objective) else None,
        "sd": statistics.stdev(values) if len(values) > 1 and math.isfinite(objective) else None,
        "seeds": record["seeds"],
        "end": record["end"],
        "error": record.get("error"),
        "evaluations": record["evaluations"],
    }


def rank_trials(trials: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Sort summaries, the best first: finished trials, then those that ended early, then those without a result."""
    return sorted(trials, key=lambda t: (t[OBJECTIVE] is None, t["end"] != "finished", t[OBJECTIVE] or 0.0))
