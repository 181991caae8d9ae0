"""Coverage of the intervals of likes: how many posts fall inside, against the nominal level."""

from typing import Any

import numpy as np

from m3l.evaluation.summarise import Scores
from m3l.inference.conformal import LEVELS, Intervals, expected_coverage


def coverage(scores: Scores, intervals: Intervals) -> dict[str, Any]:
    """The share of posts whose actual likes lie inside the interval, for all, known and cold accounts.

    Args:
        scores: The columns `cold_account` and `covered.LEVEL` of SCORES.
        intervals: The calibrated intervals, for the number of rows they are based on.

    Returns:
        Group -> level -> `measured` share, number of `posts`, and the range `by_chance` in which 95% of such shares
        lie if the intervals are right. `calibrated_on` has the numbers of calibration rows.
    """
    cold = scores["cold_account"] > 0
    groups = {"overall": np.ones(len(cold), bool), "known_accounts": ~cold, "cold_accounts": cold}
    calibration_rows = {"known_accounts": intervals.known.rows, "cold_accounts": intervals.cold.rows}
    result: dict[str, Any] = {}
    for name, members in groups.items():
        rows = calibration_rows.get(name, intervals.known.rows + intervals.cold.rows)
        result[name] = {}
        for level in LEVELS:
            covered = scores[f"covered.{level}"][members]
            covered = covered[np.isfinite(covered)]
            if len(covered):
                result[name][str(level)] = {
                    "measured": float(covered.mean()),
                    "posts": len(covered),
                    "by_chance": expected_coverage(level, rows, len(covered)),
                }
    return result | {"calibrated_on": {**calibration_rows, "cold_rows": intervals.cold_rows}}
