"""The held-out posts that an evaluation measures, and where the truth about them is stored."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from m3l.data import storage

HELD_OUT_COLUMNS = ["post_id", "split", "caption", "likes"]
CHUNK_ROWS = 4096


@dataclass(frozen=True)
class HeldOutPosts:
    """The posts of some splits that have every field that is to be predicted.

    Attributes:
        folder: Folder of posts/.
        splits: The splits that are measured.
        heads: What is predicted: "likes", "caption" or both. A post must have these fields.
    """

    folder: str
    splits: tuple[str, ...]
    heads: tuple[str, ...]

    def rows(self, columns: list[str] | None = None) -> Iterator[dict[str, Any]]:
        """The rows of the posts; with `columns` (HELD_OUT_COLUMNS at least) only those."""
        rows = storage.read_rows(self.folder, columns, batch_rows=CHUNK_ROWS)
        return (row for row in rows if self._contains(row))

    def filter_ids(self, block: pa.Table) -> pa.Table:
        """The column `post_id` of the posts among the rows of a block with HELD_OUT_COLUMNS."""
        held_out = [self._contains(row) for row in block.to_pylist()]
        return block.filter(pa.array(held_out, pa.bool_())).select(["post_id"])

    def _contains(self, row: dict[str, Any]) -> bool:
        return row["split"] in self.splits and all(row[head] not in (None, "") for head in self.heads)


def truth_folder(corpus: str) -> str | None:
    """The folder of the truth about a synthetic corpus; None for posts from elsewhere.

    Args:
        corpus: Folder of corpus/.
    """
    folder = f"{corpus}/truth"
    return folder if storage.parts(folder) else None
