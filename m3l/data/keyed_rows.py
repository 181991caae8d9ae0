"""Random access to a folder of parts by key: an index of the keys in memory, the rows on disk until asked for."""

from collections import OrderedDict
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from jaxtyping import Int32, Int64

from m3l.data import storage
from m3l.data.id_hash import hashes

CACHED_GROUPS = 8  # row groups kept in memory; a heavy folder has one row in each


class Store:
    """`store[key]` gives the rows of a key, in the order in which they were written; KeyError if there are none.

    Opening reads the key column alone, of which 16 bytes a key stay in memory.
    """

    def __init__(self, folder: str, key: str):
        self.folder, self.key = folder, key
        self._fs, _ = storage.locate(folder)
        self._parts = storage.parts(folder)
        self._groups: OrderedDict[tuple[int, int], list[dict[str, Any]]] = OrderedDict()
        self._hashes, self._at = self._index()

    def _index(self) -> tuple[Int64[np.ndarray, " keys"], Int32[np.ndarray, "keys 2"]]:
        """The hashes of the keys, rising, and the part and row group in which each begins."""
        found, places = [], []
        for part, path in enumerate(self._parts):
            with self._fs.open_input_file(path) as source:
                reader = pq.ParquetFile(source)
                for group in range(reader.num_row_groups):
                    values = hashes(reader.read_row_group(group, columns=[self.key])[self.key].to_pylist())
                    found.append(values)
                    places.append(np.full((len(values), 2), (part, group), np.int32))
        if not found:
            return np.empty(0, np.int64), np.empty((0, 2), np.int32)
        unique, first = np.unique(np.concatenate(found), return_index=True)
        return unique, np.concatenate(places)[first]

    def __len__(self) -> int:
        return len(self._hashes)

    def __contains__(self, key: str) -> bool:
        return self._place(key) is not None

    def get(self, key: str) -> list[dict[str, Any]]:
        """The rows of a key; empty if there are none."""
        return self[key] if key in self else []  # noqa: SIM401 (it is this very `get`)

    def keys(self) -> list[str]:
        """Every key, in the order of parts and rows."""
        return list(dict.fromkeys(storage.read_column(self.folder, self.key)))

    def _place(self, key: str) -> tuple[int, int] | None:
        (value,) = hashes([key])
        at = int(np.searchsorted(self._hashes, value))
        if at == len(self._hashes) or self._hashes[at] != value:
            return None
        part, group = self._at[at].tolist()
        return part, group

    def __getitem__(self, key: str) -> list[dict[str, Any]]:
        place = self._place(key)
        if place is None:
            raise KeyError(key)
        part, group = place
        # The rows of one key stand together, in one row group or in the next ones.
        found: list[dict[str, Any]] = []
        while group < self._group_count(part):
            rows = [row for row in self._group(part, group) if row[self.key] == key]
            if found and not rows:
                break
            found, group = found + rows, group + 1
        return found

    def _group_count(self, part: int) -> int:
        return int(self._reader(part).num_row_groups)

    def _reader(self, part: int) -> pq.ParquetFile:
        return _open(self.folder, self._parts[part])

    def _group(self, part: int, group: int) -> list[dict[str, Any]]:
        at = (part, group)
        if at not in self._groups:
            self._groups[at] = self._reader(part).read_row_group(group).to_pylist()
            while len(self._groups) > CACHED_GROUPS:
                self._groups.popitem(last=False)
        return self._groups[at]


@lru_cache(maxsize=16)
def _open(folder: str, path: str) -> pq.ParquetFile:
    fs, _ = storage.locate(folder)
    return pq.ParquetFile(fs.open_input_file(path))


@lru_cache(maxsize=8)
def open_store(folder: str, key: str) -> Store:
    """One store per process and folder: the index is built once, not for every block."""
    return Store(folder, key)
