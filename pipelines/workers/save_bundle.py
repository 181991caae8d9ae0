"""The bundle at the end of a training run: weights, intervals, model card, retriever, histories of all accounts."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
from torch import Tensor

from m3l.data import storage
from m3l.data.id_hash import IdSet
from m3l.data.records import ACCOUNTS, COMPANY
from m3l.data.schemas import TIMELINES
from m3l.inference import bundle
from m3l.inference.calibrate import calibrate_bundle
from m3l.inference.conformal import Intervals
from m3l.model.build import build_model
from m3l.training.trainer import Trainer
from pipelines.workers.history import TABLE_ACCOUNTS
from pipelines.workers.train_spec import TrainSpec

RETRIEVER_FILES = ("model.safetensors", "retriever.json")
BATCH_ACCOUNTS = 2000


def save_bundle(
    spec: TrainSpec, trainer: Trainer, weights: dict[str, Tensor] | None, metrics: dict[str, float]
) -> None:
    """Write the bundle of a run, by rank 0.

    Args:
        spec: The run.
        trainer: The trainer at its last step.
        weights: All trained weights, where the trainer's own model is sharded.
        metrics: Validation losses, for the model card.
    """
    config, stats, folder, model = spec.config, spec.stats, spec.bundle, trainer.model
    if weights is not None:
        model = build_model(config.model, stats.processor, config.seed)
        model.load_state_dict(weights, strict=False)
    uncalibrated = bundle.Bundle(
        config, model.eval(), stats.processor, stats.scale, None, Intervals(), frozenset(stats.accounts)
    )
    facts = {
        "intervals": calibrate_bundle(uncalibrated, trainer.device),
        "accounts": stats.accounts,
        "train_posts": stats.rows,
        "metrics": metrics,
    }
    with tempfile.TemporaryDirectory() as temporary:
        local = Path(temporary)
        bundle.save(local, config, model, stats.processor, stats.scale, facts)
        storage.upload(local, folder)
    if config.model.media:
        retriever = config.paths.of("retriever")
        for name in RETRIEVER_FILES:
            storage.copy(f"{retriever}/{name}", f"{folder}/retriever/{name}")
    if spec.inputs.history:
        copy_histories(spec.inputs.history, f"{folder}/{bundle.HISTORY}")


def copy_histories(history: str, target: str) -> None:
    """Copy the timelines of all accounts and companies, with those that only the table of account statistics has.

    Args:
        history: Folder that `m3l history` has filled.
        target: Folder of the bundle's histories. It gets one row of TIMELINES for each account.
    """
    for below in ("", f"/{COMPANY}"):
        source = f"{history}/{ACCOUNTS}{below}"
        for path in storage.parts(source):
            name = path.rpartition("/")[2]
            storage.copy(f"{source}/{name}", f"{target}{below}/{name}")
    for batch in _accounts_without_posts(history):
        storage.write_part(batch, target, batch["name"].to_pylist())


def _accounts_without_posts(history: str) -> Iterator[pa.Table]:
    """Rows of TIMELINES of accounts that no post belongs to; 8 bytes an account stay in memory."""
    seen = IdSet()
    for name in storage.read_column(f"{history}/{ACCOUNTS}", "name"):
        seen.add(name)
    for batch in storage.read_batches(f"{history}/{TABLE_ACCOUNTS}", batch_rows=BATCH_ACCOUNTS):
        new = pa.array([seen.add(name) for name in batch["name"].to_pylist()], pa.bool_())
        if new.true_count:
            yield pa.Table.from_batches([batch]).filter(new).select(TIMELINES.names).cast(TIMELINES)
