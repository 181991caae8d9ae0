"""Input for the frames stage (one clip under many names, in the tables that ingest writes), and its output rate."""

import os
import shutil
from pathlib import Path

import pyarrow.parquet as pq

from m3l.config import Config, load
from m3l.data import storage
from m3l.data.records import media_id
from m3l.data.schemas import MEDIA, to_table
from tests.benchmarks.footage import footage


def videos(run: Path, count: int, height: int, *settings: str) -> Config:
    """The configuration of a new run whose posts refer to videos of one minute.

    Args:
        run: The run's folder.
        count: Number of videos.
        height: Of the videos, in pixels.
        settings: More settings, as `section.field=value`.
    """
    media = run / "media"
    media.mkdir(parents=True)
    shutil.copy(footage(height, "lively"), media / "0.mp4")
    for number in range(1, count):
        os.link(media / "0.mp4", media / f"{number}.mp4")
    names = [f"{number}.mp4" for number in range(count)]
    rows = [{"media_id": media_id(name), "kind": "video", "url": name} for name in names]
    config = load("tiny", [f"paths.run={run}", f"paths.media_root={media}", *settings])
    posts = config.paths.of("posts")
    storage.write_part(to_table(rows, MEDIA), f"{posts}/media", ["0"])
    storage.write_json(f"{posts}/_summary.json", {"rows_in": count})
    return config


def steady_rate(folder: str, workers: int) -> float:
    """Rows per second after start-up: from the time when each worker has written its first part to the last part.

    Args:
        folder: The parts.
        workers: How many processes wrote them.
    """
    written = sorted((Path(part).stat().st_mtime, pq.read_metadata(part).num_rows) for part in storage.parts(folder))
    later = written[workers:]
    return sum(rows for _, rows in later) / (written[-1][0] - written[workers - 1][0])
