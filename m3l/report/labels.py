"""The report's words: what things are called, and how numbers are written."""

import math
from typing import Any

PREDICTORS = {
    "model": "the model",
    "model_without_media": "the model without the media",
    "trees_metadata": "trees without the media",
    "account_median": "the account's median",
    "trees_history": "trees on the account's history",
    "account_recent": "the account's last 20 posts",
    "account_mean": "the account's mean",
    "mean": "the mean of all",
    "noise_floor": "perfect knowledge",
    "shuffled_media": "shown another post's media",
    "nearest_post": "the account's nearest post",
    "constant": "one caption for all",
    "plain_top": "the plain top 10",
    "uniform": "evenly spaced frames",
}
GROUPS = {"overall": "all posts", "known_accounts": "accounts it knows", "cold_accounts": "new accounts"}
PARTS = {
    "media": "the media",
    "frame": "one of the frames",
    "username": "the account",
    "company": "the company",
    "posted_at": "the time",
    "keywords": "the keywords",
    "caption": "the caption",
}
RETRIEVERS = {
    "teacher_caption": "the teacher, given the true caption",
    "teacher": "the teacher, given the metadata",
    "untrained": "CLIP before training",
    "uniform": "evenly spaced frames",
}
SPLITS = {"test_random": "random posts", "test_accounts": "unseen accounts", "test_time": "later posts"}
METRICS = {
    "r2_log1p": "R² of log likes",
    "rmse": "RMSE",
    "rmsle": "RMSLE",
    "mae": "MAE",
    "spearman": "Spearman",
    "subject_named": "names what is shown",
    "order_right": "in the order shown",
    "bleu1": "BLEU-1",
    "bleu2": "BLEU-2",
    "bleu3": "BLEU-3",
    "bleu4": "BLEU-4",
    "rouge_l": "ROUGE-L",
    "cider": "CIDEr",
    "perplexity": "perplexity of the true caption, per token",
    "recall_at_10": "recall at 10",
    "mrr": "mean reciprocal rank",
    "reciprocal_rank": "mean reciprocal rank",
    "near_duplicates": "near-duplicates among the ten",
    "shows_both": "shows both of two subjects",
}


def dig(tree: Any, path: str) -> Any:
    """The value at a dotted path, or None where any part of it is missing."""
    for part in path.split("."):
        tree = tree.get(part) if isinstance(tree, dict) else None
    return tree


def number(value: Any) -> str:
    """A number in at most four digits; a dash where there is none."""
    if value is None or value != value:  # NaN
        return "–"
    if not isinstance(value, int | float) or isinstance(value, bool):
        return str(value)
    if isinstance(value, int) or abs(value) >= 100:
        return f"{value:,.0f}".replace("-", "−")
    digits = ".1f" if abs(value) >= 10 else ".2g" if 0 < abs(value) < 0.01 else ".3f"
    return f"{value:{digits}}".replace("-", "−")


def percent(share: int | float) -> str:
    return f"{100 * share:.0f}%".replace("-", "−")


def change(effect: float) -> str:
    """An effect on log(1 + likes) as the share by which it changes the likes: +12%."""
    return f"{100 * math.expm1(effect):+.0f}%".replace("-", "−")


def compact(value: int | float) -> str:
    """A count in few signs: 950, 1.2k, 13k, 4.5M."""
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= size * 0.9995:
            return f"{value / size:.3g}{unit}" if abs(value) < 10 * size else f"{value / size:.0f}{unit}"
    return f"{value:.0f}"
