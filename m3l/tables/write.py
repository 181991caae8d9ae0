"""Predictions as a csv, xlsx, jsonl or parquet table, written in a stream."""

import csv
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq

from m3l.config import ConfigError
from m3l.data import storage

COLUMNS = ("id", "likes", "likes_low", "likes_high", "caption", "cold_account", "error")
TYPES = {"likes": pa.float64(), "likes_low": pa.float64(), "likes_high": pa.float64(), "cold_account": pa.bool_()}
SCHEMA = pa.schema([(name, TYPES.get(name, pa.string())) for name in COLUMNS])
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet would run a cell that starts with one of these


def check_format(path: str) -> None:
    """Raise ConfigError if `write_table` cannot write a file with this extension."""
    extension = Path(path).suffix
    if extension not in _writers():
        raise ConfigError(f"predict.out: cannot write {extension!r}, use one of {', '.join(_writers())} or a folder")


def write_table(rows: Iterable[dict[str, Any]], path: str) -> None:
    """Write a table of predictions, as a whole or not at all.

    Args:
        rows: Dictionaries with the keys COLUMNS.
        path: A local or `s3://` file whose extension is one of .csv, .xlsx, .jsonl and .parquet.

    Raises:
        ConfigError: The file has another extension.
    """
    check_format(path)
    write = _writers()[Path(path).suffix]
    if "://" in path:
        with tempfile.TemporaryDirectory() as folder:
            write(iter(rows), f"{folder}/table")
            storage.copy(f"{folder}/table", path)
        return
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    partial = f"{path}.partial"
    write(iter(rows), partial)
    Path(partial).replace(path)


def _writers() -> dict[str, Callable[[Iterator[dict[str, Any]], str], None]]:
    return {".csv": _csv, ".xlsx": _xlsx, ".jsonl": _jsonl, ".parquet": _parquet}


def _csv(rows: Iterator[dict[str, Any]], path: str) -> None:
    with Path(path).open("w", newline="", encoding="utf-8") as sink:
        writer = csv.writer(sink)
        writer.writerow(COLUMNS)
        writer.writerows([_safe(row[name]) for name in COLUMNS] for row in rows)


def _xlsx(rows: Iterator[dict[str, Any]], path: str) -> None:
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("predictions")
    sheet.append(COLUMNS)
    for row in rows:
        sheet.append([_safe(row[name]) for name in COLUMNS])
    book.save(path)


def _jsonl(rows: Iterator[dict[str, Any]], path: str) -> None:
    with Path(path).open("w", encoding="utf-8") as sink:
        sink.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _parquet(rows: Iterator[dict[str, Any]], path: str) -> None:
    with pq.ParquetWriter(path, SCHEMA) as writer:
        while chunk := list(islice(rows, 4096)):
            writer.write_table(pa.Table.from_pylist(chunk, schema=SCHEMA))


def _safe(cell: Any) -> Any:
    """The cell, quoted if a spreadsheet would run it as a formula."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else cell
