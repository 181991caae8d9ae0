"""The frames stage on Ray against a plain process pool with the same work: `python -m tests.benchmarks.fanout`.

Both read the same videos in blocks of the same size, with the same number of processes, and write the same parts.
"""

import multiprocessing
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from m3l.config import Config
from m3l.data import storage
from m3l.data.records import Media
from m3l.data.schemas import KEYFRAMES, to_table
from m3l.media.reader import KeyFrameReader
from pipelines import frames
from pipelines.runtime.session import connect
from tests.benchmarks.listing import steady_rate, videos

GOAL = 0.9


def main(
    count: Annotated[int, typer.Option("--videos", help="number of videos of one minute")] = 24,
    height: Annotated[int, typer.Option(help="height of the videos in pixels")] = 360,
    block: Annotated[int, typer.Option(help="videos per block")] = 2,
    workers: Annotated[int, typer.Option(help="number of processes")] = 2,
    repeats: Annotated[int, typer.Option(help="measurements of each variant, interleaved")] = 3,
) -> None:
    """Print the median of videos per second for each variant, without and with its start-up."""
    steady: dict[str, list[float]] = {"plain pool": [], "Ray": []}
    with_start: dict[str, list[float]] = {"plain pool": [], "Ray": []}
    for _ in range(repeats):
        for variant in steady:
            with tempfile.TemporaryDirectory() as run:
                settings = f"ray.block_media={block}", f"ray.frames_workers={workers}"
                config = videos(Path(run) / "run", count, height, *settings)
                connect(config.ray)  # so that neither variant pays for starting the cluster
                start = time.monotonic()
                (frames.main if variant == "Ray" else plain_pool)(config)
                with_start[variant].append(count / (time.monotonic() - start))
                steady[variant].append(steady_rate(config.paths.of("keyframes"), workers))
    table = Table("variant", "videos/s", "all", "with start-up", title=f"{count} videos of a minute, {height}p")
    for variant, rates in steady.items():
        all_rates = " ".join(f"{rate:.2f}" for rate in rates)
        table.add_row(variant, f"{median(rates):.2f}", all_rates, f"{median(with_start[variant]):.2f}")
    ratio = median(steady["Ray"]) / median(steady["plain pool"])
    mark = "yes" if ratio >= GOAL else "NO"
    Console(width=100).print(table, f"Ray reaches {ratio:.2f} of the plain pool; goal {GOAL}: {mark}")


def plain_pool(config: Config) -> None:
    """Extract the key frames of all media with a pool of processes, in place of the frames stage."""
    folder, size = config.paths.of("keyframes"), config.ray.block_media
    rows = list(storage.read_rows(f"{config.paths.of('posts')}/media"))
    blocks = [(folder, rows[start : start + size]) for start in range(0, len(rows), size)]
    with multiprocessing.get_context("spawn").Pool(config.ray.frames_workers, _start, (config,)) as pool:
        for _ in pool.imap_unordered(_read, blocks):
            pass


_reader: KeyFrameReader


def _start(config: Config) -> None:
    global _reader  # a pool offers no other place for state
    _reader = KeyFrameReader(config.media, config.paths.media_root)


def _read(block: tuple[str, list[dict]]) -> None:
    folder, rows = block
    table = to_table([_reader(Media.model_validate(row)) for row in rows], KEYFRAMES)
    storage.write_part(table, folder, table["media_id"].to_pylist())


if __name__ == "__main__":
    typer.run(main)
