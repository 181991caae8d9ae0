"""The cost of one video in the frames stage with ten times as many videos: `python -m tests.benchmarks.growth`."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from pipelines import frames
from pipelines.runtime.session import connect
from tests.benchmarks.listing import steady_rate, videos


def main(
    smallest: Annotated[int, typer.Option(help="number of videos of one minute; then ten times as many")] = 12,
    height: Annotated[int, typer.Option(help="height of the videos in pixels")] = 180,
    block: Annotated[int, typer.Option(help="videos per block")] = 2,
    workers: Annotated[int, typer.Option(help="number of processes")] = 2,
) -> None:
    """Print seconds per video, over all workers, from their first part to the last one."""
    table = Table("videos", "seconds per video", "rows out", title=f"{workers} workers, {height}p")
    seconds = []
    for count in (smallest, 10 * smallest):
        with tempfile.TemporaryDirectory() as run:
            settings = f"ray.block_media={block}", f"ray.frames_workers={workers}"
            config = videos(Path(run) / "run", count, height, *settings)
            connect(config.ray)
            summary = frames.main(config)
            seconds.append(1 / steady_rate(config.paths.of("keyframes"), workers))
            table.add_row(str(count), f"{seconds[-1]:.3f}", str(summary.rows_out))
    Console(width=100).print(
        table, f"with ten times as many videos, one costs {seconds[1] / seconds[0]:.2f} of what it did"
    )


if __name__ == "__main__":
    typer.run(main)
