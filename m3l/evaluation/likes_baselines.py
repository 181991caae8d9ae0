"""Baselines of likes that read no media, fitted on the training posts.

Each has `fit(posts) -> self` and `predict(posts)`, the likes of each post in the same order. The likes of a post are
never used to predict them. Training posts without likes are ignored; if none has likes, `fit` raises ValueError.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Self

import lightgbm as lgb
import numpy as np
import pandas as pd
from jaxtyping import Float
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.model_selection import GroupKFold, KFold

from m3l.data.records import Post
from m3l.evaluation.text_metrics import words

Likes = Float[np.ndarray, " post"]
_EMOJI = "[\u203c-\u3299\U0001f000-\U0001faff]"
_ACCOUNT_COLUMNS = ["username", "company"]
_LARGE = 20_000  # rows from which one fold of cross-validation is enough and a second thread pays off


class Mean:
    """The mean likes of the training posts."""

    def fit(self, posts: Sequence[Post]) -> "Mean":
        self.likes = float(_likes(_labelled(posts)).mean())
        return self

    def predict(self, posts: Sequence[Post]) -> Likes:
        return np.full(len(posts), self.likes)


class AccountMedian:
    """The median likes of the account's training posts; of all training posts for a new account."""

    statistic = "median"

    def fit(self, posts: Sequence[Post]) -> Self:
        labelled = _labelled(posts)
        likes = pd.Series(_likes(labelled))
        self.overall = float(likes.agg(self.statistic))
        self.accounts = likes.groupby([post.username for post in labelled]).agg(self.statistic).to_dict()
        return self

    def predict(self, posts: Sequence[Post]) -> Likes:
        return np.array([self.accounts.get(post.username, self.overall) for post in posts], dtype=float)


class AccountMean(AccountMedian):
    """The mean likes of the account's training posts; of all training posts for a new account."""

    statistic = "mean"


class MetadataTrees:
    """Gradient-boosted trees that predict log(1 + likes) from the metadata and the account's earlier posts.

    Known and new accounts have separate trees. Those for new accounts read neither the account nor the company and are
    cross-validated on held-out companies, so that they learn what generalises to new accounts. Cross-validation on the
    training posts selects the size and number of trees. The prediction, exp(output) - 1, is roughly the median.

    Args:
        seed: Seed of the trees and folds.
        vocabulary: Number of caption words that are features.
    """

    def __init__(self, seed: int = 0, vocabulary: int = 100) -> None:
        self.seed = seed
        self.bag_of_words = CountVectorizer(analyzer=words, binary=True, max_features=vocabulary)

    def fit(self, posts: Sequence[Post]) -> "MetadataTrees":
        labelled = _labelled(posts)
        try:
            self.bag_of_words.fit([post.caption or "" for post in labelled])
        except ValueError:  # no caption has a word
            self.bag_of_words.fit(["nothing"])
        frame = features(labelled)
        self.categories = {
            name: pd.CategoricalDtype(sorted(frame[name].dropna().unique())) for name in _ACCOUNT_COLUMNS
        }
        target = np.log1p(_likes(labelled))
        self.past = _running_statistics(frame, target)
        table = self._table(frame, labelled)
        groups = frame["company"].fillna(frame["username"])
        self.known_account_trees = _boost(table, target, None, self.seed)
        self.new_account_trees = _boost(table[self._general_columns(table)], target, groups, self.seed)
        return self

    def predict(self, posts: Sequence[Post]) -> Likes:
        if not posts:
            return np.zeros(0)
        table = self._table(features(posts), posts)
        for_known = np.asarray(self.known_account_trees.predict(table))
        for_new = np.asarray(self.new_account_trees.predict(table[self._general_columns(table)]))
        log1p = np.where(table["username"].isna(), for_new, for_known)  # a new account is no category, hence missing
        return np.expm1(np.clip(log1p, 0, None))

    def _table(self, frame: pd.DataFrame, posts: Sequence[Post]) -> pd.DataFrame:
        counts = self.bag_of_words.transform([post.caption or "" for post in posts]).toarray()
        caption_words = pd.DataFrame(counts, columns=[f"word_{i}" for i in range(counts.shape[1])])
        past = _statistics_before(frame, self.past)
        return pd.concat([frame.astype(self.categories), past, caption_words], axis=1)

    def _general_columns(self, table: pd.DataFrame) -> list[str]:
        """The columns that are informative for a new account."""
        return [name for name in map(str, table) if name not in _ACCOUNT_COLUMNS and not name.startswith("past_")]


def features(posts: Sequence[Post]) -> pd.DataFrame:
    """The metadata of each post that are available before it is published, one row per post; never its likes."""
    return pd.DataFrame(
        {
            "username": pd.Series([post.username for post in posts], dtype=object),
            "company": pd.Series([post.company for post in posts], dtype=object),
            **_date_features([post.posted_at for post in posts]),
            "images": [sum(m.kind == "image" for m in post.media) for post in posts],
            "gifs": [sum(m.kind == "gif" for m in post.media) for post in posts],
            "videos": [sum(m.kind == "video" for m in post.media) for post in posts],
            "duration_s": [sum(m.duration_s or 0 for m in post.media) for post in posts],
        }
    ).join(_caption_features([post.caption for post in posts]))


def _date_features(dates: list[datetime | None]) -> dict[str, list[float]]:
    """Calendar features of each date; NaN without a date."""
    return {
        "day": [at.timestamp() / 86400 if at else np.nan for at in dates],
        "month": [at.month if at else np.nan for at in dates],
        "weekday": [at.weekday() if at else np.nan for at in dates],
        "hour": [at.hour + at.minute / 60 if at else np.nan for at in dates],
    }


def _caption_features(captions: list[str | None]) -> pd.DataFrame:
    """Counts of characters, words, hashtags and the like; missing without a caption."""
    text = pd.Series(captions, dtype=object).str
    patterns = {
        "characters": r"(?s:.)",
        "words": r"\w+",
        "hashtags": r"#\w",
        "mentions": r"@\w|<mention>",
        "emoji": _EMOJI,
        "questions": r"\?",
        "exclamations": "!",
        "newlines": "\n",
    }
    return pd.DataFrame({name: text.count(pattern).astype(float) for name, pattern in patterns.items()})


def _running_statistics(frame: pd.DataFrame, target: Likes) -> pd.DataFrame:
    """Statistics of each account's log(1 + likes) up to and including each of its posts, in time order."""
    timeline = frame[["username", "day"]].assign(likes=target).dropna(subset="day").sort_values("day", kind="stable")
    likes = timeline.groupby("username")["likes"]
    return timeline[["username", "day"]].assign(
        past_posts=likes.cumcount() + 1.0,
        past_last=timeline["likes"],
        past_mean=likes.cumsum() / (likes.cumcount() + 1),
        past_recent=likes.rolling(20, min_periods=1).median().droplevel(0),
        past_day=timeline["day"],
    )


def _statistics_before(frame: pd.DataFrame, past: pd.DataFrame) -> pd.DataFrame:
    """The running statistics of the posts strictly before each post; missing without a date."""
    posts = frame[["username", "day"]].reset_index().dropna(subset="day").sort_values("day", kind="stable")
    joined = pd.merge_asof(posts, past, on="day", by="username", allow_exact_matches=False).set_index("index")
    joined["past_day"] = joined["day"] - joined["past_day"]
    return joined.drop(columns=["username", "day"]).reindex(frame.index)


def _boost(table: pd.DataFrame, target: Likes, groups: pd.Series | None, seed: int) -> lgb.Booster:
    """Trees of the size and number that predict held-out rows best.

    Args:
        table: Features, one row per post.
        target: log(1 + likes).
        groups: Cross-validation holds out whole groups; None: single rows.
        seed: Seed of the trees and folds.
    """
    data = lgb.Dataset(table, target, free_raw_data=False)
    best: tuple[float, dict, int] = (np.inf, _settings(4, len(table), seed), 50)
    folds = _folds(len(table), groups, seed)
    for leaves in (4, 8, 31) if folds else ():
        settings, early_stopping = _settings(leaves, len(table), seed), lgb.early_stopping(50, verbose=False)
        loss = np.asarray(lgb.cv(settings, data, 3000, folds=folds, callbacks=[early_stopping])["valid l2-mean"])
        best = min(best, (loss[-1], settings, len(loss)), key=lambda trial: trial[0])
    return lgb.train(best[1], data, best[2])


def _folds(rows: int, groups: pd.Series | None, seed: int) -> list:
    """Five folds, or only the first of them for a large table; none for a table too small to learn from."""
    count = min(5, rows // 20 if groups is None else groups.nunique())
    if count < 2:
        return []
    kind = GroupKFold if groups is not None else KFold
    folds = list(kind(count, shuffle=True, random_state=seed).split(np.zeros(rows), groups=groups))
    return folds if rows < _LARGE else folds[:1]


def _settings(leaves: int, rows: int, seed: int) -> dict:
    return {
        "objective": "l2",
        "num_leaves": leaves,
        "learning_rate": 0.05,
        "min_data_in_leaf": 10,
        "min_data_per_group": 10,  # an account of ten posts may be a category of its own
        "cat_smooth": 5,
        "feature_fraction": 0.7,
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
        "lambda_l2": 1,
        "num_threads": 1 if rows < _LARGE else 2,  # on busy cores a second thread mostly waits
        "deterministic": True,
        "force_row_wise": True,
        "seed": seed,
        "verbosity": -1,
    }


def _labelled(posts: Sequence[Post]) -> list[Post]:
    labelled = [post for post in posts if post.likes is not None]
    if not labelled:
        raise ValueError("no training post has likes")
    return labelled


def _likes(posts: Sequence[Post]) -> Likes:
    return np.array([post.likes for post in posts], dtype=float)
