"""The bootstrap of figures that are sums over posts: how far they would move with other posts of the same kind.

Each post counts Poisson(1) times in a round instead of being drawn with replacement (arXiv 1312.5021): the same for
all but the smallest samples, and every round of every figure is one product of matrices.
"""

from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Float, UInt8

Column = Float[np.ndarray, " post"]
Rounds = Float[np.ndarray, " round"]
CHUNK = 8192  # posts multiplied at once


class Draws:
    """How often each post counts: once in round 0, at random in the `rounds` after it. A byte a post and round.

    All figures of the same posts share the draws, so that their differences can be compared round by round.
    """

    def __init__(self, posts: int, rounds: int, seed: int):
        self.times: UInt8[np.ndarray, "round post"] = np.ones((rounds + 1, posts), np.uint8)
        rng = np.random.default_rng(seed)
        for times in self.times[1:]:  # one at a time: as numbers of 8 bytes they are many
            times[:] = rng.poisson(1, posts)

    def sums(self, values: Column) -> Rounds:
        """The sum over the posts, in each round."""
        starts = range(0, len(values), CHUNK)
        parts = (self.times[:, at : at + CHUNK].astype(np.float64) @ values[at : at + CHUNK] for at in starts)
        return sum(parts, np.zeros(len(self.times)))

    def mean(self, values: Column) -> Rounds:
        """The mean over the posts whose value is known (not NaN), in each round; NaN where there is none."""
        known = np.isfinite(values)
        return self.ratio(np.where(known, values, 0.0), known.astype(np.float64))

    def ratio(self, values: Column, counts: Column) -> Rounds:
        """The sum of the values over that of the counts, in each round; NaN where nothing is counted."""
        return _over(self.sums(values), self.sums(counts))

    def likes(self, true: Column, told: Column) -> dict[str, Rounds]:
        """The metrics of `m3l.evaluation.likes_metrics.LIKES`, in each round."""
        y, off = np.log1p(true), np.log1p(true) - np.log1p(np.clip(told, 0, None))
        y = y - y.mean()  # the sums of squares below differ by little where it is far from 0
        spread = self.mean(y**2) - self.mean(y) ** 2
        missed = self.mean(off**2)
        return {
            "rmse": np.sqrt(self.mean((true - told) ** 2)),
            "rmsle": np.sqrt(missed),
            "mae": self.mean(np.abs(true - told)),
            "r2_log1p": 1 - _over(missed, np.where(spread > 1e-12, spread, 0)),
            "spearman": self.spearman(true, told),
        }

    def spearman(self, true: Column, told: Column) -> Rounds:
        """The rank correlation in each round; ranks do not add up, so that each round ranks the posts anew."""
        x, y = (np.unique(column, return_inverse=True)[1] for column in (true, told))
        return np.array([_correlation(_ranks(x, times), _ranks(y, times), times) for times in self.times])


def interval(rounds: Rounds) -> tuple[float, float] | None:
    """The 95% interval of a figure from its rounds; None where there are none, or none that tells it."""
    known = rounds[1:][np.isfinite(rounds[1:])]
    if not len(known):
        return None
    low, high = np.percentile(known, [2.5, 97.5])
    return float(low), float(high)


def each_round(
    figure: Callable[[Mapping[str, float]], dict[str, float]], sums: Mapping[str, Rounds]
) -> dict[str, Rounds]:
    """A figure that is made of sums, in each round."""
    names, rounds = list(sums), np.stack(list(sums.values()), 1)
    made = [figure(dict(zip(names, row, strict=True))) for row in rounds]
    return {name: np.array([row[name] for row in made]) for name in made[0]}


def _ranks(places: np.ndarray, times: UInt8[np.ndarray, " post"]) -> Column:
    """The middle rank of each post among all of them, each counted as often as it was drawn."""
    counts = np.bincount(places, times)
    return (np.cumsum(counts) - counts / 2)[places]


def _correlation(x: Column, y: Column, times: UInt8[np.ndarray, " post"]) -> float:
    count = times.sum()
    if count < 2:
        return np.nan
    x, y = x - (x * times).sum() / count, y - (y * times).sum() / count
    spread = (times * x**2).sum() * (times * y**2).sum()
    return float((times * x * y).sum() / np.sqrt(spread)) if spread > 0 else np.nan


def _over(sums: Rounds, count: Rounds) -> Rounds:
    return np.divide(sums, count, out=np.full(len(sums), np.nan), where=count > 0)
