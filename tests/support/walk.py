"""The walk: a few synthetic posts through every verb, as small as the verbs allow."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from m3l.config import Config, load, override
from m3l.data import storage

POSTS = 72
SMALL = [
    "corpus.broken_share=0.15",
    "media.key_frames=14",
    "retriever.teacher_epochs=1",
    "retriever.epochs=1",
    "retriever.batch_size=16",
    "train.epochs=1",
    "train.alignment_epochs=1",
    "train.batch_size=8",
    "train.lr=0.003",
    "evaluate.bootstrap=20",
    "evaluate.max_new_tokens=8",
    "evaluate.why=6",
    "ray.clip_workers=1",  # most of what one costs is its start
    "ray.predict_workers=1",
]
COMPARISON = ["compare.seeds=1", "compare.weights=[[0.1, 0.9], [1, 0]]"]
HOPELESS_LR = 1e-9
SWEEP = [
    f"tune.space={{train.lr: [0.003, {HOPELESS_LR:.1e}, 0.001]}}",
    "tune.search=grid",
    "tune.scheduler=asha",
    "tune.seeds=2",
    "tune.epochs=2",
    "tune.posts=16",
    "train.evaluations=2",
]


@dataclass
class Walk:
    """A run that every verb up to the report has written."""

    config: Config
    returned: dict[str, Any] = field(default_factory=dict)  # by each verb
    seconds: dict[str, float] = field(default_factory=dict)  # that each verb took

    def run(self, name: str, verb: Callable[[Config], Any]) -> None:
        started = time.monotonic()
        self.returned[name] = verb(self.config)
        self.seconds[name] = time.monotonic() - started


def walk(run: Path) -> Walk:
    """Take a corpus through every verb into a folder, on the Ray that this process is connected to."""
    from pipelines import (
        compare_retrievers,
        corpus,
        evaluate,
        frames,
        ingest,
        retrieve,
        train,
        train_retriever,
        tune,
    )

    paths = [f"paths.run={run}", f"paths.media_root={run}/corpus", f"ingest.table={run}/corpus/table"]
    done = Walk(load("tiny", [*SMALL, *COMPARISON, *SWEEP, *paths, f"corpus.posts={POSTS}"]))
    for verb in (corpus, ingest, frames, train_retriever, compare_retrievers, retrieve, train, tune, evaluate):
        name = verb.__name__.rpartition(".")[2]
        done.run(name, lambda config, verb=verb: verb.main(one_trial_at_a_time(config) if verb is tune else config))
    return done


def one_trial_at_a_time(config: Config) -> Config:
    """So that which trial falls behind does not depend on the machine."""
    return override(config, {"ray.model_cpus": 2})


def trials(config: Config) -> list[dict[str, Any]]:
    """The trials of a sweep as trials.json holds them, without their times."""
    rows = storage.read_json(f"{config.paths.of('tune')}/trials.json")
    return [
        row | {"evaluations": [{k: v for k, v in each.items() if k != "at"} for each in row["evaluations"]]}
        for row in rows
    ]
