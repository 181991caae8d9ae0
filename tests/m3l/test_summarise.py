"""Measured rows become figures beside their baselines, and what cannot be told is None."""

import numpy as np
import pytest

from m3l.summarise import summarise

SUBJECTS = ["fox", "owl", "car"]


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
        "recall": 0.75,
        "recall_uniform": 0.25,
        "reciprocal_rank": 0.5,
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
    nothing = {"expected_log1p": None, "subjects": None, "recall": None}
    told = summary([row(n, **nothing) for n in range(3)])
    assert "noise_floor" not in told["likes"]["rmsle"]
    assert told["captions"]["subject_named"] == {"model": None, "shuffled_media": None}
    assert told["retrieval"] == {"recall_at_10": {"model": None, "uniform": None}, "mrr": None, "posts": 0}


def test_retrieval_is_the_mean_over_known_posts() -> None:
    told = summary([row(0), row(1, recall=0.25), row(2, recall=None)])["retrieval"]
    assert told == {"recall_at_10": {"model": 0.5, "uniform": 0.25}, "mrr": 0.5, "posts": 2}
