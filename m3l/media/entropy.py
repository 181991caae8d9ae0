"""Katna's entropy of a picture, from a grid of its pixels instead of all."""

import Katna.config
import numpy as np
from jaxtyping import UInt8
from numpy.lib.stride_tricks import sliding_window_view
from skimage.filters.rank import entropy as rank_entropy
from skimage.morphology import disk

Grey = UInt8[np.ndarray, "height width"]

_DISK = disk(5)
_SIDE = len(_DISK)
_RULES = Katna.config.ImageSelector
_THRESHOLDS = np.arange(_RULES.min_entropy_value, -0.01, -_RULES.entropy_step)
_NEAR = 0.15  # bits: above the error of the coarse grid


def local_entropy(grey: Grey) -> float:
    """The mean entropy, in bits, of the disks of radius 5 around the pixels.

    On a grid of about 30 x 30, and on one three times as fine where a threshold of Katna's is near: the same
    decisions at a hundredth of the work.
    """
    if min(grey.shape) < 4 * _SIDE:
        return float(rank_entropy(grey, _DISK).mean())
    step = max(4, min(grey.shape) // 30)
    coarse = _on_grid(grey, step)
    if np.abs(_THRESHOLDS - coarse).min() > _NEAR:
        return coarse
    return _on_grid(grey, max(2, step // 3))


def _on_grid(grey: Grey, step: int) -> float:
    windows = sliding_window_view(grey, (_SIDE, _SIDE))[::step, ::step]
    values = windows[..., _DISK.astype(bool)].reshape(-1, _DISK.sum())
    values.sort(axis=1, kind="stable")  # of bytes, this is a radix sort, four times as fast as the default
    # Of sorted values, each run of equal ones is one grey level, and its length the level's count.
    starts = np.ones(values.shape, bool)
    starts[:, 1:] = values[:, 1:] != values[:, :-1]
    runs = np.flatnonzero(starts)
    shares = np.diff(runs, append=values.size) / values.shape[1]
    return float(-(shares * np.log2(shares)).sum() / len(values))
