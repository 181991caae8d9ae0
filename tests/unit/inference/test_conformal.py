"""Intervals hold what they promise, whatever the residuals look like."""

import numpy as np
import pytest

from m3l.inference.conformal import ENOUGH, LEVELS, Intervals, by_chance, widths


@pytest.mark.parametrize("draw", ["normal", "standard_cauchy", "exponential"])
def test_as_many_new_rows_lie_inside_as_promised(draw: str) -> None:
    rng = np.random.default_rng(0)
    inside = {level: [] for level in LEVELS}
    for _ in range(300):
        made, new = widths(getattr(rng, draw)(size=100)), np.abs(getattr(rng, draw)(size=100))
        for level in LEVELS:
            inside[level].append(np.mean(new <= made.half[level]))
    for level in LEVELS:
        assert 100 * np.mean(inside[level]) == pytest.approx(level, abs=1)
        low, high = by_chance(level, 100, 100)
        assert np.mean([low <= share <= high for share in inside[level]]) > 0.92


def test_too_few_rows_tell_no_width() -> None:
    assert widths(np.ones(0)).half == {50: None, 80: None, 95: None}
    assert widths(np.array([-2.0, 1])).half == {50: 2.0, 80: None, 95: None}
    assert widths(np.arange(ENOUGH - 1.0)).half[95] is None and widths(np.arange(float(ENOUGH))).half[95] is not None


def test_accounts_that_count_alike_are_new_rows_of_their_own() -> None:
    loud = np.linspace(4, 5, 1000)  # one account's
    others = np.arange(1.0, 20)
    weights = np.concatenate([np.full(1000, 1e-3), np.ones(19)])
    made = widths(np.concatenate([loud, others]), weights)
    assert made.rows == 20
    assert made.half == {50: 10, 80: 16, 95: 19} != widths(np.concatenate([loud, others])).half
    assert widths(others, np.ones(19)) == widths(others)


def test_intervals_travel_as_json() -> None:
    made = Intervals(known=widths(np.arange(30.0)), cold_rows="hidden")
    assert Intervals.model_validate_json(made.model_dump_json()) == made
    assert made.half(80, cold=False) == 24 and made.half(80, cold=True) is None
