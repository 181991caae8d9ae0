import gzip
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from m3l.tables.read import DAMAGED, TableError, read_table

ROWS: list[dict[str, Any]] = [
    {"id": "0012", "content": 'One, "two"\n\nthree 🎟️ <hyperlink>', "likes": "3"},
    {"id": "13", "content": "Tea &amp; toast; <mention>", "likes": "0"},
    {"id": "14", "content": "", "likes": "5"},
]


def rows(path: object, chunk_rows: int = 5000) -> list[dict[str, Any]]:
    return [row for chunk in read_table(str(path), chunk_rows) for row in chunk]


def csv_text(delimiter: str = ",") -> str:
    quoted = [['"' + value.replace('"', '""') + '"' for value in row.values()] for row in ROWS]
    return "".join(delimiter.join(cells) + "\r\n" for cells in [list(ROWS[0]), *quoted])


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
def test_csv_in_common_dialects(tmp_path: Path, delimiter: str, start: bytes) -> None:
    data = start + csv_text(delimiter).encode()
    (tmp_path / "posts.csv").write_bytes(data)
    (tmp_path / "POSTS.CSV.GZ").write_bytes(gzip.compress(data))
    assert rows(tmp_path / "posts.csv") == ROWS
    assert rows(tmp_path / "POSTS.CSV.GZ") == ROWS
    assert rows((tmp_path / "posts.csv").as_uri()) == ROWS


def test_xlsx_keeps_types_and_pads_short_rows(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    for cells in (
        ["id", "date", "likes"],
        [12, datetime(2020, 1, 2, 3, 4, 5), None],
        [],
        [13, "2020-01-02", 5, "x"],
    ):
        book.active.append(cells)
    book.save(tmp_path / "posts.xlsx")
    first, second = rows(tmp_path / "posts.xlsx")
    assert first == {"id": 12, "date": datetime(2020, 1, 2, 3, 4, 5), "likes": None}
    assert second[DAMAGED] == "4 cells in 3 columns"


def test_parquet_file_and_folder_of_parts(tmp_path: Path) -> None:
    for n in range(3):
        pq.write_table(pa.Table.from_pylist([ROWS[n]]), tmp_path / f"part-{n}.parquet")
    (tmp_path / "_settings.json").write_text("{}")
    assert rows(tmp_path) == ROWS
    assert rows(tmp_path / "part-1.parquet") == ROWS[1:2]


def test_chunks_have_the_requested_size_and_the_same_columns_in_each_row(tmp_path: Path) -> None:
    lines = [json.dumps({"id": n} | ({"likes": n} if n % 2 else {})) for n in range(25)]
    (tmp_path / "posts.jsonl").write_text("\n\n".join(lines))
    chunks = list(read_table(str(tmp_path / "posts.jsonl"), 10))
    assert [len(chunk) for chunk in chunks] == [10, 10, 5]
    assert all(row.keys() == {"id", "likes"} for chunk in chunks for row in chunk)


def test_a_damaged_row_has_a_reason_and_the_rest_is_read(tmp_path: Path) -> None:
    (tmp_path / "posts.csv").write_bytes(b"id,content\n1,a\n2\n\n3,c,,\n4,d,e\n5,caf\xe9\n6," + b"x" * 500_000)
    damaged = rows(tmp_path / "posts.csv")
    assert [row.get(DAMAGED) for row in damaged] == [
        None,
        "1 cells in 2 columns",
        None,
        "3 cells in 2 columns",
        None,
        None,
    ]
    (tmp_path / "posts.jsonl").write_text('{"id": 1}\n[1]\n{"id": 2\n' + "[" * 100_000 + '\n{"id": 3}')
    damaged = rows(tmp_path / "posts.jsonl")
    assert [DAMAGED in row for row in damaged] == [False, True, True, True, False]


def test_a_file_that_cannot_be_read_is_an_error_of_one_line(tmp_path: Path) -> None:
    whole = gzip.compress(csv_text().encode() * 500, mtime=0)
    openpyxl.Workbook().save(tmp_path / "none.xlsx")
    workbook = (tmp_path / "none.xlsx").read_bytes()
    cases = {
        "empty.csv": (b"", "is empty"),
        "header.csv": (b"id,date\n", "no rows"),
        "twice.csv": (b"id,id\n1,2\n", "two columns are named 'id'"),
        "posts.xls": (b"x", "not a .csv"),
        "cut.csv.gz": (whole[:-20], "cannot be read"),
        "text.csv.gz": (b"id,date\n1,2\n", "cannot be read"),
        "none.xlsx": (workbook, "no rows"),
        "cut.xlsx": (workbook[:900], "cannot be read"),
        "text.parquet": (b"id,date", "cannot be read"),
    }
    for name, (data, reason) in cases.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(TableError, match=reason) as error:
            rows(tmp_path / name)
        assert name in str(error.value) and "\n" not in str(error.value)
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "absent.csv", tmp_path / "folder", "nowhere://a/b.csv"):
        with pytest.raises(TableError):
            read_table(str(path))


def test_an_unclosed_quote_does_not_swallow_a_large_file(tmp_path: Path) -> None:
    (tmp_path / "posts.csv").write_bytes(b'id,content\n1,"' + b"x" * (17 * 2**20))
    with pytest.raises(TableError, match="field limit"):
        rows(tmp_path / "posts.csv")
