"""One data stage: rows through a worker on Ray Data into a folder of Parquet parts, safe to run again."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import ray
from ray.data import Dataset

from m3l.config import RayConfig
from m3l.data import storage
from m3l.data.folder_settings import check_settings
from m3l.data.id_hash import hash_texts
from pipelines.runtime.console import Summary, progress
from pipelines.runtime.session import connect


@dataclass(frozen=True)
class Resources:
    """What each worker of a stage takes of the cluster, and how many workers there are.

    Attributes:
        cpus: CPUs of a worker.
        gpus: GPUs of a worker, or a share of one.
        pool: Number of actors, each of which builds the worker once; None: stateless tasks, as many as fit.
    """

    cpus: float = 1.0
    gpus: float = 0.0
    pool: int | None = None


@dataclass(frozen=True)
class Stage:
    """One data stage: what it reads, which worker maps it, what each worker takes, and where the rows go.

    Attributes:
        name: What the progress bar and the summary call it.
        input: A folder of Parquet parts, or a function that returns the rows as a data set once Ray is connected.
        rows: Number of rows that `output` holds in the end.
        key: Column of the input and of the output that names a row: rows with a key in `output` are skipped.
        worker: A class (with `resources.pool`) or a function, called with each block as a `pa.Table`.
        output: Folder of the parts.
        schema: Columns that are written; None where the worker writes its own parts through a `ParquetSink`.
        arguments: Constructor arguments of the worker.
        resources: What each worker takes.
        block_rows: Input rows that a worker gets at a time; None: the blocks of the input.
        settings: Settings that the output depends on; None where the driver has checked them.
    """

    name: str
    input: str | Callable[[], Dataset]
    rows: int
    key: str
    worker: Callable[..., Any]
    output: str
    schema: pa.Schema | None = None
    arguments: tuple[Any, ...] = ()
    resources: Resources = field(default_factory=Resources)
    block_rows: int | None = None
    settings: dict[str, Any] | None = None

    def pending(self) -> int:
        """Number of rows that `output` lacks; ConfigError if it was written with other settings."""
        if self.settings is not None:
            check_settings(self.output, self.settings)
        return self.rows - storage.count_rows(self.output)

    def run(self, config: RayConfig) -> Summary:
        """Process the rows that `output` lacks; prints and returns the summary.

        Args:
            config: How to connect to Ray, which is done only if rows are missing.

        Raises:
            ConfigError: `output` was written with other settings.
        """
        pending = self.pending()
        summary = Summary(self.name, self.output, self.rows, rows_before=self.rows - pending)
        if pending > 0:
            connect(config)
            run_and_count(self._dataset(pending), summary)
        return summary.show()

    def _dataset(self, pending: int) -> Dataset:
        rows = read_parts(self.input) if isinstance(self.input, str) else self.input()
        rows = skip_done(rows, self.key, storage.read_column(self.output, self.key))
        pool, options = self.resources.pool, {}
        if self.block_rows is not None:
            rows = rows.repartition(target_num_rows_per_block=self.block_rows)
            pool = pool and min(pool, -(-pending // self.block_rows))  # an actor without a block only costs its start
        if pool is not None:
            options = {"fn_constructor_args": self.arguments, "compute": ray.data.ActorPoolStrategy(size=pool)}
        rows = rows.map_batches(
            self.worker,
            batch_format="pyarrow",
            batch_size=None,
            num_cpus=self.resources.cpus,
            num_gpus=self.resources.gpus or None,
            **options,
        )
        if self.schema is None:
            return rows
        sink = ParquetSink(self.output, self.schema, self.key)
        return rows.map_batches(sink, batch_format="pyarrow", batch_size=None, zero_copy_batch=True)


class ParquetSink:
    """Writes each block as one part and returns only what the summary counts: the kind of each row's error.

    Args:
        folder: Folder of the parts, local or `s3://`.
        schema: Columns that are written.
        key: Column whose values name the part, so that a block that is written again replaces it.
    """

    def __init__(self, folder: str, schema: pa.Schema, key: str):
        self.folder, self.schema, self.key = folder, schema, key

    def __call__(self, block: pa.Table) -> pa.Table:
        table = block.select(self.schema.names).cast(self.schema)
        keys = table[self.key].to_pylist()
        storage.write_part(table, self.folder, keys)
        errors = table["error"].to_pylist() if "error" in table.column_names else [None] * len(keys)
        return pa.table({"error": pa.array([e and e.split(":")[0] for e in errors], pa.string())})


def read_parts(folder: str, columns: list[str] | None = None, blocks: int | None = None) -> Dataset:
    """The rows of a folder of Parquet parts as a data set.

    Args:
        folder: The folder, local or `s3://`.
        columns: Columns to read; None: all.
        blocks: Number of blocks to read them in; None: Ray Data's choice.
    """
    filesystem, _ = storage.locate(folder)
    return ray.data.read_parquet(
        storage.parts(folder), filesystem=filesystem, columns=columns, override_num_blocks=blocks
    )


def skip_done(rows: Dataset, key: str, done: Iterable[str]) -> Dataset:
    """The rows whose key is not done yet; workers share one array of 8 bytes a key."""
    done_hashes = np.sort(hash_texts(done))
    if not len(done_hashes):
        return rows
    shared = ray.put(done_hashes)

    def not_done(block: pa.Table) -> pa.Table:
        return block.filter(pa.array(~np.isin(hash_texts(block[key].to_pylist()), ray.get(shared))))

    return rows.map_batches(not_done, batch_format="pyarrow", batch_size=None, zero_copy_batch=True)


def run_and_count(written: Dataset, summary: Summary) -> Summary:
    """Run a data set whose blocks are what `ParquetSink` returns; fills in the summary's rows, errors and seconds."""
    started = time.monotonic()
    with progress(summary.stage, summary.rows_in - summary.rows_before) as advance:
        for batch in written.iter_batches(batch_size=None, batch_format="pyarrow"):
            summary.rows_out += batch.num_rows
            summary.errors.update(e for e in batch["error"].to_pylist() if e)
            advance(batch.num_rows)
    summary.seconds = time.monotonic() - started
    return summary
