"""An evaluation as one page that anyone can open: pictures first, tables second."""

from m3l.report.build import build_report
from m3l.report.schema import Evaluation

__all__ = ["Evaluation", "build_report"]
