"""A table in the challenge's columns -> posts/, and beside it rejected/ (every row is in one of the two) and media/.

posts/media/ lists every file that the posts name, once, however many of them share it.
"""

import time
from collections import Counter, deque
from itertools import chain, islice
from typing import Any

import ray

from m3l.config import Config, ConfigError, IngestConfig
from m3l.data import storage
from m3l.data.id_hash import IdSet
from m3l.data.records import Media, Post
from m3l.data.schemas import MEDIA, POSTS, REJECTED, to_table
from m3l.tables.posts import Deduplicator, Rejected, TableError, check_columns, parse_row, read_table
from pipelines.runtime.console import Summary, done_before, progress
from pipelines.runtime.session import connect

CHUNK_ROWS = 2000
IN_FLIGHT = 8  # chunks between the reader and the writer: the driver's memory is bounded by them


def main(config: Config) -> Summary:
    """Parse `config.ingest.table`: ids, dates, captions and media as `records.Post`; duplicates are rejected.

    Raises:
        ConfigError: No table is named, or the folder was written with other settings.
        TableError: The table cannot be read, or lacks a column.
    """
    table, folder = config.ingest.table, config.paths.of("posts")
    if not table:
        raise ConfigError("ingest.table: name the table, e.g. `m3l ingest posts.xlsx runs/x/posts`")
    chunks = read_table(table, CHUNK_ROWS)
    first = next(chunks, [])
    try:
        check_columns(first[0] if first else {}, config.ingest.lacks)
    except TableError as error:
        raise TableError(f"{table}: {error}") from None
    settings = {"seed": config.seed, "ingest": config.ingest.model_dump(mode="json")}
    if done := done_before("ingest", folder, settings, "_summary.json"):
        return Summary("ingest", folder, done["rows_in"], rows_before=done["rows_in"])
    connect(config.ray)
    summary, started = Summary("ingest", folder, 0), time.monotonic()
    parse = ray.remote(num_cpus=0.5)(_parse)
    with progress("ingest", None) as advance:
        seen, waiting, row_number = Deduplicator(), deque[Any](), 0
        listed = IdSet()  # of media: with `seen`, all that grows with the rows
        pending = iter(chain([first] if first else [], chunks))
        while True:
            for rows in islice(pending, IN_FLIGHT - len(waiting)):
                waiting.append((rows, row_number, parse.remote(rows, row_number, config.ingest, config.seed)))
                row_number += len(rows)
            if not waiting:
                break
            rows, number, parsed = waiting.popleft()
            admitted = [
                seen.admit(p, r, number + i) for i, (p, r) in enumerate(zip(ray.get(parsed), rows, strict=True))
            ]
            _write(admitted, folder, number, summary)
            _list_media(admitted, listed, folder, number)
            advance(len(rows))
    summary.seconds = time.monotonic() - started
    return summary.show()


def _write(admitted: list[Post | Rejected], folder: str, number: int, summary: Summary) -> None:
    posts = [item for item in admitted if isinstance(item, Post)]
    rejected = [item for item in admitted if isinstance(item, Rejected)]
    if posts:
        storage.write_part(to_table(posts, POSTS), folder, [str(number)])
    if rejected:
        storage.write_part(to_table(rejected, REJECTED), f"{folder}/rejected", [str(number)])
    summary.rows_in += len(admitted)
    summary.rows_out += len(posts)
    summary.errors += Counter(item.reason.split(":")[0] for item in rejected)


def _list_media(admitted: list[Post | Rejected], listed: IdSet, folder: str, number: int) -> None:
    """Write the media that are named here first."""
    new: dict[str, Media] = {}
    for post in admitted:
        for media in post.media if isinstance(post, Post) else ():
            if listed.add(media.media_id):
                new[media.media_id] = media
    if new:
        rows = [{"media_id": name, **media.model_dump()} for name, media in new.items()]
        storage.write_part(to_table(rows, MEDIA), f"{folder}/media", [str(number)])


def _parse(rows: list[dict[str, Any]], number: int, config: IngestConfig, seed: int) -> list[Post | Rejected]:
    return [parse_row(row, number + i, config, seed) for i, row in enumerate(rows)]


if __name__ == "__main__":
    from pipelines.cli import run

    run(main)
