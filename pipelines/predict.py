"""bundle/ + a table of posts -> predictions: likes and caption of every row, its id and its place kept."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray
from ray.data import Dataset

from m3l.config import Config, ConfigError, parse
from m3l.data import storage
from m3l.data.keyed_rows import Store
from m3l.data.records import Post
from m3l.data.schemas import to_table
from m3l.data.storage import claim
from m3l.inference.bundle import HISTORY as HISTORY_FOLDER
from m3l.tables.posts import TableError, check_columns, parse_row, read_table
from m3l.tables.write import COLUMNS, check_format, write_table
from pipelines.runtime.console import Summary
from pipelines.runtime.session import connect
from pipelines.runtime.stage import todo, write
from pipelines.workers.history import KNOWN, remember
from pipelines.workers.predict import ANSWERED, Answer

CHUNK_ROWS = 2000
BLOCK_POSTS = 16
QUEUED = pa.schema([pa.field("row", pa.string()), ("id", pa.string()), ("post", pa.binary()), ("error", pa.string())])


def main(config: Config) -> Summary:
    """Predict every row of `predict.table` into `predict.out`: a .csv, .xlsx, .jsonl or .parquet file, or a folder."""
    table, out = config.predict.table, config.predict.out
    if not table or not out:
        raise ConfigError("predict: name what to read and to write, `m3l predict BUNDLE POSTS OUT`")
    folder = out
    if Path(out).suffix:
        check_format(out)
        folder = f"{out}.parts"
    claim(folder, {"bundle": config.paths.of("bundle"), "table": table, "known": config.history.known})
    queue = f"{folder}/queue"
    for chunk in _queue(table, config):
        storage.write_part(to_table(chunk, QUEUED), queue, [chunk[0]["row"]])
    done = list(storage.read_column(folder, "row"))
    summary = Summary("predict", folder, storage.count_rows(queue), rows_before=len(done))
    connect(config.ray)
    queued = ray.data.read_parquet(storage.parts(queue), filesystem=storage.locate(queue)[0])
    past = _remembered(queued, config, folder)
    answered = (
        todo(queued, "row", done)
        .repartition(target_num_rows_per_block=BLOCK_POSTS)
        .map_batches(
            Answer,
            fn_constructor_args=(config, past),
            batch_format="pyarrow",
            batch_size=None,
            num_cpus=config.ray.model_cpus,
            num_gpus=config.ray.model_gpus or None,
            compute=ray.data.ActorPoolStrategy(size=config.ray.predict_workers),
        )
    )
    write(answered, folder, ANSWERED, "row", summary)
    if out != folder:
        write_table(_in_order(folder), out)
    return summary.show()


def _remembered(queued: Dataset, config: Config, folder: str) -> str | None:
    """The folder of the table's histories, where its own earlier rows count as known; else the bundle's memory does."""
    bundle = config.paths.of("bundle")
    made = parse(storage.read_text(f"{bundle}/config.yaml") or "")
    if not made.model.history or config.history.known != "earlier":
        return None
    past, rows = f"{folder}/history", storage.count_rows(f"{folder}/queue")
    summary = Summary("history", past, rows, rows_before=storage.count_rows(past))
    posts = queued.map_batches(_known, batch_format="pyarrow", batch_size=None, zero_copy_batch=True)
    remember(posts, rows, past, f"{bundle}/{HISTORY_FOLDER}", made.history, summary).show()
    return past


def _known(block: pa.Table) -> pa.Table:
    """The posts of a queue by their rows, as `remember` takes them."""
    rows = [(row["row"], Post.model_validate_json(row["post"])) for row in block.to_pylist() if row["post"]]
    told = [
        {**post.model_dump(), "key": row, "known": post.likes is not None and post.posted_at is not None}
        for row, post in rows
    ]
    return pa.Table.from_pylist(told, schema=KNOWN)


def _queue(table: str, config: Config) -> Iterator[list[dict[str, Any]]]:
    number = 0
    for chunk in read_table(table, CHUNK_ROWS):
        if number == 0:
            try:
                check_columns(chunk[0], config.ingest.lacks)
            except TableError as error:
                raise TableError(f"{table}: {error}") from None
        yield [_queued(row, number + i, config) for i, row in enumerate(chunk)]
        number += len(chunk)


def _queued(row: dict[str, Any], number: int, config: Config) -> dict[str, Any]:
    parsed = parse_row(row, number, config.ingest, config.seed)
    queued: dict[str, Any] = {"row": f"{number:010d}", "id": None, "post": None, "error": None}
    if isinstance(parsed, Post):
        return queued | {"id": parsed.post_id, "post": parsed.model_dump_json().encode()}
    return queued | {"id": parsed.id or "", "error": f"rejected: {parsed.reason}"}


def _in_order(folder: str) -> Iterator[dict[str, Any]]:
    answered = Store(folder, "row")
    for row in sorted(answered.keys()):
        told = answered[row][0]
        yield {
            "id": told["post_id"],
            **{name: told[name] for name in COLUMNS[1:]},
        }


if __name__ == "__main__":
    from pipelines.cli import run

    run(main)
