"""The weights of the bag-of-words loss."""

from m3l.training.loss import word_weights


def test_rare_words_weigh_more() -> None:
    weights = word_weights([[1, 2, 2], [1, 2, 3], [1]], vocabulary=5)
    assert weights[1] == 0 < weights[2] < weights[3]
    assert weights.isfinite().all()
