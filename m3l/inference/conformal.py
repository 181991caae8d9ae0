"""Split-conformal intervals of likes (arXiv 2107.07511): how wrong the model was on posts that taught it nothing.

Accounts that training knows and cold ones have intervals of their own (Mondrian groups): without an account's name
and past likes are far less sure.
"""

import math
from typing import Literal

import numpy as np
from jaxtyping import Float

from m3l.data.records import Record

LEVELS = (50, 80, 95)  # percent of posts whose likes shall lie inside
ENOUGH = 19  # rows from which on an interval of 95% can be told

ROUNDING = 1e-9  # for sums that rounding has left just below a level

Residuals = Float[np.ndarray, " row"]


class Widths(Record):
    """Of one group, half of each interval in log(1 + likes); None where its `rows` are too few to tell."""

    rows: int = 0  # or accounts, where each of them counts alike
    half: dict[int, float | None] = dict.fromkeys(LEVELS)


class Intervals(Record):
    """Both groups; `cold_rows` says whose posts stood for those of cold accounts."""

    known: Widths = Widths()
    cold: Widths = Widths()
    cold_rows: Literal["cold", "hidden"] = "cold"  # hidden: known accounts, whose names the model did not get to see

    def half(self, level: int, cold: bool) -> float | None:
        return (self.cold if cold else self.known).half[level]


def widths(residuals: Residuals, weights: Residuals | None = None) -> Widths:
    """From true minus told log(1 + likes) of held-out rows: inside lies a new row with at least the level's chance.

    With weights a new row counts 1 (arXiv 1904.06019): those of an account that sum to 1 make each account count alike.
    """
    off = np.abs(residuals)
    order, weights = np.argsort(off), np.ones(len(off)) if weights is None else weights
    reached = np.cumsum(weights[order]) / (weights.sum() + 1)
    ranks = {level: int(np.searchsorted(reached, level / 100 - ROUNDING)) for level in LEVELS}
    half = {level: float(off[order[rank]]) if rank < len(off) else None for level, rank in ranks.items()}
    return Widths(rows=round(float(weights.sum())), half=half)


def by_chance(level: int, rows: int, measured: int) -> tuple[float, float]:
    """Where 95% of measured coverages lie, of intervals made from `rows` rows and measured on others, all alike."""
    from scipy.stats import betabinom  # here, since those who only answer do without it

    rank = math.ceil((rows + 1) * level / 100)
    low, high = betabinom.ppf([0.025, 0.975], measured, rank, rows + 1 - rank) / measured
    return float(low), float(high)
