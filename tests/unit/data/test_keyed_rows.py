"""Rows are read by key, without their neighbours."""

import tracemalloc
from pathlib import Path

import pyarrow as pa
import pytest

from m3l.data import keyed_rows, storage
from m3l.data.keyed_rows import KeyedRows, open_rows

HEAVY = storage.ROW_GROUP_BYTES


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """Two parts; each row fills a row group, and each key has two adjacent rows."""
    for part in (0, 1):
        keys = [f"{part}{key}" for key in "abcdefgh"]
        rows = [{"key": key, "task": task, "body": task.encode() * HEAVY} for key in keys for task in "xy"]
        storage.write_part(pa.Table.from_pylist(rows), str(tmp_path / "rows"), keys)
    return str(tmp_path / "rows")


def test_rows_of_a_key_are_in_the_order_in_which_they_were_written(folder: str) -> None:
    rows = KeyedRows(folder, "key")
    assert len(rows) == len(rows.keys()) == 16
    for key in ("0a", "1h", "0d"):
        assert [(row["key"], row["task"], row["body"][:1]) for row in rows[key]] == [
            (key, "x", b"x"),
            (key, "y", b"y"),
        ]


def test_a_missing_key_has_no_rows(folder: str) -> None:
    rows = KeyedRows(folder, "key")
    assert "2a" not in rows and "1a" in rows
    assert rows.get("2a") == []
    with pytest.raises(KeyError):
        rows["2a"]
    assert len(KeyedRows(f"{folder}/absent", "key")) == 0


def test_memory_stays_bounded(folder: str) -> None:
    rows = KeyedRows(folder, "key")
    keys = rows.keys()
    for key in keys:
        assert len(rows[key]) == 2
        assert len(rows._groups) <= keyed_rows.CACHED_GROUPS


def test_the_index_holds_16_bytes_for_each_key_and_no_objects(tmp_path: Path) -> None:
    keys = [f"{number:016x}" for number in range(20_000)]
    storage.write_part(pa.table({"key": keys}), str(tmp_path), keys)
    KeyedRows(str(tmp_path), "key")  # imports, for the first time
    tracemalloc.start()
    rows = KeyedRows(str(tmp_path), "key")
    used_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(rows) == len(keys) and keys[123] in rows
    assert used_bytes < 20 * len(keys)


def test_a_process_indexes_a_folder_once(folder: str) -> None:
    assert open_rows(folder, "key") is open_rows(folder, "key")
