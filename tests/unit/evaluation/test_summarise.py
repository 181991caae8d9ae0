"""Scores of posts become metrics next to baselines; what was not measured is None."""

from typing import Any

import numpy as np
import pytest

from m3l.evaluation.coverage import coverage
from m3l.evaluation.effect_metrics import mean_effects, sign_agreement
from m3l.evaluation.score_schema import SCORE_COLUMNS
from m3l.evaluation.summarise import summarise
from m3l.evaluation.text_metrics import BLEU_SUMS
from m3l.inference.conformal import Intervals, half_widths


def build_scores(posts: int = 40, **changes: Any) -> dict[str, np.ndarray]:
    """Scores of posts whose generated captions share half of their words with the actual ones."""
    likes = 10.0 * np.arange(1, posts + 1)
    scores: dict[str, Any] = dict.fromkeys(SCORE_COLUMNS, np.nan)
    scores |= {"likes": likes, "likes.model": likes * 1.1, "likes.model_without_media": likes * 2, "cold_account": 0.0}
    scores |= {"likes.noise_floor": likes, "likes.mean": likes.mean()}
    sums = dict.fromkeys(BLEU_SUMS, 8.0) | {f"correct{n}": 4.0 for n in (1, 2, 3, 4)}
    for name in ("model", "shuffled_media", "constant"):
        scores |= {f"captions.{name}.{column}": value for column, value in sums.items()}
        scores |= {f"captions.{name}.rouge_l": 0.5, f"captions.{name}.cider": 2.0}
    for name in ("model", "shuffled_media"):
        scores |= {f"captions.{name}.nll": 5.0, f"captions.{name}.tokens": 10.0}
        scores |= {f"captions.{name}.names_all": float(name == "model"), f"captions.{name}.order_right": 0.0}
    scores |= {f"covered.{level}": np.arange(posts) < posts * level / 100 for level in (50, 80, 95)} | changes
    return {name: np.broadcast_to(value, posts).astype(np.float64) for name, value in scores.items()}


def summarise_posts(**changes: Any) -> dict[str, Any]:
    return summarise(build_scores(**changes), replicates=50, seed=0)


def test_the_likes_metrics_of_the_model_stand_next_to_baselines() -> None:
    metrics = summarise_posts()
    error, interval = metrics["likes"]["rmsle"], metrics["intervals"]["likes"]["rmsle"]
    assert error["noise_floor"] == pytest.approx(0) and error["noise_floor"] < error["model"]
    assert error["model"] < error["model_without_media"] < error["mean"]
    assert interval.keys() == error.keys() and interval["mean"][0] < error["mean"] < interval["mean"][1]
    assert metrics["posts"] == 40


def test_the_caption_metrics_of_the_model_stand_next_to_baselines() -> None:
    captions = summarise_posts()["captions"]
    assert captions["subject_named"] == {"model": 1.0, "shuffled_media": 0.0} and captions["order_right"] == 0
    assert captions["bleu4"] == pytest.approx(0.5) and captions["cider"] == 2 and captions["rouge_l"] == 0.5
    assert captions["perplexity"] == pytest.approx(np.exp(0.5))
    assert captions["beside"].keys() == {"shuffled_media", "constant"}
    assert captions["beside"]["constant"] == pytest.approx(
        {"bleu1": 0.5, "bleu2": 0.5, "bleu3": 0.5, "bleu4": 0.5, "rouge_l": 0.5, "cider": 2.0}
    )


def test_what_was_not_measured_is_none() -> None:
    missing = {
        f"captions.{name}.{column}": np.nan for name in ("model", "shuffled_media") for column in ("names_all", "cider")
    }
    metrics = summarise_posts(**{"likes.noise_floor": np.nan}, **missing)
    assert "noise_floor" not in metrics["likes"]["rmsle"]
    assert metrics["captions"]["subject_named"] == {"model": None, "shuffled_media": None}
    assert metrics["captions"]["cider"] is None and metrics["intervals"]["captions"]["cider"]["model"] is None
    assert set(metrics["retrieval"]["recall_at_10"].values()) == {None}
    assert metrics["retrieval"]["mrr"] is None and metrics["retrieval"]["posts"] == 0


def test_retrieval_metrics_are_means_over_the_measured_posts() -> None:
    recall = np.where(np.arange(40) < 10, 0.75, np.nan)
    metrics = summarise_posts(**{"retrieval.model.recall": recall, "retrieval.model.reciprocal_rank": 0.5})
    assert metrics["retrieval"]["recall_at_10"] == {"model": 0.75, "plain_top": None, "uniform": None}
    assert metrics["retrieval"]["mrr"] == metrics["retrieval"]["reciprocal_rank"]["model"] == 0.5
    assert metrics["retrieval"]["posts"] == 10


def test_coverage_is_measured_for_known_and_cold_accounts() -> None:
    intervals = Intervals(known=half_widths(np.arange(100.0)), cold=half_widths(np.arange(20.0)), cold_rows="hidden")
    groups = coverage(build_scores(cold_account=np.arange(40) >= 30), intervals)
    assert groups["overall"]["80"]["measured"] == 0.8 and groups["overall"]["80"]["posts"] == 40
    assert groups["known_accounts"]["80"]["measured"] == 1 and groups["cold_accounts"]["80"]["measured"] == 0.2
    low, high = groups["cold_accounts"]["80"]["by_chance"]
    assert 0.3 < low < 0.8 < high <= 1
    assert groups["calibrated_on"] == {"known_accounts": 100, "cold_accounts": 20, "cold_rows": "hidden"}
    without = coverage(build_scores(**{"covered.95": np.nan}), intervals)
    assert without["cold_accounts"] == {} and "95" not in without["overall"]


def test_signs_of_effects_are_compared_where_the_true_effect_exceeds_the_noise() -> None:
    effects = [
        {"part": "media", "effect": 0.1, "true": 0.5},
        {"part": "media", "effect": 0.1, "true": -0.5},
        {"part": "username", "effect": -0.1, "true": -0.5},
        {"part": "username", "effect": -0.1, "true": 0.2},
        {"part": "caption", "effect": 1.0, "true": None},
    ]
    agreement = sign_agreement(effects, noise=0.35)
    assert agreement["sign_agreement"] == {"overall": pytest.approx(2 / 3), "media": 0.5, "username": 1.0}
    assert agreement["counted"] == {"overall": 3, "media": 2, "username": 1}
    assert sign_agreement([], noise=0.35) == {"sign_agreement": {}, "counted": {}}
    assert mean_effects(effects) == pytest.approx({"caption": 1.0, "media": 0.1, "username": 0.1})
