"""Ids in 8 bytes each: what a process keeps in mind of a table of any length."""

import hashlib
from collections.abc import Iterable

import numpy as np
from jaxtyping import Int64

RECENT = 2**15  # ids that wait to be sorted among the others


def hashes(ids: Iterable[str]) -> Int64[np.ndarray, " ids"]:
    """64 bits of each id's BLAKE2; of a million ids, two are the same once in 37 million times."""
    return np.fromiter(map(hash_of, ids), np.int64)


class Seen:
    """The ids that came before: 8 bytes each, and no more than RECENT as Python's objects."""

    def __init__(self) -> None:
        self._sorted = np.empty(0, np.int64)
        self._recent: set[int] = set()

    def add(self, id: str) -> bool:
        """Whether the id is new."""
        value = hash_of(id)
        at = int(np.searchsorted(self._sorted, value))
        if value in self._recent or (at < len(self._sorted) and self._sorted[at] == value):
            return False
        self._recent.add(value)
        if len(self._recent) >= RECENT:
            self._sorted = np.sort(np.append(self._sorted, np.fromiter(self._recent, np.int64)))
            self._recent = set()
        return True


def hash_of(text: str) -> int:
    """64 bits of a text's BLAKE2 as a signed integer: the same in every process."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little", signed=True)
