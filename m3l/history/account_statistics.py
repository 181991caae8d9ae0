"""A table with statistics of accounts, over posts that are not in the data -> the prior of each account."""

import math
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from m3l.config.time import as_utc
from m3l.data.records import Prior
from m3l.history.timeline import Timeline
from m3l.tables.read import Row, TableError, read_table

COLUMNS = {  # our name -> the names of the column in tables, in order of preference
    "username": ("username",),
    "mean": ("average", "mean"),
    "median": ("median",),
    "low": ("min",),
    "high": ("max",),
}


def read_priors(path: str, until: datetime, chunk_rows: int = 2000) -> Iterator[list[dict[str, Any]]]:
    """Rows of TIMELINES, one for each account of the table; rows that cannot be read are left out.

    Args:
        path: A table with COLUMNS; the statistics are in likes, on their natural scale.
        until: The moment from which the statistics may be used: all posts behind them are older.
        chunk_rows: Number of rows that are read and returned at a time.

    Raises:
        TableError: A column is missing, or the table cannot be read.
    """
    for chunk in read_table(path, chunk_rows):
        columns = _columns(path, chunk[0])
        yield [timeline.to_row() for row in chunk if (timeline := _timeline(row, columns, as_utc(until)))]


def _columns(path: str, row: Row) -> dict[str, str]:
    """Our name of each column -> the table's."""
    by_name = {str(name).strip().lower(): name for name in row}
    columns = {ours: next((by_name[t] for t in theirs if t in by_name), None) for ours, theirs in COLUMNS.items()}
    if missing := [repr(COLUMNS[ours][0]) for ours, name in columns.items() if name is None]:
        raise TableError(f"{path}: missing column {', '.join(missing)}: found {', '.join(map(repr, row))}")
    return {ours: str(name) for ours, name in columns.items()}


def _timeline(row: Row, columns: dict[str, str], until: datetime) -> Timeline | None:
    """The account of a row with its prior and no posts; None if the row has no name or a cell is not a number."""
    try:
        name = str(row[columns["username"]]).strip()
        levels = {ours: math.log1p(float(row[columns[ours]])) for ours in ("mean", "median", "low", "high")}
    except (TypeError, ValueError):
        return None
    if not name or not all(map(math.isfinite, levels.values())):
        return None
    return Timeline(name, (), Prior(until=until, **levels))
