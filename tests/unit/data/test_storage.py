"""Folders of parts are written as a whole or not at all, replaced without duplicates, and read in a stream."""

import hashlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from m3l.data import storage


def table(start: int, stop: int, size: int = 4) -> pa.Table:
    return pa.table(
        {"id": [str(i) for i in range(start, stop)], "body": [bytes([i]) * size for i in range(start, stop)]}
    )


def write(folder: Path, rows: pa.Table) -> str:
    return storage.write_part(rows, str(folder), rows["id"].to_pylist())


def test_a_part_is_replaced_by_one_with_the_same_key(tmp_path: Path) -> None:
    first = write(tmp_path / "a", table(0, 3, size=4))
    assert write(tmp_path / "a", table(0, 3, size=8)) == first
    write(tmp_path / "a", table(3, 5))
    assert [row["id"] for row in storage.read_rows(str(tmp_path / "a"))].count("0") == 1
    assert {len(row["body"]) for row in storage.read_rows(str(tmp_path / "a"))} == {4, 8}
    assert storage.count_rows(str(tmp_path / "a")) == 5
    assert len(storage.parts(str(tmp_path / "a"))) == 2


def test_a_write_that_fails_leaves_the_old_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = write(tmp_path, table(0, 3))

    def broken(rows: pa.Table, path: str, **settings: object) -> None:
        Path(path).write_bytes(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(storage.pq, "write_table", broken)
    with pytest.raises(OSError, match="no space"):
        write(tmp_path, table(0, 3, size=9))
    assert storage.parts(str(tmp_path)) == [target]
    assert pq.read_table(target) == table(0, 3)


def test_each_heavy_row_has_its_own_row_group(tmp_path: Path) -> None:
    heavy = write(tmp_path / "heavy", table(0, 6, size=2 * storage.ROW_GROUP_BYTES))
    light = write(tmp_path / "light", table(0, 200))
    assert pq.ParquetFile(heavy).num_row_groups == 6
    assert pq.ParquetFile(light).num_row_groups == 1


def test_rows_are_read_in_the_order_of_parts_a_few_at_a_time(tmp_path: Path) -> None:
    for start in (0, 50):
        write(tmp_path, table(start, start + 50))
    rows = list(storage.read_rows(str(tmp_path), ["id"], batch_rows=7))
    assert all(list(row) == ["id"] for row in rows)
    assert [row["id"] for row in rows] == list(storage.read_column(str(tmp_path), "id"))
    assert {row["id"] for row in rows} == {str(i) for i in range(100)}


def test_a_missing_folder_is_empty(tmp_path: Path) -> None:
    absent = str(tmp_path / "absent")
    assert storage.parts(absent) == list(storage.read_rows(absent)) == []
    assert storage.count_rows(absent) == 0
    assert storage.read_json(f"{absent}/a.json") is None


def test_small_files_are_replaced_as_a_whole(tmp_path: Path) -> None:
    path = str(tmp_path / "deep" / "facts.json")
    storage.write_json(path, {"é": 1})
    storage.write_json(path, {"é": [2]})
    assert storage.read_json(path) == {"é": [2]}
    assert [file.name for file in (tmp_path / "deep").iterdir()] == ["facts.json"]


def test_folders_and_files_are_copied(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "a.txt").write_text("a")
    storage.upload(tmp_path / "source", str(tmp_path / "up" / "there"))
    storage.copy(str(tmp_path / "up" / "there" / "a.txt"), str(tmp_path / "one" / "b.txt"))
    assert storage.read_text(str(tmp_path / "one" / "b.txt")) == "a"
    assert storage.local_copy(str(tmp_path / "up"), tmp_path / "unused") == tmp_path / "up"
    assert storage.local_copy(str(tmp_path / "up")) == tmp_path / "up"
    assert storage.folders(str(tmp_path)) == ["one", "source", "up"]


def test_a_digest_covers_all_bytes_of_all_files(tmp_path: Path) -> None:
    for name, body in (("a", b"1" * 3_000_000), ("b", b"2")):
        (tmp_path / name).write_bytes(body)
    sha256 = storage.digest(f"{tmp_path}/a", f"{tmp_path}/b")
    assert sha256 == hashlib.sha256(b"1" * 3_000_000 + b"2").hexdigest()
    with pytest.raises(FileNotFoundError):
        storage.digest(f"{tmp_path}/c")


def test_a_uri_selects_its_filesystem(tmp_path: Path) -> None:
    target = storage.write_part(table(0, 2), f"file://{tmp_path}/a", ["0", "1"])
    assert target.startswith(str(tmp_path))
    assert storage.count_rows(str(tmp_path / "a")) == 2
