import numpy as np
import pytest

from m3l.evaluation import likes_metrics

TRUE, PREDICTED = np.array([0.0, 10, 100]), np.array([0.0, 20, 70])


def test_likes_metrics_known_values() -> None:
    scores = likes_metrics.likes_metrics(TRUE, PREDICTED)
    assert scores["rmse"] == pytest.approx(np.sqrt((10**2 + 30**2) / 3))
    assert scores["mae"] == pytest.approx(40 / 3)
    assert scores["rmsle"] == pytest.approx(np.sqrt((np.log(21 / 11) ** 2 + np.log(101 / 71) ** 2) / 3))
    assert scores["spearman"] == pytest.approx(1)
    log = np.log1p(TRUE)
    residual = ((log - np.log1p(PREDICTED)) ** 2).sum()
    assert scores["r2_log1p"] == pytest.approx(1 - residual / ((log - log.mean()) ** 2).sum())


def test_whole_likes_and_negative_predictions_are_read() -> None:
    scores = likes_metrics.likes_metrics(np.array([0, 5, 9]), np.array([-3.0, 5, 9]))
    assert scores["rmsle"] == 0 and scores["rmse"] == pytest.approx(np.sqrt(3))


def test_no_likes_means_no_number() -> None:
    assert set(likes_metrics.likes_metrics(np.array([]), np.array([])).values()) == {None}
    one = likes_metrics.likes_metrics(np.array([3.0]), np.array([5.0]))
    assert one["rmse"] == 2 and one["r2_log1p"] is None and one["spearman"] is None
    assert likes_metrics.spearman(TRUE, np.ones(3)) is None


@pytest.mark.parametrize("predicted", [np.ones(2), np.array([1, np.nan, 2])])
def test_likes_that_cannot_be_compared_are_an_error(predicted: np.ndarray) -> None:
    with pytest.raises((ValueError, TypeError)):  # TypeError where shapes are checked
        likes_metrics.likes_metrics(TRUE, predicted)


def test_retrieval() -> None:
    flags = np.array([False, True, True, False, True])
    assert likes_metrics.recall_at(flags, relevant=4, k=3) == pytest.approx(2 / 3)
    assert likes_metrics.recall_at(flags, relevant=4, k=5) == 0.75
    assert likes_metrics.recall_at(flags, relevant=0, k=3) is None
    assert likes_metrics.reciprocal_rank(flags) == 0.5
    assert likes_metrics.reciprocal_rank(flags[:1]) == 0


def test_near_duplicates_are_told_by_their_direction() -> None:
    frames = np.array([[1, 0], [9, 0], [0, 1], [0.01, 5], [-1, 0]], np.float32)
    assert likes_metrics.near_duplicates(frames) == pytest.approx(2 / 5)  # the second and the fourth
    assert likes_metrics.near_duplicates(np.zeros((3, 2), np.float32)) == 0
    assert likes_metrics.near_duplicates(frames[:0]) is None
