"""Measured rows become figures beside their baselines, and what cannot be told is None."""

import numpy as np
import pytest

from m3l.summarise import summarise

SUBJECTS = ["fox", "owl", "car"]


def judged(by: str, recall: float, shows_both: float | None = 1.0) -> dict:
    return {"by": by, "recall": recall, "reciprocal_rank": 0.5, "near_duplicates": 0.1, "shows_both": shows_both}


def row(number: int, split: str = "test_random", **known: object) -> dict:
    likes = 10.0 * (1 + number)
    return {
        "post_id": str(number),
        "split": split,
        "kind": "video",
        "likes": likes,
        "told_likes": likes * 1.1,
        "without_media": likes * 2,
        "low": likes / 2,
        "high": likes * 2,
        "expected_log1p": np.log1p(likes),
        "caption": "a fox then an owl",
        "told_caption": "a fox then an owl",
        "shuffled_caption": "a car",
        "subjects": ["fox", "owl"],
        "seen": True,
        "retrieval": [judged("model", 0.75), judged("plain_top", 0.5), judged("uniform", 0.25, shows_both=None)],
    } | known


def summary(rows: list[dict]) -> dict:
    baselines = {"median": {r["post_id"]: 55.0 for r in rows}}
    return summarise(iter(rows), baselines, SUBJECTS, rounds=20, seed=0)


def test_the_model_stands_beside_its_baselines() -> None:
    told = summary([row(n) for n in range(12)])
    error = told["likes"]["rmsle"]
    assert error["noise_floor"] == pytest.approx(0) and error["noise_floor"] < error["model"]
    assert error["model"] < error["model_without_media"] < error["median"]
    assert told["coverage_80"] == 1.0
    assert told["intervals"]["likes"]["rmsle"]["model"] is not None


def test_the_headline_is_the_random_split() -> None:
    far = [row(n, "test_time", told_likes=1e6, low=2e6) for n in range(4)]
    told = summary([*(row(n) for n in range(12)), *far])
    assert told["likes"] == told["splits"]["test_random"]["likes"]
    assert told["splits"]["test_time"]["posts"] == 4
    assert told["splits"]["test_time"]["likes"]["rmsle"]["model"] > 1 > told["likes"]["rmsle"]["model"]
    assert told["coverage_80"] == 1.0
    assert summary(far)["likes"] == summary(far)["splits"]["test_time"]["likes"]


def test_captions_count_what_was_there_to_see() -> None:
    wrong = {"told_caption": "an owl then a fox"}
    blind = {"seen": False, "told_caption": "a car"}
    unknown = {"subjects": None, "told_caption": "a car"}
    told = summary([row(0), row(1, **wrong), row(2, **blind), row(3, **unknown), row(4, kind="image", **wrong)])
    assert told["captions"]["subject_named"] == {"model": 1.0, "shuffled_media": 0.0}
    assert told["captions"]["order_right"] == 0.5


def test_what_is_not_known_is_none() -> None:
    nothing = {"expected_log1p": None, "subjects": None, "retrieval": None}
    told = summary([row(n, **nothing) for n in range(3)])
    assert "noise_floor" not in told["likes"]["rmsle"]
    assert told["captions"]["subject_named"] == {"model": None, "shuffled_media": None}
    assert set(told["retrieval"].pop("recall_at_10").values()) == {None}
    assert told["retrieval"]["mrr"] is None and told["retrieval"]["posts"] == 0


def test_retrieval_is_the_mean_over_known_posts() -> None:
    rows = [row(0), row(1, retrieval=[judged("model", 0.25, shows_both=0.0)]), row(2, retrieval=None)]
    told = summary(rows)["retrieval"]
    assert told["recall_at_10"] == {"model": 0.5, "plain_top": 0.5, "uniform": 0.25}
    assert told["shows_both"] == {"model": 0.5, "plain_top": 1.0, "uniform": None}
    assert told["mrr"] == told["reciprocal_rank"]["model"] == 0.5 and told["posts"] == 2
