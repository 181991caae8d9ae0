"""The bootstrap as products of matrices tells what libraries tell, round by round."""

import numpy as np
import pytest

from m3l.evaluation import likes_metrics
from m3l.evaluation.bootstrap import Draws, each_round, interval


@pytest.fixture(scope="module")
def likes() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    true = np.round(rng.lognormal(4, 1, 400))  # some likes are alike
    return true, np.round(true * rng.lognormal(0, 0.5, 400)) - 3  # some are told below 0


def test_round_0_is_what_the_libraries_tell(likes: tuple[np.ndarray, np.ndarray]) -> None:
    rounds = Draws(400, 3, seed=1).likes(*likes)
    told = likes_metrics.likes_metrics(*likes)
    assert {name: values[0] for name, values in rounds.items()} == pytest.approx(told)


def test_every_round_is_what_the_libraries_tell_of_its_posts(likes: tuple[np.ndarray, np.ndarray]) -> None:
    draws = Draws(400, 3, seed=1)
    rounds = draws.likes(*likes)
    for at in (1, 2, 3):
        true, told = (np.repeat(column, draws.times[at]) for column in likes)
        assert {name: values[at] for name, values in rounds.items()} == pytest.approx(
            likes_metrics.likes_metrics(true, told)
        )


def test_an_interval_surrounds_the_figure_and_repeats(likes: tuple[np.ndarray, np.ndarray]) -> None:
    first, again = (interval(Draws(400, 200, seed=3).likes(*likes)["r2_log1p"]) for _ in range(2))
    value = likes_metrics.r2_log1p(*likes)
    assert first is not None and value is not None
    assert first[0] < value < first[1] < first[0] + 0.3
    assert first == again


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    rng, held = np.random.default_rng(0), 0
    for seed in range(200):
        low, high = interval(Draws(80, 200, seed).mean(rng.normal(3, 1, 80))) or (0, 0)
        held += low < 3 < high
    assert 0.9 <= held / 200 <= 0.99


def test_what_is_not_known_is_left_out_of_a_mean() -> None:
    draws = Draws(4, 50, seed=0)
    values = np.array([1.0, np.nan, 3.0, np.nan])
    assert draws.mean(values)[0] == 2 and interval(draws.mean(values)) is not None
    nothing = draws.mean(np.full(4, np.nan))
    assert np.isnan(nothing).all() and interval(nothing) is None
    assert interval(Draws(4, 0, seed=0).mean(values)) is None
    assert np.isnan(draws.spearman(np.ones(4), np.arange(4.0))).all()


def test_figures_of_sums_are_told_in_each_round() -> None:
    draws = Draws(3, 2, seed=0)
    sums = {"a": draws.sums(np.ones(3)), "b": draws.sums(np.full(3, 2.0))}
    told = each_round(lambda known: {"both": known["a"] + known["b"]}, sums)
    assert told["both"].tolist() == (3.0 * draws.times.sum(1)).tolist()
