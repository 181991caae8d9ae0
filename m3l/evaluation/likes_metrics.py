"""What "good" means, in numbers: likes and retrieved frames against what is known to be true.

A number that the data cannot give (no rows, no variation) is None, never 0. Likes are on their natural scale.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float32, Real
from scipy.stats import spearmanr
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

Likes = Real[np.ndarray, " n"]
Metric = Callable[[Likes, Likes], float | None]


def rmse(true: Likes, predicted: Likes) -> float | None:
    """The challenge's metric, in likes; None without rows."""
    return float(root_mean_squared_error(true, predicted)) if len(true) else None


def rmsle(true: Likes, predicted: Likes) -> float | None:
    """RMSE of log(1 + likes); a negative prediction counts as 0 likes."""
    return float(root_mean_squared_error(_log(true), _log(predicted))) if len(true) else None


def mae(true: Likes, predicted: Likes) -> float | None:
    """Mean absolute error, in likes; None without rows."""
    return float(mean_absolute_error(true, predicted)) if len(true) else None


def r2_log1p(true: Likes, predicted: Likes) -> float | None:
    """Share of the variance of log(1 + likes) that is explained; None where there is no variance."""
    return float(r2_score(_log(true), _log(predicted))) if _varies(true) else None


def spearman(true: Likes, predicted: Likes) -> float | None:
    """Rank correlation; None where either side is constant."""
    return float(spearmanr(true, predicted).statistic) if _varies(true) and _varies(predicted) else None


LIKES: dict[str, Metric] = {
    "rmse": rmse,
    "rmsle": rmsle,
    "mae": mae,
    "r2_log1p": r2_log1p,
    "spearman": spearman,
}


def likes_metrics(true: Likes, predicted: Likes) -> dict[str, float | None]:
    """Every metric of LIKES; raises ValueError if the lengths differ or a number is not finite."""
    if len(true) != len(predicted):
        raise ValueError(f"{len(true)} true likes but {len(predicted)} predictions")
    if not (np.isfinite(true).all() and np.isfinite(predicted).all()):
        raise ValueError("likes must be finite: leave failed rows out and count them")
    return {name: metric(true, predicted) for name, metric in LIKES.items()}


def recall_at(retrieved: Bool[np.ndarray, " rank"], relevant: int, k: int) -> float | None:
    """Share of the `relevant` frames, of which k can hold at most k, among the first k; None if none is relevant.

    `retrieved` tells of each frame, best first, whether it is relevant.
    """
    return float(np.sum(retrieved[:k])) / min(relevant, k) if relevant else None


def near_duplicates(frames: Float32[np.ndarray, "n dim"], above: float = 0.99) -> float | None:
    """Share of frames whose embedding has a greater cosine than `above` with an earlier one's; None without frames."""
    if not len(frames):
        return None
    unit = frames / np.maximum(np.linalg.norm(frames, axis=1, keepdims=True), 1e-12)
    return float((np.tril(unit @ unit.T, -1) > above).any(axis=1).mean())


def reciprocal_rank(retrieved: Bool[np.ndarray, " rank"]) -> float:
    """1 / rank of the first relevant frame, best first; 0 if none was retrieved."""
    hits = np.flatnonzero(retrieved)
    return 1 / (1 + int(hits[0])) if len(hits) else 0.0


def _log(likes: Likes) -> Real[np.ndarray, " n"]:
    return np.log1p(np.clip(likes, 0, None))


def _varies(values: Likes) -> bool:
    return len(values) > 1 and bool(np.ptp(values) > 0)
