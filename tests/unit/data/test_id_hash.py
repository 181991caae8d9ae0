"""A set of ids takes little memory, and hashes depend on the text alone."""

import tracemalloc

import numpy as np
import pytest

from m3l.data import id_hash
from m3l.data.id_hash import IdSet, hash_texts


@pytest.fixture(autouse=True)
def small_recent_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(id_hash, "RECENT", 2**12)


def test_an_id_is_new_only_once() -> None:
    seen, count = IdSet(), id_hash.RECENT + 5
    assert all(seen.add(str(number)) for number in range(count))
    assert not any(seen.add(str(number)) for number in (0, 1, count // 2, count - 1))
    assert seen.add("another")


def test_many_ids_take_little_more_than_eight_bytes_each() -> None:
    seen, count = IdSet(), 8 * id_hash.RECENT
    tracemalloc.start()
    for number in range(count):
        seen.add(str(number))
    used_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert used_bytes < 10 * count


def test_hashes_depend_on_the_text_alone() -> None:
    np.testing.assert_array_equal(hash_texts(["a", "b", "a"])[[0, 1]], hash_texts(iter(["a", "b"])))
    assert len(set(hash_texts(map(str, range(1000))).tolist())) == 1000
