"""What a person sees of a stage: a progress bar, a summary, seconds."""

import sys
import time
from collections import Counter
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from m3l.data import storage

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


class Clock:
    """Seconds of each named stage: `with clock("train"):`."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def __call__(self, name: str) -> "Clock":
        self.name = name
        return self

    def __enter__(self) -> None:
        self.started = time.monotonic()

    def __exit__(self, *_: object) -> None:
        self.seconds[self.name] = self.seconds.get(self.name, 0.0) + time.monotonic() - self.started
