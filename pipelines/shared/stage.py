"""One data stage: rows through Ray Data into a folder of parts, safe to run again, with a bar and a summary."""

import sys
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import ray
from ray.data import Dataset
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from m3l.data import storage
from m3l.data.id_hash import hashes

console = Console(stderr=True, width=None if sys.stderr.isatty() else 160)  # a path in a log stays on its line


@dataclass
class Summary:
    """What a stage did: rows that were there before, rows made now, errors by kind, seconds."""

    stage: str
    folder: str
    rows_in: int
    rows_before: int = 0
    rows_out: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    def show(self) -> "Summary":
        """Print the summary's lines and keep them beside the rows."""
        rate = self.rows_out / self.seconds if self.seconds else 0.0
        before = f" (+ {self.rows_before:,} that were done)" if self.rows_before else ""
        console.print(
            f"[bold]{self.stage}[/]: {self.rows_in:,} rows in, {self.rows_out:,} out{before}, "
            f"{self.seconds:.1f} s, {rate:,.1f} rows/s -> {self.folder}"
        )
        for kind, count in self.errors.most_common():
            console.print(f"  {count:,} x {kind}", highlight=False)
        storage.write_json(f"{self.folder}/_summary.json", vars(self) | {"errors": dict(self.errors)})
        return self


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


class progress:
    """A progress bar in a terminal, a line now and then elsewhere: `with progress(title, total) as advance:`."""

    def __init__(self, title: str, total: int | None):
        self.title, self.total, self.done, self.shown = title, total, 0, time.monotonic()
        columns = (
            TextColumn("{task.description:>16}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        self.bar = Progress(*columns, console=console, disable=not console.is_terminal)

    def __enter__(self) -> "progress":
        self.bar.start()
        self.task = self.bar.add_task(self.title, total=self.total, note="")
        return self

    def __call__(self, steps: int = 1, note: str = "") -> None:
        self.done += steps
        self.bar.update(self.task, advance=steps, note=note)
        if not console.is_terminal and time.monotonic() - self.shown > 10:
            self.shown = time.monotonic()
            total = "" if self.total is None else f" of {self.total:,}"
            console.print(f"  {self.title}: {self.done:,}{total} {note}", highlight=False)

    def __exit__(self, *_: object) -> None:
        self.bar.stop()
