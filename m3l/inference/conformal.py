"""Split-conformal prediction intervals of likes (arXiv 2107.07511), from residuals on held-out posts.

Known and cold accounts are calibrated separately (Mondrian conformal prediction): predictions are far less certain
without the account's name or past likes.
"""

import math
from typing import Literal

import numpy as np
from jaxtyping import Float

from m3l.data.records import Record

LEVELS = (50, 80, 95)  # nominal coverage of the intervals, in percent
MIN_ROWS_FOR_95 = 19  # fewer calibration rows give no interval of level 95
ROUNDING = 1e-9  # tolerance for cumulative weights that rounding leaves just below a level


class HalfWidths(Record):
    """Half the width of each interval of a group, in log(1 + likes); None where it has too few rows for the level."""

    rows: int = 0  # calibration posts, or accounts where each account has the same weight
    half: dict[int, float | None] = dict.fromkeys(LEVELS)


class Intervals(Record):
    """Half-widths for known and for cold accounts; `cold_rows` says which posts calibrated the cold ones."""

    known: HalfWidths = HalfWidths()
    cold: HalfWidths = HalfWidths()
    cold_rows: Literal["cold", "hidden"] = "cold"  # hidden: posts of known accounts, with the account's name removed

    def half(self, level: int, cold: bool) -> float | None:
        """Half the width of the interval of a level, in log(1 + likes); None where it could not be calibrated."""
        return (self.cold if cold else self.known).half[level]


def half_widths(residuals: Float[np.ndarray, " row"], weights: Float[np.ndarray, " row"] | None = None) -> HalfWidths:
    """The half-widths that cover a new row with at least the probability of each level.

    Args:
        residuals: Actual minus predicted log(1 + likes) of held-out rows.
        weights: Weight of each row, 1 by default (weighted conformal prediction, arXiv 1904.06019). A new row has
            weight 1, so weights that sum to 1 within each account give all accounts the same weight.

    Returns:
        The half-width of each of LEVELS, and the sum of the weights as `rows`.
    """
    errors = np.abs(residuals)
    order, weights = np.argsort(errors), np.ones(len(errors)) if weights is None else weights
    cumulative = np.cumsum(weights[order]) / (weights.sum() + 1)
    ranks = {level: int(np.searchsorted(cumulative, level / 100 - ROUNDING)) for level in LEVELS}
    half = {level: float(errors[order[rank]]) if rank < len(errors) else None for level, rank in ranks.items()}
    return HalfWidths(rows=round(float(weights.sum())), half=half)


def expected_coverage(level: int, calibration_rows: int, test_rows: int) -> tuple[float, float]:
    """The range in which 95% of measured coverages lie if calibration and test rows are exchangeable.

    Args:
        level: Nominal coverage of the interval, in percent.
        calibration_rows: Number of rows that the interval was calibrated on.
        test_rows: Number of rows that the coverage is measured on.

    Returns:
        The 2.5% and 97.5% quantiles of the coverage, as shares (beta-binomial distribution).
    """
    from scipy.stats import betabinom  # here, because prediction alone does not need it

    rank = math.ceil((calibration_rows + 1) * level / 100)
    low, high = betabinom.ppf([0.025, 0.975], test_rows, rank, calibration_rows + 1 - rank) / test_rows
    return float(low), float(high)
