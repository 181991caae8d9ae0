"""The comparison of retrievers: its metrics, from the scores of posts."""

import pytest

from pipelines.compare_retrievers import summarise


def score(by: str, recall: float, shows_both: float | None = None) -> dict:
    return {"by": by, "recall": recall, "reciprocal_rank": 1.0, "near_duplicates": 0.0, "shows_both": shows_both}


def test_metrics_are_means_over_posts_then_over_seeds() -> None:
    rows = [
        {"seed": 1, "found": [score("bce1-dfr0", 0.5)]},
        {"seed": 0, "found": [score("bce1-dfr0", 1.0), score("uniform", 0.5)]},
        {"seed": 0, "found": [score("bce1-dfr0", 0.8, shows_both=1.0)]},
        {"seed": 1, "found": []},
    ]
    summary = summarise(iter(rows))
    assert summary["recall_at_10"]["bce1-dfr0"] == {
        "mean": pytest.approx(0.7),
        "sd": pytest.approx(0.2),
        "seeds": [0.9, 0.5],
    }
    assert summary["recall_at_10"]["uniform"]["seeds"] == [0.5]
    assert summary["shows_both"] == {"bce1-dfr0": {"mean": 1.0, "sd": 0.0, "seeds": [1.0]}}
    assert summary["posts"] == 1 and summary["seeds"] == [0]
