"""What is kept in mind of ids: which came before, in bytes that are counted."""

import tracemalloc

import numpy as np

from m3l.data import id_hash
from m3l.data.id_hash import Seen, hashes


def test_an_id_is_new_once() -> None:
    seen, count = Seen(), id_hash.RECENT + 5
    assert all(seen.add(str(number)) for number in range(count))
    assert not any(seen.add(str(number)) for number in (0, 1, count // 2, count - 1))
    assert seen.add("another")


def test_many_ids_take_little_more_than_eight_bytes_each() -> None:
    seen, count = Seen(), 8 * id_hash.RECENT
    tracemalloc.start()
    for number in range(count):
        seen.add(str(number))
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 10 * count


def test_hashes_are_of_the_text_alone() -> None:
    np.testing.assert_array_equal(hashes(["a", "b", "a"])[[0, 1]], hashes(iter(["a", "b"])))
    assert len(set(hashes(map(str, range(1000))).tolist())) == 1000
