"""What workers began and never ended: how a row that kills each worker which reads it is told from its neighbours."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from m3l.data import storage


class Attempts:
    """Attempts at rows, kept as small files in a folder, local or `s3://`: they outlive a worker that dies."""

    def __init__(self, folder: str):
        self.folder = folder

    def unended(self, ids: Sequence[str]) -> int:
        """How many attempts at these rows have begun since one came to an end."""
        return int(storage.read_text(self._path(ids)) or 0)

    @contextmanager
    def attempt(self, ids: Sequence[str]) -> Iterator[None]:
        """One more; its end makes them none, also by an exception, which the driver hears of."""
        storage.write_text(self._path(ids), str(self.unended(ids) + 1))
        try:
            yield
        finally:
            storage.remove(self._path(ids))

    def _path(self, ids: Sequence[str]) -> str:
        return f"{self.folder}/{storage.name_of(ids)}"
