"""Intervals have the nominal coverage, whatever the distribution of the residuals."""

import numpy as np
import pytest

from m3l.inference.conformal import LEVELS, MIN_ROWS_FOR_95, Intervals, expected_coverage, half_widths


@pytest.mark.parametrize("distribution", ["normal", "standard_cauchy", "exponential"])
def test_new_rows_are_covered_at_the_nominal_rate(distribution: str) -> None:
    draw = getattr(np.random.default_rng(0), distribution)
    coverage = {level: [] for level in LEVELS}
    for _ in range(300):
        widths, new = half_widths(draw(size=100)), np.abs(draw(size=100))
        for level in LEVELS:
            coverage[level].append(np.mean(new <= widths.half[level]))
    for level in LEVELS:
        assert 100 * np.mean(coverage[level]) == pytest.approx(level, abs=1)
        low, high = expected_coverage(level, 100, 100)
        assert np.mean([low <= share <= high for share in coverage[level]]) > 0.92


def test_too_few_rows_give_no_width() -> None:
    few = MIN_ROWS_FOR_95 - 1
    assert half_widths(np.ones(0)).half == {50: None, 80: None, 95: None}
    assert half_widths(np.array([-2.0, 1])).half == {50: 2.0, 80: None, 95: None}
    assert half_widths(np.arange(float(few))).half[95] is None
    assert half_widths(np.arange(few + 1.0)).half[95] is not None


def test_weights_can_give_every_account_the_same_weight() -> None:
    loud = np.linspace(4, 5, 1000)  # posts of one account
    others = np.arange(1.0, 20)
    weights = np.concatenate([np.full(1000, 1e-3), np.ones(19)])
    weighted = half_widths(np.concatenate([loud, others]), weights)
    assert weighted.rows == 20
    assert weighted.half == {50: 10, 80: 16, 95: 19} != half_widths(np.concatenate([loud, others])).half
    assert half_widths(others, np.ones(19)) == half_widths(others)


def test_intervals_survive_json() -> None:
    intervals = Intervals(known=half_widths(np.arange(30.0)), cold_rows="hidden")
    assert Intervals.model_validate_json(intervals.model_dump_json()) == intervals
    assert intervals.half(80, cold=False) == 24 and intervals.half(80, cold=True) is None
