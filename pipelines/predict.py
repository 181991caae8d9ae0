"""bundle/ + a table of posts -> predictions: likes and caption of every row, with its id and in its order."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from m3l.config import Config, ConfigError, parse
from m3l.data import storage
from m3l.data.folder_settings import check_settings
from m3l.data.keyed_rows import KeyedRows
from m3l.data.records import Post
from m3l.data.schemas import to_table
from m3l.inference.bundle import HISTORY as HISTORY_FOLDER
from m3l.tables.posts import TableError, check_columns, parse_row, read_table
from m3l.tables.write import COLUMNS, check_format, write_table
from pipelines.runtime.console import Summary
from pipelines.runtime.session import connect
from pipelines.runtime.stage import Resources, Stage, read_parts
from pipelines.workers.history import PAST_POSTS, write_histories
from pipelines.workers.predict import PREDICTION_ROWS, PredictPosts

CHUNK_ROWS = 2000
BLOCK_POSTS = 16
QUEUED = pa.schema([pa.field("row", pa.string()), ("id", pa.string()), ("post", pa.binary()), ("error", pa.string())])


def main(config: Config) -> Summary:
    """Predict every row of `predict.table` into `predict.out`: a .csv, .xlsx, .jsonl or .parquet file, or a folder.

    Raises:
        ConfigError: A path is missing, the format is unknown, or the folder was written with other settings.
        TableError: The table lacks a column.
    """
    table, out = config.predict.table, config.predict.out
    if not table or not out:
        raise ConfigError("predict: name what to read and to write, `m3l predict BUNDLE POSTS OUT`")
    folder = out
    if Path(out).suffix:
        check_format(out)
        folder = f"{out}.parts"
    check_settings(folder, {"bundle": config.paths.of("bundle"), "table": table, "known": config.history.known})
    queue = f"{folder}/queue"
    for chunk in _queue(table, config):
        storage.write_part(to_table(chunk, QUEUED), queue, [chunk[0]["row"]])
    connect(config.ray)
    summary = Stage(
        name="predict",
        input=queue,
        rows=storage.count_rows(queue),
        key="row",
        worker=PredictPosts,
        arguments=(config, _history(queue, config, folder)),
        output=folder,
        schema=PREDICTION_ROWS,
        resources=Resources(config.ray.model_cpus, config.ray.model_gpus, pool=config.ray.predict_workers),
        block_rows=BLOCK_POSTS,
    ).run(config.ray)
    if out != folder:
        write_table(_in_order(folder), out)
    return summary


def _history(queue: str, config: Config, folder: str) -> str | None:
    """The folder of the table's histories, if its own earlier rows count; None where the bundle's histories do."""
    bundle = config.paths.of("bundle")
    trained = parse(storage.read_text(f"{bundle}/config.yaml") or "")
    if not trained.model.history or config.history.known != "earlier":
        return None
    history, rows = f"{folder}/history", storage.count_rows(queue)
    summary = Summary("history", history, rows, rows_before=storage.count_rows(history))
    posts = read_parts(queue).map_batches(_past_posts, batch_format="pyarrow", batch_size=None, zero_copy_batch=True)
    write_histories(posts, f"{bundle}/{HISTORY_FOLDER}", trained.history, summary).show()
    return history


def _past_posts(block: pa.Table) -> pa.Table:
    """The posts of a queue as `write_histories` takes them; the row is their key."""
    rows = [(row["row"], Post.model_validate_json(row["post"])) for row in block.to_pylist() if row["post"]]
    posts = [
        {**post.model_dump(), "key": row, "counts": post.likes is not None and post.posted_at is not None}
        for row, post in rows
    ]
    return pa.Table.from_pylist(posts, schema=PAST_POSTS)


def _queue(table: str, config: Config) -> Iterator[list[dict[str, Any]]]:
    """The rows of the table as QUEUED, a chunk at a time."""
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
    """The predictions in the order of the table."""
    predictions = KeyedRows(folder, "row")
    for row in sorted(predictions.keys()):
        prediction = predictions[row][0]
        yield {"id": prediction["post_id"], **{name: prediction[name] for name in COLUMNS[1:]}}


if __name__ == "__main__":
    from pipelines.cli import run

    run(main)
