"""Metrics of a bootstrap replicate equal those that the libraries compute for the resampled posts."""

import numpy as np
import pytest

from m3l.evaluation import likes_metrics
from m3l.evaluation.bootstrap import PoissonBootstrap, per_replicate, percentile_interval


@pytest.fixture(scope="module")
def likes() -> tuple[np.ndarray, np.ndarray]:
    """Actual and predicted likes."""
    rng = np.random.default_rng(0)
    actual = np.round(rng.lognormal(4, 1, 400))  # with ties
    return actual, np.round(actual * rng.lognormal(0, 0.5, 400)) - 3  # some predictions are negative


def test_replicate_0_equals_the_metrics_of_the_libraries(likes: tuple[np.ndarray, np.ndarray]) -> None:
    metrics = PoissonBootstrap(400, 3, seed=1).likes(*likes)
    expected = likes_metrics.likes_metrics(*likes)
    assert {name: values[0] for name, values in metrics.items()} == pytest.approx(expected)


def test_a_replicate_equals_the_metrics_of_its_resampled_posts(likes: tuple[np.ndarray, np.ndarray]) -> None:
    bootstrap = PoissonBootstrap(400, 3, seed=1)
    metrics = bootstrap.likes(*likes)
    for replicate in (1, 2, 3):
        actual, predicted = (np.repeat(values, bootstrap.counts[replicate]) for values in likes)
        assert {name: values[replicate] for name, values in metrics.items()} == pytest.approx(
            likes_metrics.likes_metrics(actual, predicted)
        )


def test_an_interval_contains_the_metric_and_is_reproducible(likes: tuple[np.ndarray, np.ndarray]) -> None:
    first, again = (percentile_interval(PoissonBootstrap(400, 200, seed=3).likes(*likes)["r2_log1p"]) for _ in range(2))
    value = likes_metrics.r2_log1p(*likes)
    assert first is not None and value is not None
    assert first[0] < value < first[1] < first[0] + 0.3
    assert first == again


def test_intervals_contain_the_true_mean_at_the_nominal_rate() -> None:
    rng, covered = np.random.default_rng(0), 0
    for seed in range(200):
        low, high = percentile_interval(PoissonBootstrap(80, 200, seed).mean(rng.normal(3, 1, 80))) or (0, 0)
        covered += low < 3 < high
    assert 0.9 <= covered / 200 <= 0.99


def test_a_mean_ignores_missing_values() -> None:
    bootstrap = PoissonBootstrap(4, 50, seed=0)
    values = np.array([1.0, np.nan, 3.0, np.nan])
    assert bootstrap.mean(values)[0] == 2 and percentile_interval(bootstrap.mean(values)) is not None
    missing = bootstrap.mean(np.full(4, np.nan))
    assert np.isnan(missing).all() and percentile_interval(missing) is None
    assert percentile_interval(PoissonBootstrap(4, 0, seed=0).mean(values)) is None
    assert np.isnan(bootstrap.spearman(np.ones(4), np.arange(4.0))).all()


def test_metrics_of_sums_are_computed_in_each_replicate() -> None:
    bootstrap = PoissonBootstrap(3, 2, seed=0)
    sums = {"a": bootstrap.sums(np.ones(3)), "b": bootstrap.sums(np.full(3, 2.0))}
    metrics = per_replicate(lambda sums: {"both": sums["a"] + sums["b"]}, sums)
    assert metrics["both"].tolist() == (3.0 * bootstrap.counts.sum(1)).tolist()
