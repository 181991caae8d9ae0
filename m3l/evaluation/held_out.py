"""The posts that an evaluation measures, and what is true of them."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from m3l.config import Config
from m3l.data import storage

NEEDED = ["post_id", "split", "caption", "likes"]


def held_out(config: Config, columns: list[str] | None = None) -> Iterator[dict[str, Any]]:
    """The rows of posts/ that are measured, a few at a time; `columns` (NEEDED among them), or all of each."""
    found = storage.read_rows(config.paths.of("posts"), columns, batch_rows=4096)
    heads = heads_of(config)
    return (row for row in found if is_held_out(row, config.evaluate.splits, heads))


def heads_of(config: Config) -> tuple[str, ...]:
    """What is told of a post: its likes, its caption, or both, and that it must have to be measured.

    A task that writes another field leaves its figures on the caption alone.
    """
    return tuple(head for head in ("likes", "caption") if any(task.head == head for task in config.tasks))


def is_held_out(row: dict[str, Any], splits: tuple[str, ...], heads: tuple[str, ...]) -> bool:
    """Whether a post is of one of the splits, with all that is to be told."""
    return row["split"] in splits and all(row[head] not in (None, "") for head in heads)


def only_held_out(block: pa.Table, splits: tuple[str, ...], heads: tuple[str, ...]) -> pa.Table:
    """The ids of the posts of a block (NEEDED) that are measured."""
    kept = [is_held_out(row, splits, heads) for row in block.to_pylist()]
    return block.filter(pa.array(kept, pa.bool_())).select(["post_id"])


def truth_of(config: Config) -> str | None:
    """The folder of what is true of the posts; None where that is not known."""
    folder = f"{config.paths.of('corpus')}/truth"
    return folder if storage.parts(folder) else None
