"""Honest baselines of likes, fitted on the training rows alone: what is known of a post without reading its media.

Each has `fit(posts) -> self` and `predict(posts)`, one answer per post in the same order; a post's own likes
are never read to predict it. Training posts without likes are left out; none left is a ValueError.
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
_WHO = ["username", "company"]
_MANY = 20_000  # rows from which one fold and a second thread are worth it


class Mean:
    """The mean likes of the training posts."""

    def fit(self, posts: Sequence[Post]) -> "Mean":
        self.likes = float(_likes(_labelled(posts)).mean())
        return self

    def predict(self, posts: Sequence[Post]) -> Likes:
        return np.full(len(posts), self.likes)


class AccountMedian:
    """The median likes of the account's training posts; of all training posts for an account never seen."""

    statistic = "median"

    def fit(self, posts: Sequence[Post]) -> Self:
        known = _labelled(posts)
        likes = pd.Series(_likes(known))
        self.overall = float(likes.agg(self.statistic))
        self.accounts = likes.groupby([post.username for post in known]).agg(self.statistic).to_dict()
        return self

    def predict(self, posts: Sequence[Post]) -> Likes:
        return np.array([self.accounts.get(post.username, self.overall) for post in posts], dtype=float)


class AccountMean(AccountMedian):
    """The mean likes of the account's training posts; of all training posts for an account never seen."""

    statistic = "mean"


class MetadataTrees:
    """Gradient-boosted trees on log(1 + likes): all that a post says but its pixels, and the account's past.

    Known accounts and strangers get trees of their own: the strangers' never see the account or the company
    and are validated on companies held out, so that they learn what carries over. Size and number of trees
    come from cross-validation inside the training posts. A prediction is e^tree - 1: the median, roughly.
    """

    def __init__(self, seed: int = 0, vocabulary: int = 100) -> None:
        self.seed = seed
        self.bag = CountVectorizer(analyzer=words, binary=True, max_features=vocabulary)

    def fit(self, posts: Sequence[Post]) -> "MetadataTrees":
        known = _labelled(posts)
        try:
            self.bag.fit([post.caption or "" for post in known])
        except ValueError:  # not one word in any caption
            self.bag.fit(["nothing"])
        frame = features(known)
        self.categories = {name: pd.CategoricalDtype(sorted(frame[name].dropna().unique())) for name in _WHO}
        target = np.log1p(_likes(known))
        self.past = _running(frame, target)
        table = self._table(frame, known)
        groups = frame["company"].fillna(frame["username"])
        self.insider = _boost(table, target, None, self.seed)
        self.stranger = _boost(table[self._general(table)], target, groups, self.seed)
        return self

    def predict(self, posts: Sequence[Post]) -> Likes:
        if not posts:
            return np.zeros(0)
        table = self._table(features(posts), posts)
        insider = np.asarray(self.insider.predict(table))
        stranger = np.asarray(self.stranger.predict(table[self._general(table)]))
        log = np.where(table["username"].isna(), stranger, insider)
        return np.expm1(np.clip(log, 0, None))

    def _table(self, frame: pd.DataFrame, posts: Sequence[Post]) -> pd.DataFrame:
        bag = self.bag.transform([post.caption or "" for post in posts]).toarray()
        said = pd.DataFrame(bag, columns=[f"word_{i}" for i in range(bag.shape[1])])
        past = _before(frame, self.past)
        return pd.concat([frame.astype(self.categories), past, said], axis=1)

    def _general(self, table: pd.DataFrame) -> list[str]:
        """The columns that mean something for an account never seen."""
        return [name for name in map(str, table) if name not in _WHO and not name.startswith("past_")]


def features(posts: Sequence[Post]) -> pd.DataFrame:
    """What is known of each post without its pixels before it is out, one row per post; never its likes."""
    return pd.DataFrame(
        {
            "username": pd.Series([post.username for post in posts], dtype=object),
            "company": pd.Series([post.company for post in posts], dtype=object),
            **_when([post.posted_at for post in posts]),
            "images": [sum(m.kind == "image" for m in post.media) for post in posts],
            "gifs": [sum(m.kind == "gif" for m in post.media) for post in posts],
            "videos": [sum(m.kind == "video" for m in post.media) for post in posts],
            "duration_s": [sum(m.duration_s or 0 for m in post.media) for post in posts],
        }
    ).join(_shape([post.caption for post in posts]))


def _when(moments: list[datetime | None]) -> dict[str, list[float]]:
    """Parts of each moment; missing where it is not known."""
    return {
        "day": [at.timestamp() / 86400 if at else np.nan for at in moments],
        "month": [at.month if at else np.nan for at in moments],
        "weekday": [at.weekday() if at else np.nan for at in moments],
        "hour": [at.hour + at.minute / 60 if at else np.nan for at in moments],
    }


def _shape(captions: list[str | None]) -> pd.DataFrame:
    """The form of captions in counts; missing where there is no caption."""
    text = pd.Series(captions, dtype=object).str
    counted = {
        "characters": r"(?s:.)",
        "words": r"\w+",
        "hashtags": r"#\w",
        "mentions": r"@\w|<mention>",
        "emoji": _EMOJI,
        "questions": r"\?",
        "exclamations": "!",
        "newlines": "\n",
    }
    return pd.DataFrame({name: text.count(pattern).astype(float) for name, pattern in counted.items()})


def _running(frame: pd.DataFrame, target: Likes) -> pd.DataFrame:
    """What each account's log likes had been up to and with each of its posts, in time order."""
    line = frame[["username", "day"]].assign(likes=target).dropna(subset="day").sort_values("day", kind="stable")
    likes = line.groupby("username")["likes"]
    return line[["username", "day"]].assign(
        past_posts=likes.cumcount() + 1.0,
        past_last=line["likes"],
        past_mean=likes.cumsum() / (likes.cumcount() + 1),
        past_recent=likes.rolling(20, min_periods=1).median().droplevel(0),
        past_day=line["day"],
    )


def _before(frame: pd.DataFrame, past: pd.DataFrame) -> pd.DataFrame:
    """The past as it stood strictly before each post, so that no post is its own past; missing without a date."""
    posts = frame[["username", "day"]].reset_index().dropna(subset="day").sort_values("day", kind="stable")
    told = pd.merge_asof(posts, past, on="day", by="username", allow_exact_matches=False).set_index("index")
    told["past_day"] = told["day"] - told["past_day"]
    return told.drop(columns=["username", "day"]).reindex(frame.index)


def _boost(table: pd.DataFrame, target: Likes, groups: pd.Series | None, seed: int) -> lgb.Booster:
    """Trees of the size and number that predict held-out rows (or held-out groups) best."""
    data = lgb.Dataset(table, target, free_raw_data=False)
    best: tuple[float, dict, int] = (np.inf, _settings(4, len(table), seed), 50)
    folds = _folds(len(table), groups, seed)
    for leaves in (4, 8, 31) if folds else ():
        settings, stop = _settings(leaves, len(table), seed), lgb.early_stopping(50, verbose=False)
        loss = np.asarray(lgb.cv(settings, data, 3000, folds=folds, callbacks=[stop])["valid l2-mean"])
        best = min(best, (loss[-1], settings, len(loss)), key=lambda trial: trial[0])
    return lgb.train(best[1], data, best[2])


def _folds(rows: int, groups: pd.Series | None, seed: int) -> list:
    """Five folds, or one of them where there are rows enough; none where they are too few to learn from."""
    several = min(5, rows // 20 if groups is None else groups.nunique())
    if several < 2:
        return []
    kind = GroupKFold if groups is not None else KFold
    folds = list(kind(several, shuffle=True, random_state=seed).split(np.zeros(rows), groups=groups))
    return folds if rows < _MANY else folds[:1]


def _settings(leaves: int, rows: int, seed: int) -> dict:
    return {
        "objective": "l2",
        "num_leaves": leaves,
        "learning_rate": 0.05,
        "min_data_in_leaf": 10,
        "min_data_per_group": 10,  # an account of ten posts may be told apart
        "cat_smooth": 5,
        "feature_fraction": 0.7,
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
        "lambda_l2": 1,
        "num_threads": 1 if rows < _MANY else 2,  # on busy cores a second one waits more than it works
        "deterministic": True,
        "force_row_wise": True,
        "seed": seed,
        "verbosity": -1,
    }


def _labelled(posts: Sequence[Post]) -> list[Post]:
    known = [post for post in posts if post.likes is not None]
    if not known:
        raise ValueError("no training post has likes")
    return known


def _likes(posts: Sequence[Post]) -> Likes:
    return np.array([post.likes for post in posts], dtype=float)
