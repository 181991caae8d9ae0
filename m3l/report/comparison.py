"""Retrievers side by side, as `m3l compare-retrievers` measured them: a table and a picture."""

import re
from typing import Any

from m3l.report import charts
from m3l.report.labels import METRICS, RETRIEVERS, dig, number
from m3l.report.tables import Cell, Table

COLUMNS = ("recall_at_10", "mrr", "shows_both")


def table(comparison: dict[str, Any]) -> Table | None:
    """One row per retriever, the students first; the mean over seeds with their deviation. None without any."""
    names = _names(comparison)
    columns = [metric for metric in COLUMNS if comparison.get(metric)]
    rows = [(label, [_cell(dig(comparison, metric), name) for metric in columns]) for name, label in names.items()]
    return Table("Retrievers", [METRICS[metric] for metric in columns], rows) if rows else None


def picture(comparison: dict[str, Any]) -> str:
    """Recall at 10 of every retriever and seed; an empty string without any."""
    told = comparison.get("recall_at_10") or {}
    rows = [(label, told[name]["seeds"]) for name, label in _names(comparison).items()]
    return charts.dots(rows, METRICS["recall_at_10"]) if rows else ""


def _names(comparison: dict[str, Any]) -> dict[str, str]:
    """What each retriever is called; of the students the best first."""
    told = comparison.get("recall_at_10") or {}
    ordered = sorted(told, key=lambda name: -told[name]["mean"])
    students = {name: _student(name) for name in ordered if name not in RETRIEVERS}
    return students | {name: label for name, label in RETRIEVERS.items() if name in told}


def _student(name: str) -> str:
    found = re.fullmatch(r"bce(.+)-dfr(.+)", name)
    if not found:
        return name
    match found.groups():
        case ("0", _):
            return "DFR only"
        case (_, "0"):
            return "BCE only"
        case (bce, dfr):
            return f"{bce} BCE + {dfr} DFR"
    return name


def _cell(scores: dict[str, Any], name: str) -> Cell:
    if name not in scores:
        return Cell(number(None))
    return Cell(number(scores[name]["mean"]), f"± {number(scores[name]['sd'])}" if scores[name]["sd"] else "")
