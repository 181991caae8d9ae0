"""Ids as hashes of 8 bytes each, so that a process can remember all ids of a long table."""

import hashlib
from collections.abc import Iterable

import numpy as np
from jaxtyping import Int64

RECENT = 2**15  # ids that wait to be sorted among the others


def hash_texts(texts: Iterable[str]) -> Int64[np.ndarray, " texts"]:
    """64 bits of each text's BLAKE2; among a million texts, the chance that any two collide is 1 in 37 million."""
    return np.fromiter(map(hash_text, texts), np.int64)


def hash_text(text: str) -> int:
    """64 bits of a text's BLAKE2 as a signed integer: the same in every process."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little", signed=True)


class IdSet:
    """A set of ids that takes 8 bytes for each; at most RECENT of them are Python objects."""

    def __init__(self) -> None:
        self._sorted = np.empty(0, np.int64)
        self._recent: set[int] = set()

    def add(self, id: str) -> bool:
        """Add an id; whether it is new."""
        value = hash_text(id)
        index = int(np.searchsorted(self._sorted, value))
        if value in self._recent or (index < len(self._sorted) and self._sorted[index] == value):
            return False
        self._recent.add(value)
        if len(self._recent) >= RECENT:
            self._sorted = np.sort(np.append(self._sorted, np.fromiter(self._recent, np.int64)))
            self._recent = set()
        return True
