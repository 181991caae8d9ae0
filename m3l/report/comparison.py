"""The comparison of retrievers that `m3l compare-retrievers` measured: a table and a chart."""

import re
from typing import Any

from m3l.report import charts
from m3l.report.labels import METRICS, RETRIEVERS, dig, number
from m3l.report.tables import Cell, Table

COLUMNS = ("recall_at_10", "mrr", "shows_both")


def table(comparison: dict[str, Any]) -> Table | None:
    """One row per retriever, the students first: means over seeds and standard deviations. None without data."""
    names = _names(comparison)
    columns = [metric for metric in COLUMNS if comparison.get(metric)]
    rows = [(label, [_cell(dig(comparison, metric), name) for metric in columns]) for name, label in names.items()]
    return Table("Retrievers", [METRICS[metric] for metric in columns], rows) if rows else None


def picture(comparison: dict[str, Any]) -> str:
    """Recall@10 of every retriever and seed; an empty string without data."""
    recall = comparison.get("recall_at_10") or {}
    rows = [(label, recall[name]["seeds"]) for name, label in _names(comparison).items()]
    return charts.dots(rows, METRICS["recall_at_10"]) if rows else ""


def _names(comparison: dict[str, Any]) -> dict[str, str]:
    """The label of each retriever; the students come first, the best on top."""
    recall = comparison.get("recall_at_10") or {}
    ordered = sorted(recall, key=lambda name: -recall[name]["mean"])
    students = {name: _student(name) for name in ordered if name not in RETRIEVERS}
    return students | {name: label for name, label in RETRIEVERS.items() if name in recall}


def _student(name: str) -> str:
    """The label of a student, by its weights of the two losses."""
    weights = re.fullmatch(r"bce(.+)-dfr(.+)", name)
    if not weights:
        return name
    match weights.groups():
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
