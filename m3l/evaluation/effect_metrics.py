"""Metrics of leave-one-out effects: their size, and whether their sign is the true one."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import numpy as np


def mean_effects(effects: Iterable[dict[str, Any]]) -> dict[str, float]:
    """The mean absolute effect of each part on log(1 + likes), by the name of the part."""
    sizes: dict[str, list[float]] = defaultdict(list)
    for effect in effects:
        sizes[effect["part"]].append(abs(effect["effect"]))
    return {part: float(np.mean(sizes[part])) for part in sorted(sizes)}


def sign_agreement(effects: Iterable[dict[str, Any]], noise: float) -> dict[str, Any]:
    """How often the attributed effect has the sign of the true one, overall and by part.

    Args:
        effects: Rows of EFFECT.
        noise: Standard deviation of log(1 + likes); smaller true effects do not count.

    Returns:
        `sign_agreement`: shares, and `counted`: numbers of effects.
    """
    agrees: dict[str, list[bool]] = defaultdict(list)
    for effect in effects:
        if effect["true"] is not None and abs(effect["true"]) > noise:
            for name in ("overall", effect["part"]):
                agrees[name].append((effect["effect"] > 0) == (effect["true"] > 0))
    return {
        "sign_agreement": {name: float(np.mean(values)) for name, values in agrees.items()},
        "counted": {name: len(values) for name, values in agrees.items()},
    }
