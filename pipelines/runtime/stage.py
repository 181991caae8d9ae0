"""One data stage: rows through Ray Data into a folder of parts, safe to run again, with a bar and a summary."""

import time
from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import ray
from ray.data import Dataset

from m3l.data import storage
from m3l.data.id_hash import hashes
from pipelines.runtime.console import Summary, progress


class Parts:
    """A Ray Data sink: writes each block as one part and passes on only what the summary counts."""

    def __init__(self, folder: str, schema: pa.Schema, key: str):
        self.folder, self.schema, self.key = folder, schema, key

    def __call__(self, block: pa.Table) -> pa.Table:
        table = block.select(self.schema.names).cast(self.schema)
        keys = table[self.key].to_pylist()
        storage.write_part(table, self.folder, keys)
        errors = table["error"].to_pylist() if "error" in table.column_names else [None] * len(keys)
        return pa.table({"error": pa.array([e and e.split(":")[0] for e in errors], pa.string())})


def todo(rows: Dataset, key: str, done: Iterable[str]) -> Dataset:
    """The rows whose key is not done yet; workers share one array of 8-byte hashes."""
    known = np.sort(hashes(done))
    if not len(known):
        return rows
    shared = ray.put(known)

    def fresh(block: pa.Table) -> pa.Table:
        return block.filter(pa.array(~np.isin(hashes(block[key].to_pylist()), ray.get(shared))))

    return rows.map_batches(fresh, batch_format="pyarrow", batch_size=None, zero_copy_batch=True)


def write(rows: Dataset, folder: str, schema: pa.Schema, key: str, summary: Summary) -> Summary:
    """Run the data set into the folder's parts; only counts come back to the driver."""
    sink = Parts(folder, schema, key)
    return count(rows.map_batches(sink, batch_format="pyarrow", batch_size=None, zero_copy_batch=True), summary)


def count(written: Dataset, summary: Summary) -> Summary:
    """Run a data set whose blocks are what `Parts` passes on."""
    started = time.monotonic()
    with progress(summary.stage, summary.rows_in - summary.rows_before) as advance:
        for batch in written.iter_batches(batch_size=None, batch_format="pyarrow"):
            summary.rows_out += batch.num_rows
            summary.errors.update(e for e in batch["error"].to_pylist() if e)
            advance(batch.num_rows)
    summary.seconds = time.monotonic() - started
    return summary
