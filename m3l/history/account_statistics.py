"""A table with statistics of accounts, over posts that are not at hand -> what is known of each account before all."""

import math
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from m3l.data.records import Prior
from m3l.history.timeline import Timeline
from m3l.tables.read import Row, TableError, read_table

COLUMNS = {
    "username": ("username",),
    "mean": ("average", "mean"),
    "median": ("median",),
    "low": ("min",),
    "high": ("max",),
}


def read_priors(path: str, until: datetime, chunk_rows: int = 2000) -> Iterator[list[dict[str, Any]]]:
    """Rows of TIMELINES, one for each account of the table, in chunks; rows that cannot be read are left out.

    Raises TableError where a column is missing.
    """
    for chunk in read_table(path, chunk_rows):
        columns = _columns(path, chunk[0])
        yield [made.row() for row in chunk if (made := _timeline(row, columns, until))]


def _columns(path: str, row: Row) -> dict[str, str]:
    spelled = {str(name).strip().lower(): name for name in row}
    found = {ours: next((spelled[t] for t in theirs if t in spelled), None) for ours, theirs in COLUMNS.items()}
    if missing := [repr(COLUMNS[ours][0]) for ours, name in found.items() if name is None]:
        raise TableError(f"{path}: missing column {', '.join(missing)}: found {', '.join(map(repr, row))}")
    return {ours: str(name) for ours, name in found.items()}


def _timeline(row: Row, columns: dict[str, str], until: datetime) -> Timeline | None:
    try:
        name = str(row[columns["username"]]).strip()
        told = {ours: math.log1p(float(row[columns[ours]])) for ours in ("mean", "median", "low", "high")}
        if not name or not all(map(math.isfinite, told.values())):
            return None
    except (TypeError, ValueError):
        return None
    return Timeline(name, (), Prior(until=until if until.tzinfo else until.replace(tzinfo=UTC), **told))
