"""What the trials of a sweep keep, so that it can go on: each trial's record, and what the driver says of it."""

from typing import Any

from m3l.config import Config
from m3l.data import storage
from m3l.tuning.search_space import Point, name

RECORD, STOPPED = "trial.json", "stopped.json"  # what the trial writes, and what the driver says of it


def folder_of(config: Config, point: Point) -> str:
    return f"{config.paths.of('tune')}/trials/{name(point)}"


def read(config: Config, point: Point) -> dict[str, Any]:
    """The record of a trial, or an empty one."""
    fresh: dict[str, Any] = {"point": point, "evaluations": [], "seeds": [], "end": None, "error": None}
    return storage.read_json(f"{folder_of(config, point)}/{RECORD}") or fresh


def write(config: Config, record: dict[str, Any]) -> None:
    storage.write_json(f"{folder_of(config, record['point'])}/{RECORD}", record)


def records(config: Config) -> list[dict[str, Any]]:
    """What the trials of a sweep have written, in the order in which their first evaluations came."""
    folder = f"{config.paths.of('tune')}/trials"
    found = []
    for made in storage.folders(folder):
        if record := storage.read_json(f"{folder}/{made}/{RECORD}"):
            if not record["end"] and storage.read_json(f"{folder}/{made}/{STOPPED}"):
                record["end"] = "stopped"
            found.append(record)
    return sorted(found, key=lambda record: min((known["at"] for known in record["evaluations"]), default=float("inf")))


def remember(config: Config, point: Point, evaluation: int) -> None:
    """Keep that a trial was stopped."""
    storage.write_json(f"{folder_of(config, point)}/{STOPPED}", {"evaluation": evaluation})
