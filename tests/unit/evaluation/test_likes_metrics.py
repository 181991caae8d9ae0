import numpy as np
import pytest

from m3l.evaluation import likes_metrics

ACTUAL, PREDICTED = np.array([0.0, 10, 100]), np.array([0.0, 20, 70])


def test_likes_metrics_of_a_small_example() -> None:
    scores = likes_metrics.likes_metrics(ACTUAL, PREDICTED)
    assert scores["rmse"] == pytest.approx(np.sqrt((10**2 + 30**2) / 3))
    assert scores["mae"] == pytest.approx(40 / 3)
    assert scores["rmsle"] == pytest.approx(np.sqrt((np.log(21 / 11) ** 2 + np.log(101 / 71) ** 2) / 3))
    assert scores["spearman"] == pytest.approx(1)
    log = np.log1p(ACTUAL)
    residual = ((log - np.log1p(PREDICTED)) ** 2).sum()
    assert scores["r2_log1p"] == pytest.approx(1 - residual / ((log - log.mean()) ** 2).sum())


def test_likes_may_be_integers_and_predictions_negative() -> None:
    scores = likes_metrics.likes_metrics(np.array([0, 5, 9]), np.array([-3.0, 5, 9]))
    assert scores["rmsle"] == 0 and scores["rmse"] == pytest.approx(np.sqrt(3))


def test_a_metric_that_the_data_do_not_determine_is_none() -> None:
    scores = likes_metrics.likes_metrics(np.array([]), np.array([]))
    assert set(scores.values()) == {None}
    one = likes_metrics.likes_metrics(np.array([3.0]), np.array([5.0]))
    assert one["rmse"] == 2 and one["r2_log1p"] is None and one["spearman"] is None
    assert likes_metrics.spearman(ACTUAL, np.ones(3)) is None


@pytest.mark.parametrize("predicted", [np.ones(2), np.array([1, np.nan, 2])])
def test_other_lengths_and_missing_values_are_an_error(predicted: np.ndarray) -> None:
    with pytest.raises((ValueError, TypeError)):  # TypeError where shapes are checked
        likes_metrics.likes_metrics(ACTUAL, predicted)
