"""Numbers of held-out posts -> the figures of metrics.json, each with its bootstrap interval, beside its baselines."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from m3l.evaluation.bootstrap import Column, Draws, Rounds, each_round, interval
from m3l.evaluation.likes_metrics import likes_metrics
from m3l.evaluation.text_metrics import BLEU_SUMS, bleu
from m3l.inference.conformal import LEVELS, Intervals, by_chance

Figures = dict[str, dict[str, tuple[float | None, Rounds]]]  # metric -> who -> as it is, and in each round
Numbers = Mapping[str, Column]  # column of measured rows -> its value for each post, NaN where it is not known
FOUND = {
    "recall_at_10": "recall",
    "reciprocal_rank": "reciprocal_rank",
    "near_duplicates": "near_duplicates",
    "shows_both": "shows_both",
}
TOLD = {"subject_named": "names_all", "order_right": "order_right", "rouge_l": "rouge_l", "cider": "cider"}


def summarise(numbers: Numbers, rounds: int, seed: int) -> dict[str, Any]:
    """The figures of some posts: likes, captions, retrieval, and their intervals; what cannot be told is None.

    `numbers` are the columns of MEASURED and of the baselines: `likes`, and `likes.WHO`, `captions.WHO.FIGURE`,
    `retrieval.WHO.FIGURE` by whoever told them.
    """
    draws = Draws(len(numbers["likes"]), rounds, seed)
    found = {
        "likes": _likes(numbers, draws),
        "captions": _captions(numbers, draws),
        "retrieval": _retrieval(numbers, draws),
    }
    retrieval = _values(found["retrieval"])
    known = np.isfinite(numbers["retrieval.model.recall"])
    return {
        "likes": _values(found["likes"]),
        "captions": _by_model(_values(found["captions"])),
        "retrieval": {**retrieval, "mrr": retrieval["reciprocal_rank"]["model"], "posts": int(known.sum())},
        "posts": len(numbers["likes"]),
        "intervals": {kind: _intervals(figures) for kind, figures in found.items()},
    }


def coverage(numbers: Numbers, made: Intervals) -> dict[str, Any]:
    """Group -> level -> the share of likes inside its interval, and where such shares lie `by_chance` alone."""
    cold = numbers["cold_account"] > 0
    groups = {"overall": np.ones(len(cold), bool), "known_accounts": ~cold, "cold_accounts": cold}
    calibrated = {"known_accounts": made.known.rows, "cold_accounts": made.cold.rows}
    told: dict[str, Any] = {}
    for name, chosen in groups.items():
        inside = {level: numbers[f"covered.{level}"][chosen] for level in LEVELS}
        known = {level: values[np.isfinite(values)] for level, values in inside.items()}
        rows = calibrated.get(name, made.known.rows + made.cold.rows)
        told[name] = {
            str(level): {
                "measured": float(values.mean()),
                "posts": len(values),
                "by_chance": by_chance(level, rows, len(values)),
            }
            for level, values in known.items()
            if len(values)
        }
    return told | {"calibrated_on": {**calibrated, "cold_rows": made.cold_rows}}


def agreement(effects: Iterable[dict[str, Any]], noise: float) -> dict[str, Any]:
    """How often the sign of an effect is the formula's, where that effect exceeds the noise, over all and by part."""
    right: dict[str, list[bool]] = defaultdict(list)
    for effect in effects:
        if effect["true"] is not None and abs(effect["true"]) > noise:
            for name in ("overall", effect["part"]):
                right[name].append((effect["effect"] > 0) == (effect["true"] > 0))
    return {
        "sign_agreement": {name: float(np.mean(found)) for name, found in right.items()},
        "counted": {name: len(found) for name, found in right.items()},
    }


def _likes(numbers: Numbers, draws: Draws) -> Figures:
    true, told = numbers["likes"], _by_who(numbers, "likes")
    made: Figures = {}
    for who, columns in told.items():
        predicted = columns[""]
        if np.isnan(predicted).all():  # nothing is known of what likes are made of
            continue
        rounds = draws.likes(true, predicted)
        for metric, value in likes_metrics(true, predicted).items():
            made.setdefault(metric, {})[who] = (value, rounds[metric])
    return made


def _captions(numbers: Numbers, draws: Draws) -> Figures:
    made: Figures = {}
    for who, columns in _by_who(numbers, "captions").items():
        if np.isnan(columns["rouge_l"]).all():  # likes alone were told
            continue
        rounds = {metric: draws.mean(columns[name]) for metric, name in TOLD.items() if name in columns}
        rounds |= each_round(bleu, {name: draws.sums(columns[name]) for name in BLEU_SUMS})
        if "nll" in columns:
            rounds["perplexity"] = np.exp(draws.ratio(columns["nll"], columns["tokens"]))
        for metric, values in rounds.items():
            made.setdefault(metric, {})[who] = (_known(values[0]), values)
    return made


def _retrieval(numbers: Numbers, draws: Draws) -> Figures:
    made: Figures = {metric: {} for metric in FOUND}
    for who, columns in _by_who(numbers, "retrieval").items():
        for metric, name in FOUND.items():
            rounds = draws.mean(columns[name])
            made[metric][who] = (_known(rounds[0]), rounds)
    return made


def _values(figures: Figures) -> dict[str, dict[str, float | None]]:
    return {metric: {who: value for who, (value, _) in by.items()} for metric, by in figures.items()}


def _intervals(figures: Figures) -> dict[str, dict[str, tuple[float, float] | None]]:
    return {metric: {who: interval(rounds) for who, (_, rounds) in by.items()} for metric, by in figures.items()}


def _by_who(numbers: Numbers, kind: str) -> dict[str, dict[str, Column]]:
    """Who told -> figure -> column, of the columns `KIND.WHO` and `KIND.WHO.FIGURE`."""
    told: dict[str, dict[str, Column]] = {}
    for name, column in numbers.items():
        start, _, rest = name.partition(".")
        who, _, figure = rest.partition(".")
        if start == kind and who:
            told.setdefault(who, {})[figure] = column
    return told


def _by_model(captions: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The model's figures by their names, where shuffled media matter beside them; the others' under `beside`."""
    model = {metric: by.get("model") for metric, by in captions.items()}
    model["subject_named"] = {who: captions.get("subject_named", {}).get(who) for who in ("model", "shuffled_media")}
    others = {who for by in captions.values() for who in by if who != "model"}
    beside = {who: {metric: by[who] for metric, by in captions.items() if who in by} for who in sorted(others)}
    return model | {"beside": beside}


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
