"""Scores of held-out posts -> the metrics of metrics.json, each with its bootstrap interval, next to baselines."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from m3l.evaluation.bootstrap import (
    PoissonBootstrap,
    PostValues,
    Replicates,
    per_replicate,
    percentile_interval,
)
from m3l.evaluation.likes_metrics import likes_metrics
from m3l.evaluation.text_metrics import BLEU_SUMS, corpus_bleu

Scores = Mapping[str, PostValues]  # column of SCORES or of a baseline -> value of each post, NaN if not measured
Metrics = dict[str, dict[str, tuple[float | None, Replicates]]]  # metric -> predictor -> value, and its replicates
RETRIEVAL_METRICS = {  # metric -> the score that it is the mean of
    "recall_at_10": "recall",
    "reciprocal_rank": "reciprocal_rank",
    "near_duplicates": "near_duplicates",
    "shows_both": "shows_both",
}
CAPTION_METRICS = {
    "subject_named": "names_all",
    "order_right": "order_right",
    "rouge_l": "rouge_l",
    "cider": "cider",
}


def summarise(scores: Scores, replicates: int, seed: int) -> dict[str, Any]:
    """The metrics of some posts: likes, captions, retrieval, and their 95% intervals.

    Args:
        scores: The columns of SCORES and of the baselines: `likes` (actual), `likes.PREDICTOR` (predicted),
            `captions.PREDICTOR.SCORE` and `retrieval.SELECTION.SCORE`.
        replicates: Number of bootstrap replicates.
        seed: Seed of the bootstrap.

    Returns:
        A section of metrics.json. What was not measured is None.
    """
    bootstrap = PoissonBootstrap(len(scores["likes"]), replicates, seed)
    metrics = {
        "likes": _likes(scores, bootstrap),
        "captions": _captions(scores, bootstrap),
        "retrieval": _retrieval(scores, bootstrap),
    }
    retrieval = _values(metrics["retrieval"])
    measured = np.isfinite(scores["retrieval.model.recall"])
    return {
        "likes": _values(metrics["likes"]),
        "captions": _beside_model(_values(metrics["captions"])),
        "retrieval": {**retrieval, "mrr": retrieval["reciprocal_rank"]["model"], "posts": int(measured.sum())},
        "posts": len(scores["likes"]),
        "intervals": {kind: _intervals(each) for kind, each in metrics.items()},
    }


def _likes(scores: Scores, bootstrap: PoissonBootstrap) -> Metrics:
    actual = scores["likes"]
    metrics: Metrics = {}
    for predictor, columns in _by_predictor(scores, "likes").items():
        predicted = columns[""]
        if np.isnan(predicted).all():  # not measured, as the noise floor of posts from elsewhere
            continue
        replicates = bootstrap.likes(actual, predicted)
        for metric, value in likes_metrics(actual, predicted).items():
            metrics.setdefault(metric, {})[predictor] = (value, replicates[metric])
    return metrics


def _captions(scores: Scores, bootstrap: PoissonBootstrap) -> Metrics:
    metrics: Metrics = {}
    for predictor, columns in _by_predictor(scores, "captions").items():
        if np.isnan(columns["rouge_l"]).all():  # only likes were predicted
            continue
        replicates = {
            metric: bootstrap.mean(columns[name]) for metric, name in CAPTION_METRICS.items() if name in columns
        }
        replicates |= per_replicate(corpus_bleu, {name: bootstrap.sums(columns[name]) for name in BLEU_SUMS})
        if "nll" in columns:
            replicates["perplexity"] = np.exp(bootstrap.ratio(columns["nll"], columns["tokens"]))
        for metric, values in replicates.items():
            metrics.setdefault(metric, {})[predictor] = (_none_if_nan(values[0]), values)
    return metrics


def _retrieval(scores: Scores, bootstrap: PoissonBootstrap) -> Metrics:
    metrics: Metrics = {metric: {} for metric in RETRIEVAL_METRICS}
    for selection, columns in _by_predictor(scores, "retrieval").items():
        for metric, name in RETRIEVAL_METRICS.items():
            replicates = bootstrap.mean(columns[name])
            metrics[metric][selection] = (_none_if_nan(replicates[0]), replicates)
    return metrics


def _values(metrics: Metrics) -> dict[str, dict[str, float | None]]:
    return {
        metric: {predictor: value for predictor, (value, _) in by_predictor.items()}
        for metric, by_predictor in metrics.items()
    }


def _intervals(metrics: Metrics) -> dict[str, dict[str, tuple[float, float] | None]]:
    return {
        metric: {predictor: percentile_interval(replicates) for predictor, (_, replicates) in by_predictor.items()}
        for metric, by_predictor in metrics.items()
    }


def _by_predictor(scores: Scores, kind: str) -> dict[str, dict[str, PostValues]]:
    """Predictor -> score -> values, of the columns `KIND.PREDICTOR` (whose score is "") and `KIND.PREDICTOR.SCORE`."""
    columns: dict[str, dict[str, PostValues]] = {}
    for name, values in scores.items():
        start, _, rest = name.partition(".")
        predictor, _, score = rest.partition(".")
        if start == kind and predictor:
            columns.setdefault(predictor, {})[score] = values
    return columns


def _beside_model(captions: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The model's caption metrics by name, and the other predictors' under `beside`.

    `subject_named` alone has the value for shuffled media next to the model's.
    """
    model = {metric: by_predictor.get("model") for metric, by_predictor in captions.items()}
    model["subject_named"] = {name: captions.get("subject_named", {}).get(name) for name in ("model", "shuffled_media")}
    others = sorted({name for by_predictor in captions.values() for name in by_predictor if name != "model"})
    beside = {
        name: {metric: by_predictor[name] for metric, by_predictor in captions.items() if name in by_predictor}
        for name in others
    }
    return model | {"beside": beside}


def _none_if_nan(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
