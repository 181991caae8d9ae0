"""Tables of any format as a stream of rows, under the table's own column names."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import chain, islice
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from m3l.config import ConfigError
from m3l.data import storage

Row = dict[str, Any]

DAMAGED = "(unread)"  # the key under which a row that cannot be read has the reason
MAX_CELL = 16 * 2**20  # characters; a longer cell is an unclosed quote that swallows the file, or not text


class TableError(ConfigError):
    """A table that cannot be used; the message is one line with the file and the reason."""


def read_table(path: str, chunk_rows: int = 5000) -> Iterator[list[Row]]:
    """The rows of a table in chunks. A damaged row is not an error: it has the reason under `DAMAGED`.

    Args:
        path: A csv, tsv, jsonl (all three also .gz), xlsx or parquet file, or a folder of parquet parts; local or
            `s3://`.
        chunk_rows: Number of rows in a chunk.

    Raises:
        TableError: At once if the file is missing, is empty or has an unknown format; while reading if the rest of the
            file cannot be read.
    """
    try:
        fs, target = storage.locate(path)
        info = fs.get_file_info(target)
    except (OSError, pa.ArrowException) as error:
        raise TableError(f"{path}: {_line(error)}") from None
    if info.type == pafs.FileType.NotFound:
        raise TableError(f"{path}: no such file")
    if info.is_file and not info.size:
        raise TableError(f"{path}: the file is empty")
    return _chunks(path, _rows(path, fs, info), chunk_rows)


def _rows(path: str, fs: pafs.FileSystem, info: pafs.FileInfo) -> Iterator[Row]:
    if not info.is_file:
        if parts := storage.parts(path):
            return _parquet(fs, parts)
        raise TableError(f"{path}: no .parquet parts in this folder")
    match info.base_name.lower().removesuffix(".gz").rpartition(".")[2]:
        case "csv" | "tsv":
            return _csv(fs, info.path)
        case "jsonl":
            return _jsonl(fs, info.path)
        case "xlsx":
            return _xlsx(fs, info.path)
        case "parquet":
            return _parquet(fs, [info.path])
    raise TableError(f"{path}: not a .csv, .tsv or .jsonl (also .gz), .xlsx or .parquet file")


def _chunks(path: str, rows: Iterator[Row], chunk_rows: int) -> Iterator[list[Row]]:
    count = 0
    try:
        while chunk := list(islice(rows, chunk_rows)):
            # Lines of JSON may omit fields: within a chunk, every row gets the same columns.
            names = dict.fromkeys(name for row in chunk for name in row if name != DAMAGED)
            yield [row if len(row) == len(names) else {**dict.fromkeys(names), **row} for row in chunk]
            count += len(chunk)
    except TableError as error:
        raise TableError(f"{path}: {error}") from None
    except Exception as error:  # openpyxl raises all kinds of errors on a damaged workbook
        raise TableError(f"{path}: cannot be read beyond row {count:,}: {_line(error)}") from None
    if not count:
        raise TableError(f"{path}: there are no rows in it")


def _csv(fs: pafs.FileSystem, path: str) -> Iterator[Row]:
    csv.field_size_limit(MAX_CELL)  # the default of 128 kB would end the file at a long cell
    with _text(fs, path) as text:
        first = text.readline(MAX_CELL)
        delimiter = max(",;\t", key=first.count)  # Excel writes `;` in locales with a decimal comma
        lines = csv.reader(chain([first], _lines(text)), delimiter=delimiter)
        yield from _under_header(cells for cells in lines if cells)


def _xlsx(fs: pafs.FileSystem, path: str) -> Iterator[Row]:
    import openpyxl  # here, because few tables are workbooks and importing it is slow

    with fs.open_input_file(path) as source:
        sheet: Any = openpyxl.load_workbook(source, read_only=True, data_only=True).worksheets[0]
        sheet.reset_dimensions()  # some programs write wrong ones, which would truncate the rows
        lines = (_trimmed(cells) for cells in sheet.iter_rows(values_only=True))
        yield from _under_header((cells for cells in lines if cells), pad=True)


def _trimmed(cells: Sequence[Any]) -> list[Any]:
    return list(cells[: max((i for i, cell in enumerate(cells, 1) if cell is not None), default=0)])


def _under_header(lines: Iterable[list[Any]], pad: bool = False) -> Iterator[Row]:
    """Rows of cells under the names of the first line.

    Args:
        lines: The cells of each line.
        pad: Whether a line may have fewer cells than the first one; otherwise such a row is damaged.

    Raises:
        TableError: Two columns have the same name.
    """
    lines = iter(lines)
    names = ["" if name is None else str(name) for name in next(lines, [])]
    if repeated := {name for name in names if name and names.count(name) > 1}:
        raise TableError(f"two columns are named {min(repeated)!r}")
    for cells in lines:
        row = dict(zip(names, cells, strict=False))
        too_many = any(cell not in ("", None) for cell in cells[len(names) :])
        if too_many or (len(cells) < len(names) and not pad):
            row[DAMAGED] = f"{len(cells)} cells in {len(names)} columns"
        yield row


def _jsonl(fs: pafs.FileSystem, path: str) -> Iterator[Row]:
    with _text(fs, path) as text:
        for line in filter(str.strip, _lines(text)):
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                row = None
            yield row if isinstance(row, dict) else {DAMAGED: f"not a JSON object: {line[:2000].strip()}"}


def _parquet(fs: pafs.FileSystem, paths: list[str]) -> Iterator[Row]:
    for path in paths:
        with fs.open_input_file(path) as source:
            for batch in pq.ParquetFile(source).iter_batches(batch_size=1024):
                yield from batch.to_pylist()


def _text(fs: pafs.FileSystem, path: str) -> io.TextIOWrapper:
    """The file as text; bytes that are not UTF-8 become surrogates, so that only their row is rejected."""
    stream = fs.open_input_stream(path, compression="gzip" if path.lower().endswith(".gz") else None)
    return io.TextIOWrapper(stream, "utf-8-sig", "surrogateescape", newline="")


def _lines(text: io.TextIOWrapper) -> Iterator[str]:
    """Lines of at most MAX_CELL characters: a file without line ends must not fill the memory."""
    return iter(partial(text.readline, MAX_CELL), "")


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
