"""One row by its key, without reading its neighbours."""

import tracemalloc
from pathlib import Path

import pyarrow as pa
import pytest

from m3l.data import keyed_rows, storage
from m3l.data.keyed_rows import Store, open_store

HEAVY = storage.ROW_GROUP_BYTES


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """Two parts; each row fills a row group, and each key has two rows that stand together."""
    for part in (0, 1):
        keys = [f"{part}{key}" for key in "abcdefgh"]
        rows = [{"key": key, "task": task, "body": task.encode() * HEAVY} for key in keys for task in "xy"]
        storage.write_part(pa.Table.from_pylist(rows), str(tmp_path / "rows"), keys)
    return str(tmp_path / "rows")


def test_the_rows_of_a_key_come_in_their_order(folder: str) -> None:
    known = Store(folder, "key")
    assert len(known) == len(known.keys()) == 16
    for key in ("0a", "1h", "0d"):
        assert [(row["key"], row["task"], row["body"][:1]) for row in known[key]] == [
            (key, "x", b"x"),
            (key, "y", b"y"),
        ]


def test_a_key_that_is_not_there(folder: str) -> None:
    known = Store(folder, "key")
    assert "2a" not in known and "1a" in known
    assert known.get("2a") == []
    with pytest.raises(KeyError):
        known["2a"]
    assert len(Store(f"{folder}/absent", "key")) == 0


def test_memory_stays_bounded(folder: str) -> None:
    known = Store(folder, "key")
    keys = known.keys()
    for key in keys:
        assert len(known[key]) == 2
        assert len(known._groups) <= keyed_rows.CACHED_GROUPS


def test_the_index_takes_bytes_and_not_objects(tmp_path: Path) -> None:
    keys = [f"{number:016x}" for number in range(20_000)]
    storage.write_part(pa.table({"key": keys}), str(tmp_path), keys)
    Store(str(tmp_path), "key")  # imports, for the first time
    tracemalloc.start()
    known = Store(str(tmp_path), "key")
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(known) == len(keys) and keys[123] in known
    assert kept < 20 * len(keys)


def test_one_process_indexes_a_folder_once(folder: str) -> None:
    assert open_store(folder, "key") is open_store(folder, "key")
