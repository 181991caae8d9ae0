"""Numbers of posts become figures beside their baselines, and what cannot be told is None."""

from typing import Any

import numpy as np
import pytest

from m3l.evaluation.score_schema import NUMBERS
from m3l.evaluation.summarise import agreement, coverage, summarise
from m3l.evaluation.text_metrics import BLEU_SUMS
from m3l.inference.conformal import Intervals, widths


def numbers(posts: int = 40, **known: Any) -> dict[str, np.ndarray]:
    """Columns of posts whose captions share half of their words with the true ones."""
    likes = 10.0 * np.arange(1, posts + 1)
    made: dict[str, Any] = dict.fromkeys(NUMBERS, np.nan)
    made |= {"likes": likes, "likes.model": likes * 1.1, "likes.model_without_media": likes * 2, "cold_account": 0.0}
    made |= {"likes.noise_floor": likes, "likes.mean": likes.mean()}
    words = dict.fromkeys(BLEU_SUMS, 8.0) | {f"correct{n}": 4.0 for n in (1, 2, 3, 4)}
    for who in ("model", "shuffled_media", "constant"):
        sums = {f"captions.{who}.{name}": value for name, value in words.items()}
        made |= sums | {f"captions.{who}.rouge_l": 0.5, f"captions.{who}.cider": 2.0}
    for who in ("model", "shuffled_media"):
        made |= {f"captions.{who}.nll": 5.0, f"captions.{who}.tokens": 10.0}
        made |= {f"captions.{who}.names_all": float(who == "model"), f"captions.{who}.order_right": 0.0}
    made |= {f"covered.{level}": np.arange(posts) < posts * level / 100 for level in (50, 80, 95)} | known
    return {name: np.broadcast_to(value, posts).astype(np.float64) for name, value in made.items()}


def summary(**known: Any) -> dict[str, Any]:
    return summarise(numbers(**known), rounds=50, seed=0)


def test_the_model_stands_beside_its_baselines() -> None:
    told = summary()
    error, spread = told["likes"]["rmsle"], told["intervals"]["likes"]["rmsle"]
    assert error["noise_floor"] == pytest.approx(0) and error["noise_floor"] < error["model"]
    assert error["model"] < error["model_without_media"] < error["mean"]
    assert spread.keys() == error.keys() and spread["mean"][0] < error["mean"] < spread["mean"][1]
    assert told["posts"] == 40


def test_captions_stand_beside_other_captions() -> None:
    told = summary()["captions"]
    assert told["subject_named"] == {"model": 1.0, "shuffled_media": 0.0} and told["order_right"] == 0
    assert told["bleu4"] == pytest.approx(0.5) and told["cider"] == 2 and told["rouge_l"] == 0.5
    assert told["perplexity"] == pytest.approx(np.exp(0.5))
    assert told["beside"].keys() == {"shuffled_media", "constant"}
    assert told["beside"]["constant"] == pytest.approx(
        {"bleu1": 0.5, "bleu2": 0.5, "bleu3": 0.5, "bleu4": 0.5, "rouge_l": 0.5, "cider": 2.0}
    )


def test_what_is_not_known_is_none() -> None:
    names = {f"captions.{who}.{name}": np.nan for who in ("model", "shuffled_media") for name in ("names_all", "cider")}
    told = summary(**{"likes.noise_floor": np.nan}, **names)
    assert "noise_floor" not in told["likes"]["rmsle"]
    assert told["captions"]["subject_named"] == {"model": None, "shuffled_media": None}
    assert told["captions"]["cider"] is None and told["intervals"]["captions"]["cider"]["model"] is None
    assert set(told["retrieval"]["recall_at_10"].values()) == {None}
    assert told["retrieval"]["mrr"] is None and told["retrieval"]["posts"] == 0


def test_retrieval_is_the_mean_over_known_posts() -> None:
    recall = np.where(np.arange(40) < 10, 0.75, np.nan)
    told = summary(**{"retrieval.model.recall": recall, "retrieval.model.reciprocal_rank": 0.5})
    assert told["retrieval"]["recall_at_10"] == {"model": 0.75, "plain_top": None, "uniform": None}
    assert told["retrieval"]["mrr"] == told["retrieval"]["reciprocal_rank"]["model"] == 0.5
    assert told["retrieval"]["posts"] == 10


def test_coverage_is_told_of_known_and_cold_accounts() -> None:
    made = Intervals(known=widths(np.arange(100.0)), cold=widths(np.arange(20.0)), cold_rows="hidden")
    told = coverage(numbers(cold_account=np.arange(40) >= 30), made)
    assert told["overall"]["80"]["measured"] == 0.8 and told["overall"]["80"]["posts"] == 40
    assert told["known_accounts"]["80"]["measured"] == 1 and told["cold_accounts"]["80"]["measured"] == 0.2
    low, high = told["cold_accounts"]["80"]["by_chance"]
    assert 0.3 < low < 0.8 < high <= 1
    assert told["calibrated_on"] == {"known_accounts": 100, "cold_accounts": 20, "cold_rows": "hidden"}
    nothing = coverage(numbers(**{"covered.95": np.nan}), made)
    assert nothing["cold_accounts"] == {} and "95" not in nothing["overall"]


def test_signs_agree_where_the_truth_exceeds_the_noise() -> None:
    effects = [
        {"part": "media", "effect": 0.1, "true": 0.5},
        {"part": "media", "effect": 0.1, "true": -0.5},
        {"part": "username", "effect": -0.1, "true": -0.5},
        {"part": "username", "effect": -0.1, "true": 0.2},
        {"part": "caption", "effect": 1.0, "true": None},
    ]
    told = agreement(effects, noise=0.35)
    assert told["sign_agreement"] == {"overall": pytest.approx(2 / 3), "media": 0.5, "username": 1.0}
    assert told["counted"] == {"overall": 3, "media": 2, "username": 1}
    assert agreement([], noise=0.35) == {"sign_agreement": {}, "counted": {}}
