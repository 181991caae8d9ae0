"""Metrics of predicted likes.

A metric that the data do not determine (no rows, no variance) is None, never 0. Likes are on their natural scale.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Real
from scipy.stats import spearmanr
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

Likes = Real[np.ndarray, " n"]
Metric = Callable[[Likes, Likes], float | None]


def rmse(actual: Likes, predicted: Likes) -> float | None:
    """Root mean squared error, in likes (the metric of the challenge); None without rows."""
    return float(root_mean_squared_error(actual, predicted)) if len(actual) else None


def rmsle(actual: Likes, predicted: Likes) -> float | None:
    """RMSE of log(1 + likes), where a negative prediction counts as 0 likes; None without rows."""
    return float(root_mean_squared_error(_log1p(actual), _log1p(predicted))) if len(actual) else None


def mae(actual: Likes, predicted: Likes) -> float | None:
    """Mean absolute error, in likes; None without rows."""
    return float(mean_absolute_error(actual, predicted)) if len(actual) else None


def r2_log1p(actual: Likes, predicted: Likes) -> float | None:
    """Share of the variance of log(1 + likes) that the prediction explains; None without variance."""
    return float(r2_score(_log1p(actual), _log1p(predicted))) if _varies(actual) else None


def spearman(actual: Likes, predicted: Likes) -> float | None:
    """Spearman's rank correlation; None if either side is constant."""
    return float(spearmanr(actual, predicted).statistic) if _varies(actual) and _varies(predicted) else None


LIKES_METRICS: dict[str, Metric] = {
    "rmse": rmse,
    "rmsle": rmsle,
    "mae": mae,
    "r2_log1p": r2_log1p,
    "spearman": spearman,
}


def likes_metrics(actual: Likes, predicted: Likes) -> dict[str, float | None]:
    """Every metric of LIKES_METRICS; ValueError if the lengths differ or a number is not finite."""
    if len(actual) != len(predicted):
        raise ValueError(f"{len(actual)} actual likes but {len(predicted)} predictions")
    if not (np.isfinite(actual).all() and np.isfinite(predicted).all()):
        raise ValueError("likes must be finite: leave failed rows out and count them")
    return {name: metric(actual, predicted) for name, metric in LIKES_METRICS.items()}


def _log1p(likes: Likes) -> Real[np.ndarray, " n"]:
    return np.log1p(np.clip(likes, 0, None))


def _varies(values: Likes) -> bool:
    return len(values) > 1 and bool(np.ptp(values) > 0)
