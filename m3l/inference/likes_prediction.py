"""Predicted likes with their calibrated intervals."""

from typing import NamedTuple

import numpy as np

from m3l.data.records import Interval
from m3l.inference.conformal import LEVELS, Intervals

DEFAULT_LEVEL = 80  # percent: the level of `likes_low` and `likes_high`


class LikesPrediction(NamedTuple):
    """Predicted likes of a post, with the intervals that the bundle is calibrated for."""

    likes: float
    intervals: tuple[Interval, ...]

    @classmethod
    def of(cls, log1p: float, calibrated: Intervals, cold: bool) -> "LikesPrediction":
        """The prediction on the scale of likes.

        Args:
            log1p: Predicted log(1 + likes).
            calibrated: Half-widths of the intervals.
            cold: Whether the account is a cold one, whose intervals are wider.
        """
        halves = {level: calibrated.half(level, cold) for level in LEVELS}
        intervals = tuple(
            Interval(level=level, low=_likes(log1p - half), high=_likes(log1p + half))
            for level, half in halves.items()
            if half is not None
        )
        return cls(_likes(log1p), intervals)

    @property
    def range(self) -> tuple[float | None, float | None]:
        """The lower and upper end of the interval of DEFAULT_LEVEL; both None if there is none."""
        return next(((i.low, i.high) for i in self.intervals if i.level == DEFAULT_LEVEL), (None, None))


def _likes(log1p: float) -> float:
    return float(np.expm1(max(log1p, 0.0)))
