"""Counts attempts that never ended, to find the row of a block that kills every worker."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from m3l.data import storage


class Attempts:
    """Counts of attempts at rows, as small files in a folder that outlive a worker that dies.

    Args:
        folder: Where the counts are, local or `s3://`.
    """

    def __init__(self, folder: str):
        self.folder = folder

    def unfinished(self, ids: Sequence[str]) -> int:
        """How many attempts at these rows have begun since one ended."""
        return int(storage.read_text(self._path(ids)) or 0)

    @contextmanager
    def attempt(self, ids: Sequence[str]) -> Iterator[None]:
        """Count one attempt while the block runs; its end resets the count, also by an exception, which Ray reports."""
        storage.write_text(self._path(ids), str(self.unfinished(ids) + 1))
        try:
            yield
        finally:
            storage.remove(self._path(ids))

    def _path(self, ids: Sequence[str]) -> str:
        return f"{self.folder}/{storage.short_hash(ids)}"
