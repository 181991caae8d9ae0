"""What a video costs as their number grows tenfold: `python -m tests.benchmarks.growth`."""

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
    smallest: Annotated[int, typer.Option(help="videos of a minute; then ten times as many")] = 12,
    height: Annotated[int, typer.Option(help="of a video, in pixels")] = 180,
    block: Annotated[int, typer.Option(help="videos in a block")] = 2,
    workers: int = 2,
) -> None:
    """Seconds a video, of all workers together, from their first part to the last."""
    table = Table("videos", "seconds a video", "rows out", title=f"{workers} workers, {height}p")
    each = []
    for count in (smallest, 10 * smallest):
        with tempfile.TemporaryDirectory() as run:
            settings = f"ray.block_media={block}", f"ray.frames_workers={workers}"
            config = videos(Path(run) / "run", count, height, *settings)
            connect(config.ray)
            summary = frames.main(config)
            each.append(1 / steady_rate(config.paths.of("keyframes"), workers))
            table.add_row(str(count), f"{each[-1]:.3f}", str(summary.rows_out))
    Console(width=100).print(table, f"ten times as many: {each[1] / each[0]:.2f} of the cost of one video")


if __name__ == "__main__":
    typer.run(main)
