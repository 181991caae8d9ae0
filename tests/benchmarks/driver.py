"""The driver's memory in ingest and frames with ten times as many posts: `python -m tests.benchmarks.driver`.

Ten posts share each tiny picture, so that the driver's bookkeeping is what grows.
"""

import csv
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from m3l.config import load
from pipelines import frames, ingest
from pipelines.runtime.session import connect

POSTS_PER_PICTURE = 10
COLUMNS = ("id", "date", "likes", "content", "username", "media", "inferred company")


def main(
    posts: Annotated[int, typer.Option(help="posts in the larger table; the smaller one has a tenth")] = 100_000,
    table_path: Annotated[Path | None, typer.Option("--table", hidden=True)] = None,
) -> None:
    """Print the peak resident memory of the driver process alone."""
    if table_path:
        print(json.dumps(_drive(table_path)))
        return
    table = Table("posts", "connected, MiB", "after ingest", "after frames", title="peak memory of the driver")
    peaks = []
    for count in (posts // 10, posts):
        with tempfile.TemporaryDirectory() as run:
            command = [sys.executable, "-m", "tests.benchmarks.driver", "--table", str(_write(Path(run), count))]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            peaks.append(json.loads(done.stdout.splitlines()[-1]))
            table.add_row(f"{count:,}", *(f"{peak:.0f}" for peak in peaks[-1]))
    growth = peaks[1][-1] - peaks[0][-1]
    Console(width=100).print(table, f"{growth:.0f} MiB more for {posts - posts // 10:,} more posts")


def _write(run: Path, posts: int) -> Path:
    """A table with the challenge's columns, and one picture under many names in media/."""
    (run / "media").mkdir()
    cv2.imwrite(str(run / "media" / "0.jpg"), np.zeros((16, 16, 3), np.uint8))
    for number in range(1, posts // POSTS_PER_PICTURE):
        os.link(run / "media" / "0.jpg", run / "media" / f"{number}.jpg")
    with (run / "posts.csv").open("w", newline="") as sink:
        writer = csv.writer(sink)
        writer.writerow(COLUMNS)
        for number in range(posts):
            picture = f"[Photo(previewUrl='', fullUrl='{number // POSTS_PER_PICTURE}.jpg')]"
            text = f"{number} stories of a brand and what it sells"
            writer.writerow([number, "2020-07-19 00:07:00", number % 500, text, f"a{number % 99}", picture, "brand"])
    return run / "posts.csv"


def _drive(table: Path) -> list[float]:
    run = table.parent
    config = load("tiny", [f"paths.run={run}/run", f"paths.media_root={run}/media", f"ingest.table={table}"])
    connect(config.ray)
    peaks = [_peak_mib()]
    for verb in (ingest, frames):
        summary = verb.main(config)
        assert summary.rows_out == summary.rows_in and not summary.errors
        peaks.append(_peak_mib())
    return peaks


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    typer.run(main)
