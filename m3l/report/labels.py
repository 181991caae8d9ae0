"""The report's labels, and how numbers are written."""

import math
from typing import Any

PREDICTORS = {  # as they stand inside a sentence
    "model": "this model",
    "model_without_media": "this model without media",
    "trees_metadata": "boosted trees on metadata",
    "account_median": "account median",
    "trees_history": "boosted trees on account history",
    "account_recent": "median of the last 20 posts",
    "account_mean": "account mean",
    "mean": "overall mean",
    "noise_floor": "best possible (noise floor)",
    "shuffled_media": "with another post's media",
    "nearest_post": "the account's previous caption",
    "constant": "one caption for all posts",
    "plain_top": "most similar frames",
    "uniform": "evenly spaced frames",
}
GROUPS = {"overall": "All accounts", "known_accounts": "Known accounts", "cold_accounts": "New accounts"}
PARTS = {
    "media": "All media",
    "frame": "One frame",
    "username": "Account name",
    "company": "Company",
    "posted_at": "Posting time",
    "keywords": "Keywords",
    "caption": "Caption",
    "history": "Account history",
}
RETRIEVERS = {
    "teacher_caption": "Teacher, given the actual caption",
    "teacher": "Teacher, given the metadata",
    "untrained": "CLIP before training",
    "uniform": "Evenly spaced frames",
}
SPLITS = {"test_random": "random posts", "test_accounts": "new accounts", "test_time": "later posts"}
METRICS = {
    "r2_log1p": "R² (log likes)",
    "rmse": "RMSE (likes)",
    "rmsle": "RMSLE",
    "mae": "MAE (likes)",
    "spearman": "Rank correlation",
    "subject_named": "Names what is shown",
    "order_right": "In order of appearance",
    "bleu1": "BLEU-1",
    "bleu2": "BLEU-2",
    "bleu3": "BLEU-3",
    "bleu4": "BLEU-4",
    "rouge_l": "ROUGE-L",
    "cider": "CIDEr",
    "perplexity": "Perplexity of the actual caption, per token",
    "recall_at_10": "Recall@10",
    "mrr": "Mean reciprocal rank",
    "reciprocal_rank": "Mean reciprocal rank",
    "near_duplicates": "Near-duplicate frames",
    "shows_both": "Both of two subjects shown",
}


def predictor(name: str) -> str:
    """The label of a predictor on its own, with a capital letter; an unlabelled name as it is."""
    label = PREDICTORS.get(name, "")
    return label[:1].upper() + label[1:] or name


def dig(tree: Any, path: str) -> Any:
    """The value at a dotted path, or None if any part of it is missing."""
    for part in path.split("."):
        tree = tree.get(part) if isinstance(tree, dict) else None
    return tree


def number(value: Any) -> str:
    """A number with at most four digits; a dash for None and NaN."""
    if value is None or value != value:  # NaN
        return "–"
    if not isinstance(value, int | float) or isinstance(value, bool):
        return str(value)
    if isinstance(value, int) or abs(value) >= 100:
        return f"{value:,.0f}".replace("-", "−")
    digits = ".1f" if abs(value) >= 10 else ".2g" if 0 < abs(value) < 0.01 else ".3f"
    return f"{value:{digits}}".replace("-", "−")


def percent(share: int | float) -> str:
    """A share as a whole percentage: 87%."""
    return f"{100 * share:.0f}%".replace("-", "−")


def change(effect: float) -> str:
    """An effect on log(1 + likes) as the relative change of the likes: +12%."""
    return f"{100 * math.expm1(effect):+.0f}%".replace("-", "−")


def compact(value: int | float) -> str:
    """A count in few characters: 950, 1.2k, 13k, 4.5M."""
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= size * 0.9995:
            return f"{value / size:.3g}{unit}" if abs(value) < 10 * size else f"{value / size:.0f}{unit}"
    return f"{value:.0f}"
