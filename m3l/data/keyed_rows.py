"""Random access to a folder of parts by key: an index of the keys in memory, the rows read from disk on demand."""

from collections import OrderedDict
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from jaxtyping import Int32, Int64

from m3l.data import storage
from m3l.data.id_hash import hash_texts

CACHED_GROUPS = 8  # row groups in memory; a heavy folder has one row in each


class KeyedRows:
    """`rows[key]` reads the rows of a key, in the order in which they were written; KeyError if there are none.

    Opening reads only the key column, of which 16 bytes a key stay in memory. The rows of one key must be adjacent.

    Args:
        folder: A folder of parts; one that is missing has no keys.
        key: Name of the key column.
    """

    def __init__(self, folder: str, key: str):
        self.folder, self.key = folder, key
        self._fs, _ = storage.locate(folder)
        self._parts = storage.parts(folder)
        self._groups: OrderedDict[tuple[int, int], list[dict[str, Any]]] = OrderedDict()
        self._hashes, self._locations = self._index()

    def __len__(self) -> int:
        return len(self._hashes)

    def __contains__(self, key: str) -> bool:
        return self._locate(key) is not None

    def __getitem__(self, key: str) -> list[dict[str, Any]]:
        location = self._locate(key)
        if location is None:
            raise KeyError(key)
        part, group = location
        # The rows of one key are adjacent, in one row group or in the next ones.
        result: list[dict[str, Any]] = []
        while group < self._open_part(part).num_row_groups:
            rows = [row for row in self._read_group(part, group) if row[self.key] == key]
            if result and not rows:
                break
            result, group = result + rows, group + 1
        return result

    def get(self, key: str) -> list[dict[str, Any]]:
        """The rows of a key; empty if there are none."""
        return self[key] if key in self else []  # noqa: SIM401 (it is this very `get`)

    def keys(self) -> list[str]:
        """Every key, in the order of parts and rows."""
        return list(dict.fromkeys(storage.read_column(self.folder, self.key)))

    def _index(self) -> tuple[Int64[np.ndarray, " keys"], Int32[np.ndarray, "keys 2"]]:
        """The hashes of the keys in ascending order, and the part and row group in which each key begins."""
        hashes, locations = [], []
        for part, path in enumerate(self._parts):
            with self._fs.open_input_file(path) as source:
                reader = pq.ParquetFile(source)
                for group in range(reader.num_row_groups):
                    values = hash_texts(reader.read_row_group(group, columns=[self.key])[self.key].to_pylist())
                    hashes.append(values)
                    locations.append(np.full((len(values), 2), (part, group), np.int32))
        if not hashes:
            return np.empty(0, np.int64), np.empty((0, 2), np.int32)
        unique, first = np.unique(np.concatenate(hashes), return_index=True)
        return unique, np.concatenate(locations)[first]

    def _locate(self, key: str) -> tuple[int, int] | None:
        """The part and row group in which a key begins, or None."""
        (value,) = hash_texts([key])
        index = int(np.searchsorted(self._hashes, value))
        if index == len(self._hashes) or self._hashes[index] != value:
            return None
        part, group = self._locations[index].tolist()
        return part, group

    def _open_part(self, part: int) -> pq.ParquetFile:
        return _open(self.folder, self._parts[part])

    def _read_group(self, part: int, group: int) -> list[dict[str, Any]]:
        location = (part, group)
        if location not in self._groups:
            self._groups[location] = self._open_part(part).read_row_group(group).to_pylist()
            while len(self._groups) > CACHED_GROUPS:
                self._groups.popitem(last=False)
        return self._groups[location]


@lru_cache(maxsize=16)
def _open(folder: str, path: str) -> pq.ParquetFile:
    fs, _ = storage.locate(folder)
    return pq.ParquetFile(fs.open_input_file(path))


@lru_cache(maxsize=8)
def open_rows(folder: str, key: str) -> KeyedRows:
    """The `KeyedRows` of a folder, shared in the process: the index is built once, not for every block."""
    return KeyedRows(folder, key)
