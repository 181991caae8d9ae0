"""The posts that an evaluation measures, and what is true of them."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from m3l import storage
from m3l.config import Config
from pipelines.examples import masked_fields

NEEDED = ["post_id", "split", "caption", "likes"]


def held_out(config: Config, columns: list[str] | None = None) -> Iterator[dict[str, Any]]:
    """The rows of posts/ that are measured, a few at a time; `columns` (NEEDED among them), or all of each."""
    found = storage.read_rows(config.paths.of("posts"), columns, batch_rows=4096)
    return (row for row in found if is_held_out(row, config))


def is_held_out(row: dict[str, Any], config: Config) -> bool:
    """Whether a post is of one of the splits, with all that the tasks are to tell."""
    known = {"caption": bool(row["caption"]), "likes": row["likes"] is not None}
    return row["split"] in config.evaluate.splits and all(known.get(name, True) for name in masked_fields(config))


def only_held_out(block: pa.Table, config: Config) -> pa.Table:
    """The ids of the posts of a block (NEEDED) that are measured."""
    kept = [is_held_out(row, config) for row in block.to_pylist()]
    return block.filter(pa.array(kept, pa.bool_())).select(["post_id"])


def truth_of(config: Config) -> str | None:
    """The folder of what is true of the posts; None where that is not known."""
    folder = f"{config.paths.of('corpus')}/truth"
    return folder if storage.parts(folder) else None
