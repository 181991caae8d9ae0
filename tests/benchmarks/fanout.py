"""The frames stage on Ray against a plain pool of processes that does the same: `python -m tests.benchmarks.fanout`.

Both read the same videos in blocks of the same size, with as many processes, and write the same parts.
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
    count: Annotated[int, typer.Option("--videos", help="of a minute each")] = 24,
    height: Annotated[int, typer.Option(help="of a video, in pixels")] = 360,
    block: Annotated[int, typer.Option(help="videos in a block")] = 2,
    workers: int = 2,
    repeats: Annotated[int, typer.Option(help="of each way, by turns")] = 3,
) -> None:
    """Medians of videos a second, less the start and with it."""
    steady: dict[str, list[float]] = {"plain pool": [], "Ray": []}
    whole: dict[str, list[float]] = {"plain pool": [], "Ray": []}
    for _ in range(repeats):
        for way in steady:
            with tempfile.TemporaryDirectory() as run:
                settings = f"ray.block_media={block}", f"ray.frames_workers={workers}"
                config = videos(Path(run) / "run", count, height, *settings)
                connect(config.ray)  # neither pays for a cluster that is there already
                start = time.monotonic()
                (frames.main if way == "Ray" else plain_pool)(config)
                whole[way].append(count / (time.monotonic() - start))
                steady[way].append(steady_rate(config.paths.of("keyframes"), workers))
    table = Table("way", "videos/s", "all", "with its start", title=f"{count} videos of a minute, {height}p")
    for way, rates in steady.items():
        every = " ".join(f"{rate:.2f}" for rate in rates)
        table.add_row(way, f"{median(rates):.2f}", every, f"{median(whole[way]):.2f}")
    ratio = median(steady["Ray"]) / median(steady["plain pool"])
    mark = "yes" if ratio >= GOAL else "NO"
    Console(width=100).print(table, f"Ray reaches {ratio:.2f} of the plain pool; goal {GOAL}: {mark}")


def plain_pool(config: Config) -> None:
    folder, size = config.paths.of("keyframes"), config.ray.block_media
    rows = list(storage.read_rows(f"{config.paths.of('posts')}/media"))
    blocks = [(folder, rows[start : start + size]) for start in range(0, len(rows), size)]
    with multiprocessing.get_context("spawn").Pool(config.ray.frames_workers, _start, (config,)) as pool:
        for _ in pool.imap_unordered(_read, blocks):
            pass


_reader: KeyFrameReader


def _start(config: Config) -> None:
    global _reader  # a pool has no other place for it
    _reader = KeyFrameReader(config.media, config.paths.media_root)


def _read(block: tuple[str, list[dict]]) -> None:
    folder, rows = block
    table = to_table([_reader(Media.model_validate(row)) for row in rows], KEYFRAMES)
    storage.write_part(table, folder, table["media_id"].to_pylist())


if __name__ == "__main__":
    typer.run(main)
