"""Predictions as files that people open."""

import csv
import json
from pathlib import Path

import openpyxl
import pyarrow.parquet as pq
import pytest

from m3l.config import ConfigError
from m3l.tables.write import COLUMNS, write_table

ROWS = [
    {
        "id": "1",
        "likes": 7.5,
        "likes_low": 2.0,
        "likes_high": 20.0,
        "caption": 'a "fox",\nin snow é',
        "cold_account": True,
        "error": None,
    },
    {
        "id": "2",
        "likes": None,
        "likes_low": None,
        "likes_high": None,
        "caption": "=1+1",
        "cold_account": None,
        "error": "rejected: no date",
    },
]


def read(path: Path) -> list[dict]:
    match path.suffix:
        case ".csv":
            with path.open(newline="", encoding="utf-8") as source:
                return list(csv.DictReader(source))
        case ".xlsx":
            head, *rows = openpyxl.load_workbook(path)["predictions"].values
            return [dict(zip(head, row, strict=True)) for row in rows]
        case ".jsonl":
            return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        case _:
            return pq.read_table(path).to_pylist()


@pytest.mark.parametrize("extension", [".csv", ".xlsx", ".jsonl", ".parquet"])
def test_every_row_and_column_is_written(tmp_path: Path, extension: str) -> None:
    path = tmp_path / "new" / f"predictions{extension}"
    write_table(iter(ROWS), str(path))
    table = read(path)
    assert [tuple(row) for row in table] == [COLUMNS] * 2
    assert [row["id"] for row in table] == ["1", "2"]
    assert (float(table[0]["likes"]), table[0]["caption"]) == (7.5, ROWS[0]["caption"])
    assert table[1]["likes"] in (None, "")
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("extension", [".csv", ".xlsx"])
@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t"])
def test_a_spreadsheet_runs_no_caption_as_a_formula(tmp_path: Path, extension: str, start: str) -> None:
    path = tmp_path / f"predictions{extension}"
    write_table([{**ROWS[1], "caption": f"{start}cmd"}], str(path))
    assert read(path)[0]["caption"] == f"'{start}cmd"


def test_an_unknown_extension_is_an_error_that_lists_the_supported_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"predict\.out: cannot write '\.xls', use one of \.csv, \.xlsx"):
        write_table(ROWS, str(tmp_path / "predictions.xls"))


@pytest.mark.parametrize("extension", [".csv", ".jsonl", ".parquet"])
def test_a_failed_write_leaves_the_old_file(tmp_path: Path, extension: str) -> None:
    path = tmp_path / f"predictions{extension}"
    write_table(ROWS, str(path))
    before = path.read_bytes()

    def broken():
        yield ROWS[0]
        raise RuntimeError("the model is gone")

    with pytest.raises(RuntimeError):
        write_table(broken(), str(path))
    assert path.read_bytes() == before
