"""Baselines of likes that read the account's history: its recent median, and trees on the history and the metadata.

Both take posts with their histories (m3l/history/timeline.py). The likes of a post are never used to predict them.
"""

from collections.abc import Sequence

import lightgbm as lgb
import numpy as np
import pandas as pd
from jaxtyping import Float

from m3l.data.records import History, Post
from m3l.evaluation.likes_baselines import features

Likes = Float[np.ndarray, " post"]
ROUNDS = 400
SETTINGS = {
    "objective": "l2",
    "num_leaves": 7,
    "learning_rate": 0.03,
    "min_data_in_leaf": 20,
    "feature_fraction": 0.6,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "lambda_l2": 1,
    "num_threads": 1,
    "deterministic": True,
    "force_row_wise": True,
    "verbosity": -1,
}
LEVEL_COLUMNS = (  # statistics in log(1 + likes), also given relative to the account's level
    *("mean", "median", "median_20", "median_5", "last", "recent", "company_recent"),
    *("prior_mean", "prior_median", "prior_low", "prior_high"),
)


class AccountRecent:
    """The median likes of the account's last 20 earlier posts; else its prior's, else that of all training posts."""

    def fit(self, posts: Sequence[Post]) -> "AccountRecent":
        self.overall = float(np.median(_log1p_likes(posts)))
        return self

    def predict(self, posts: Sequence[Post]) -> Likes:
        return np.expm1([_recent_level(post, self.overall) for post in posts])


class HistoryTrees:
    """Gradient-boosted trees that predict how log(1 + likes) deviates from the account's level (`History.level`)."""

    def __init__(self, seed: int = 0) -> None:
        self.settings = {**SETTINGS, "seed": seed}

    def fit(self, posts: Sequence[Post]) -> "HistoryTrees":
        labelled = [post for post in posts if post.likes is not None]
        target = _log1p_likes(labelled)
        self.overall = float(np.median(target))
        deviations = target - self._level(labelled)
        self.trees = lgb.train(self.settings, lgb.Dataset(self._table(labelled), deviations), ROUNDS)
        return self

    def predict(self, posts: Sequence[Post]) -> Likes:
        if not posts:
            return np.zeros(0)
        deviations = np.asarray(self.trees.predict(self._table(posts)))
        return np.expm1(np.clip(self._level(posts) + deviations, 0, None))

    def _level(self, posts: Sequence[Post]) -> Likes:
        return np.array([_level(post, self.overall) for post in posts])

    def _table(self, posts: Sequence[Post]) -> pd.DataFrame:
        metadata = features(posts).drop(columns=["username", "company"])
        past = pd.DataFrame([_history_features(post.history or History()) for post in posts]).astype(float)
        level = self._level(posts)
        for name in LEVEL_COLUMNS:
            past[f"{name}_beyond"] = past[name] - level
        return pd.concat([metadata, past], axis=1)


def _history_features(history: History) -> dict[str, float | None]:
    values = history.model_dump(exclude={"captions", "prior"})
    prior = history.prior.model_dump(exclude={"until"}) if history.prior else {}
    return values | {f"prior_{name}": prior.get(name) for name in ("mean", "median", "low", "high")}


def _recent_level(post: Post, default: float) -> float:
    history = post.history or History()
    if history.median_20 is not None:
        return history.median_20
    return history.prior.median if history.prior else default


def _level(post: Post, default: float) -> float:
    level = post.history.level if post.history else None
    return default if level is None else level


def _log1p_likes(posts: Sequence[Post]) -> Likes:
    likes = np.array([post.likes for post in posts if post.likes is not None], dtype=float)
    if not len(likes):
        raise ValueError("no training post has likes")
    return np.log1p(likes)
