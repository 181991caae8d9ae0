import numpy as np
import pytest

from m3l import metrics

TRUE, PREDICTED = np.array([0.0, 10, 100]), np.array([0.0, 20, 70])
CAPTIONS = [
    "a dog runs on the beach",
    "two cats sleep on a sofa",
    "our new phone is here!",
    "a dog eats an apple",
]


def test_likes_metrics_known_values() -> None:
    scores = metrics.likes_metrics(TRUE, PREDICTED)
    assert scores["rmse"] == pytest.approx(np.sqrt((10**2 + 30**2) / 3))
    assert scores["mae"] == pytest.approx(40 / 3)
    assert scores["rmsle"] == pytest.approx(np.sqrt((np.log(21 / 11) ** 2 + np.log(101 / 71) ** 2) / 3))
    assert scores["spearman"] == pytest.approx(1)
    log = np.log1p(TRUE)
    residual = ((log - np.log1p(PREDICTED)) ** 2).sum()
    assert scores["r2_log1p"] == pytest.approx(1 - residual / ((log - log.mean()) ** 2).sum())


def test_whole_likes_and_negative_predictions_are_read() -> None:
    scores = metrics.likes_metrics(np.array([0, 5, 9]), np.array([-3.0, 5, 9]))
    assert scores["rmsle"] == 0 and scores["rmse"] == pytest.approx(np.sqrt(3))


def test_no_likes_means_no_number() -> None:
    assert set(metrics.likes_metrics(np.array([]), np.array([])).values()) == {None}
    one = metrics.likes_metrics(np.array([3.0]), np.array([5.0]))
    assert one["rmse"] == 2 and one["r2_log1p"] is None and one["spearman"] is None
    assert metrics.spearman(TRUE, np.ones(3)) is None


@pytest.mark.parametrize("predicted", [np.ones(2), np.array([1, np.nan, 2])])
def test_likes_that_cannot_be_compared_are_an_error(predicted: np.ndarray) -> None:
    with pytest.raises((ValueError, TypeError)):  # TypeError where shapes are checked
        metrics.likes_metrics(TRUE, predicted)


def test_bootstrap_surrounds_the_metric_and_repeats() -> None:
    rng = np.random.default_rng(0)
    true = rng.lognormal(4, 1, 400)
    predicted = true * rng.lognormal(0, 0.5, 400)
    interval = metrics.bootstrap(metrics.r2_log1p, true, predicted, rounds=200, seed=3)
    value = metrics.r2_log1p(true, predicted)
    assert interval is not None and value is not None
    assert interval[0] < value < interval[1] < interval[0] + 0.3
    assert interval == metrics.bootstrap(metrics.r2_log1p, true, predicted, rounds=200, seed=3)
    assert metrics.bootstrap(metrics.rmse, true[:1], predicted[:1], 200, 0) is None
    assert metrics.bootstrap(metrics.rmse, true, predicted, 0, 0) is None


def test_perfect_captions_score_the_most() -> None:
    scores = metrics.caption_metrics(CAPTIONS, CAPTIONS)
    assert [scores[f"bleu{n}"] for n in (1, 2, 3, 4)] == pytest.approx([1, 1, 1, 1])
    assert scores["rouge_l"] == 1
    assert scores["cider"] == pytest.approx(10)


def test_cider_does_not_collapse_and_compares_each_with_its_own() -> None:
    close = ["a dog runs at the beach", "two cats sleep", "our new phone", "a dog eats"]
    near, far = (metrics.caption_metrics(CAPTIONS, told)["cider"] for told in (close, close[1:] + close[:1]))
    assert near is not None and far is not None
    assert near > 2 > 20 * far


def test_bleu_known_value() -> None:
    scores = metrics.caption_metrics(["the cat sat on the mat", "a b c d"], ["the cat sat on a mat", "a b c d"])
    assert scores["bleu1"] == pytest.approx(9 / 10)
    assert scores["bleu2"] == pytest.approx((9 / 10 * 6 / 8) ** 0.5)


def test_few_or_empty_captions_are_told_honestly() -> None:
    assert set(metrics.caption_metrics([], []).values()) == {None}
    one = metrics.caption_metrics(["a dog runs"], ["a dog runs"])
    assert one["bleu1"] == pytest.approx(1) and one["rouge_l"] == 1 and one["cider"] is None
    assert metrics.caption_metrics(["", "🙂"], ["a", "b"])["cider"] is None
    assert metrics.caption_metrics(CAPTIONS, [""] * 4)["cider"] == 0
    with pytest.raises(ValueError, match="4 references but 1"):
        metrics.caption_metrics(CAPTIONS, ["a"])


def test_words_are_lowercase_in_any_script() -> None:
    assert metrics.words("It's GREAT 🙂, Zürich! <hyperlink>") == ["it's", "great", "zürich", "hyperlink"]


def test_retrieval() -> None:
    flags = np.array([False, True, True, False, True])
    assert metrics.recall_at(flags, relevant=4, k=3) == pytest.approx(2 / 3)
    assert metrics.recall_at(flags, relevant=4, k=5) == 0.75
    assert metrics.recall_at(flags, relevant=0, k=3) is None
    assert metrics.reciprocal_rank(flags) == 0.5
    assert metrics.reciprocal_rank(flags[:1]) == 0


def test_near_duplicates_are_told_by_their_direction() -> None:
    frames = np.array([[1, 0], [9, 0], [0, 1], [0.01, 5], [-1, 0]], np.float32)
    assert metrics.near_duplicates(frames) == pytest.approx(2 / 5)  # the second and the fourth
    assert metrics.near_duplicates(np.zeros((3, 2), np.float32)) == 0
    assert metrics.near_duplicates(frames[:0]) is None
