"""Bootstrap intervals of metrics that are computed from sums over posts.

In each replicate every post counts Poisson(1) times instead of being drawn with replacement (arXiv 1312.5021). The
result is the same for all but the smallest samples, and all replicates of a sum are one matrix product.
"""

from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Float, UInt8

PostValues = Float[np.ndarray, " post"]
Replicates = Float[np.ndarray, " replicate"]  # replicate 0 is the metric itself: every post counts once
CHUNK_POSTS = 8192  # multiplied at once
MIN_VARIANCE = 1e-12


class PoissonBootstrap:
    """Metrics of the same posts in every replicate, computed with the same counts so that they can be compared.

    Uses one byte per post and replicate.

    Args:
        posts: Number of posts.
        replicates: Number of random replicates, besides replicate 0.
        seed: Seed of the counts.
    """

    def __init__(self, posts: int, replicates: int, seed: int):
        self.counts: UInt8[np.ndarray, "replicate post"] = np.ones((replicates + 1, posts), np.uint8)
        rng = np.random.default_rng(seed)
        for counts in self.counts[1:]:  # one replicate at a time, since Poisson draws come as 8 bytes each
            counts[:] = rng.poisson(1, posts)

    def sums(self, values: PostValues) -> Replicates:
        """The sum of the values over the posts."""
        starts = range(0, len(values), CHUNK_POSTS)
        parts = (
            self.counts[:, start : start + CHUNK_POSTS].astype(np.float64) @ values[start : start + CHUNK_POSTS]
            for start in starts
        )
        return sum(parts, np.zeros(len(self.counts)))

    def mean(self, values: PostValues) -> Replicates:
        """The mean over the posts whose value is not NaN; NaN if there is none."""
        finite = np.isfinite(values)
        return self.ratio(np.where(finite, values, 0.0), finite.astype(np.float64))

    def ratio(self, numerators: PostValues, denominators: PostValues) -> Replicates:
        """The sum of the numerators over the sum of the denominators; NaN where the latter is 0."""
        return _divide(self.sums(numerators), self.sums(denominators))

    def likes(self, actual: PostValues, predicted: PostValues) -> dict[str, Replicates]:
        """The metrics of `m3l.evaluation.likes_metrics.LIKES_METRICS`.

        Args:
            actual: Actual likes.
            predicted: Predicted likes.
        """
        target, residuals = np.log1p(actual), np.log1p(actual) - np.log1p(np.clip(predicted, 0, None))
        target = target - target.mean()  # for precision: the variance below is a difference of squares
        variance = self.mean(target**2) - self.mean(target) ** 2
        squared_error = self.mean(residuals**2)
        return {
            "rmse": np.sqrt(self.mean((actual - predicted) ** 2)),
            "rmsle": np.sqrt(squared_error),
            "mae": self.mean(np.abs(actual - predicted)),
            "r2_log1p": 1 - _divide(squared_error, np.where(variance > MIN_VARIANCE, variance, 0)),
            "spearman": self.spearman(actual, predicted),
        }

    def spearman(self, actual: PostValues, predicted: PostValues) -> Replicates:
        """The rank correlation. Ranks are not sums, so each replicate ranks the posts again."""
        x, y = (np.unique(values, return_inverse=True)[1] for values in (actual, predicted))
        return np.array([_correlation(_ranks(x, counts), _ranks(y, counts), counts) for counts in self.counts])


def percentile_interval(replicates: Replicates) -> tuple[float, float] | None:
    """The 95% interval of a metric from its random replicates; None if there is none with a finite value."""
    finite = replicates[1:][np.isfinite(replicates[1:])]
    if not len(finite):
        return None
    low, high = np.percentile(finite, [2.5, 97.5])
    return float(low), float(high)


def per_replicate(
    metrics: Callable[[Mapping[str, float]], dict[str, float]], sums: Mapping[str, Replicates]
) -> dict[str, Replicates]:
    """Metrics that are computed from sums, in each replicate.

    Args:
        metrics: From the sums by name to the metrics by name.
        sums: The sums by name.
    """
    names, by_replicate = list(sums), np.stack(list(sums.values()), 1)
    values = [metrics(dict(zip(names, row, strict=True))) for row in by_replicate]
    return {name: np.array([each[name] for each in values]) for name in values[0]}


def _ranks(order: np.ndarray, counts: UInt8[np.ndarray, " post"]) -> PostValues:
    """The middle rank of each post, where each counts `counts` times; `order` numbers the distinct values."""
    totals = np.bincount(order, counts)
    return (np.cumsum(totals) - totals / 2)[order]


def _correlation(x: PostValues, y: PostValues, counts: UInt8[np.ndarray, " post"]) -> float:
    total = counts.sum()
    if total < 2:
        return np.nan
    x, y = x - (x * counts).sum() / total, y - (y * counts).sum() / total
    variance = (counts * x**2).sum() * (counts * y**2).sum()
    return float((counts * x * y).sum() / np.sqrt(variance)) if variance > 0 else np.nan


def _divide(numerators: Replicates, denominators: Replicates) -> Replicates:
    return np.divide(numerators, denominators, out=np.full(len(numerators), np.nan), where=denominators > 0)
