"""What a person sees of a verb: progress, a summary, seconds."""

import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from m3l.data import storage
from m3l.data.folder_settings import check_settings

LINE_S = 10.0  # between two lines of progress where there is no terminal

console = Console(stderr=True, width=None if sys.stderr.isatty() else 160)  # a path in a log stays on its line


@dataclass
class Summary:
    """What a stage did.

    Attributes:
        stage: Its name.
        folder: Where its rows are.
        rows_in: Rows that it had to process.
        rows_before: Rows of these that were done before.
        rows_out: Rows written by this run.
        errors: Number of rows with an error, by kind.
        seconds: Duration of this run.
    """

    stage: str
    folder: str
    rows_in: int
    rows_before: int = 0
    rows_out: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    def show(self) -> "Summary":
        """Print the summary and save it beside the rows; returns itself."""
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


def done_before(verb: str, folder: str, settings: dict[str, Any], result: str) -> Any | None:
    """The result of a verb that has ended in an earlier run, which the console then says; None if it has not.

    Args:
        verb: Name of the verb.
        folder: Its output folder.
        settings: Settings that the folder's content depends on.
        result: JSON file of the folder that the verb writes last.

    Raises:
        ConfigError: The folder was written with other settings.
    """
    check_settings(folder, settings)
    saved = storage.read_json(f"{folder}/{result}")
    if saved is not None:
        show_done(verb, folder)
    return saved


def show_done(verb: str, folder: str) -> None:
    """Print that a verb has nothing left to do."""
    console.print(f"[bold]{verb}[/]: done before -> {folder}")


class progress:
    """A progress bar in a terminal, a line now and then elsewhere: `with progress(title, total) as advance:`.

    Args:
        title: Name of the work.
        total: Number of steps or rows; None where it is not known.
    """

    def __init__(self, title: str, total: int | None):
        self.title, self.total, self.done, self.note = title, total, 0, ""
        self.shown = time.monotonic()
        self.first: tuple[float, int] | None = None  # when the first steps were done, and how many
        columns = (
            TextColumn("{task.description:>16}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        # Other output goes above the bar, unless `ray_output` has sent it elsewhere.
        shared = console.file is sys.stderr
        self.bar = Progress(
            *columns,
            console=console,
            disable=not console.is_terminal,
            redirect_stdout=shared,
            redirect_stderr=shared,
        )

    def __enter__(self) -> "progress":
        self.bar.start()
        self.task = self.bar.add_task(self.title, total=self.total, note="", rate="")
        return self

    def __call__(self, steps: int = 1, note: str = "") -> None:
        """Advance by some steps; `note` stands behind the bar."""
        now = time.monotonic()
        self.done += steps
        if steps and self.first is None:
            self.first = now, self.done
        rate = self._rate(now)
        self.bar.update(self.task, advance=steps, note=note, rate=f"{rate:,.1f}/s" if rate else "")
        waits_for_another = not self.done and note != self.note
        if not console.is_terminal and (now - self.shown > LINE_S or waits_for_another):
            self.shown = now
            total = "" if self.total is None else f" of {self.total:,}"
            left = f", {(self.total - self.done) / rate:,.0f} s left" if rate and self.total is not None else ""
            pace = f", {rate:,.1f}/s{left}" if rate else ""
            console.print(f"  {self.title}: {self.done:,}{total}{pace}  {note}".rstrip(), highlight=False)
        self.note = note

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def _rate(self, now: float) -> float:
        """Steps per second since the first ones were done: without the start, and without what an earlier run did."""
        if self.first is None or self.done == self.first[1]:
            return 0.0
        return (self.done - self.first[1]) / (now - self.first[0])


class StageTimer:
    """Seconds of each named stage: `with timer("train"):`."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def __call__(self, name: str) -> "StageTimer":
        self.name = name
        return self

    def __enter__(self) -> None:
        self.started = time.monotonic()

    def __exit__(self, *_: object) -> None:
        self.seconds[self.name] = self.seconds.get(self.name, 0.0) + time.monotonic() - self.started
