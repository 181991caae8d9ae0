"""The strongest baselines where the account is known: its rolling level, and trees on its history and the metadata.

Both take posts that hold their histories (m3l/history/timeline.py), and never read a post's own likes to predict it.
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


LEVELS = (
    *("mean", "median", "median_20", "median_5", "last", "recent", "company_recent"),
    *("prior_mean", "prior_median", "prior_low", "prior_high"),
)


class AccountRecent:
    """The median likes of the account's last 20 earlier posts, else of its prior, else of all training posts."""

    def fit(self, posts: Sequence[Post]) -> "AccountRecent":
        self.overall = float(np.median(_levels(posts)))
        return self

    def predict(self, posts: Sequence[Post]) -> Likes:
        return np.expm1([_recent(post, self.overall) for post in posts])


class HistoryTrees:
    """Gradient-boosted trees on how log(1 + likes) departs from the account's level, by all that a history tells."""

    def __init__(self, seed: int = 0) -> None:
        self.settings = {**SETTINGS, "seed": seed}

    def fit(self, posts: Sequence[Post]) -> "HistoryTrees":
        known = [post for post in posts if post.likes is not None]
        levels = _levels(known)
        self.overall = float(np.median(levels))
        self.trees = lgb.train(self.settings, lgb.Dataset(self._table(known), levels - self._level(known)), ROUNDS)
        return self

    def predict(self, posts: Sequence[Post]) -> Likes:
        if not posts:
            return np.zeros(0)
        departs = np.asarray(self.trees.predict(self._table(posts)))
        return np.expm1(np.clip(self._level(posts) + departs, 0, None))

    def _level(self, posts: Sequence[Post]) -> Likes:
        return np.array([_level(post, self.overall) for post in posts])

    def _table(self, posts: Sequence[Post]) -> pd.DataFrame:
        said = features(posts).drop(columns=["username", "company"])
        past = pd.DataFrame([_columns(post.history or History()) for post in posts]).astype(float)
        level = self._level(posts)
        for name in LEVELS:
            past[f"{name}_beyond"] = past[name] - level
        return pd.concat([said, past], axis=1)


def _columns(history: History) -> dict[str, float | None]:
    told = history.model_dump(exclude={"captions", "prior"})
    prior = history.prior.model_dump(exclude={"until"}) if history.prior else {}
    return told | {f"prior_{name}": prior.get(name) for name in ("mean", "median", "low", "high")}


def _recent(post: Post, otherwise: float) -> float:
    history = post.history or History()
    if history.median_20 is not None:
        return history.median_20
    return history.prior.median if history.prior else otherwise


def _level(post: Post, otherwise: float) -> float:
    level = post.history.level if post.history else None
    return otherwise if level is None else level


def _levels(posts: Sequence[Post]) -> Likes:
    known = np.array([post.likes for post in posts if post.likes is not None], dtype=float)
    if not len(known):
        raise ValueError("no training post has likes")
    return np.log1p(known)
