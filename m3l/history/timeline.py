"""The history of an account before a post: statistics of its earlier posts alone, never of the post or a later one.

The captions in a history are those of the latest posts, not of the most similar ones: a choice by the post's own
caption would leak it to the task that predicts the caption.
"""

import math
from bisect import insort
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median
from typing import Any, NamedTuple

from m3l.config import HistoryConfig
from m3l.data.keyed_rows import KeyedRows
from m3l.data.records import COMPANY, History, Post, Prior, with_company

RECENT_POSTS = 20  # over which the median of recent posts is computed


class PastPost(NamedTuple):
    """An earlier post, with its likes."""

    posted_at: datetime
    post_id: str
    likes: int
    caption: str


@dataclass(frozen=True)
class Timeline:
    """The past posts of an account or of a company, in any order, and its prior; a row of TIMELINES."""

    name: str
    posts: tuple[PastPost, ...] = ()
    prior: Prior | None = None

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> "Timeline":
        """The timeline of a row of TIMELINES."""
        posts = zip(row["posted_at"], row["post_ids"], row["likes"], row["captions"], strict=True)
        prior = row["prior"] and Prior.model_validate(row["prior"])
        return cls(row["name"], tuple(PastPost(*post) for post in posts), prior)

    def with_posts(self, posts: Iterable[PastPost]) -> "Timeline":
        """The timeline with more posts, in time order; posts with the same time and id are one post."""
        unique = {post[:2]: post for post in sorted((*self.posts, *posts))}
        return Timeline(self.name, tuple(unique.values()), self.prior)

    def to_row(self) -> dict[str, Any]:
        """The timeline as a row of TIMELINES."""
        return {
            "name": self.name,
            "posted_at": [post.posted_at for post in self.posts],
            "post_ids": [post.post_id for post in self.posts],
            "likes": [post.likes for post in self.posts],
            "captions": [post.caption for post in self.posts],
            "prior": self.prior and self.prior.model_dump(),
        }

    def histories(self, moments: Sequence[datetime | None], settings: HistoryConfig) -> list[History]:
        """The history at each moment, from the posts that are more than `lag_days` older.

        Args:
            moments: Moments in any order; at None (a post without a date) the history is empty.
            settings: How histories are computed.

        Returns:
            One history for each moment, in the order of the moments.
        """
        by_moment: dict[datetime | None, History] = {None: History()}
        past, lag, pending = _PastStatistics(settings), timedelta(days=settings.lag_days), deque(sorted(self.posts))
        for moment in sorted({moment for moment in moments if moment}):
            while pending and pending[0].posted_at < moment - lag:
                past.add(pending.popleft())
            prior = self.prior if self.prior and self.prior.until <= moment else None
            by_moment[moment] = past.history(moment, prior)
        return [by_moment[moment] for moment in moments]


class HistoryIndex:
    """Looks up the history of any post in a folder of TIMELINES.

    Args:
        folder: Folder of the accounts' TIMELINES, with those of companies below it.
        settings: How histories are computed.
    """

    def __init__(self, folder: str, settings: HistoryConfig):
        self.accounts, self.companies = KeyedRows(folder, "name"), KeyedRows(f"{folder}/{COMPANY}", "name")
        self.settings = settings

    def account(self, username: str) -> Timeline:
        """The timeline of an account; an empty one if the account is unknown."""
        return _timeline(self.accounts, username)

    def company(self, name: str) -> Timeline:
        """The timeline of a company; an empty one if the company is unknown."""
        return _timeline(self.companies, name)

    def with_history(self, post: Post) -> Post:
        """The post with its history; a post that already has one is returned as it is."""
        if post.history is not None:
            return post
        timelines = [self.account(post.username), self.company(post.company) if post.company else Timeline("")]
        account, company = (timeline.histories([post.posted_at], self.settings)[0] for timeline in timelines)
        return post.model_copy(update={"history": with_company(account, company)})


def _timeline(timelines: KeyedRows, name: str) -> Timeline:
    rows = timelines.get(name)
    return Timeline.from_row(rows[0]) if rows else Timeline(name)


class _PastStatistics:
    """Running statistics of posts that are added in time order; adding one costs a binary search and an insertion."""

    def __init__(self, settings: HistoryConfig):
        self.levels: deque[float] = deque(maxlen=RECENT_POSTS)
        self.ranked: list[float] = []
        self.captions: deque[str] = deque(maxlen=settings.captions)
        self.half_life = timedelta(days=settings.half_life_days)
        self.mean = self.squares = self.recent = self.weight = 0.0
        self.last_at: datetime | None = None

    def add(self, post: PastPost) -> None:
        level = math.log1p(post.likes)
        self.levels.append(level)
        insort(self.ranked, level)
        difference = level - self.mean  # Welford: the mean and the sum of squared deviations in one pass
        self.mean += difference / len(self.ranked)
        self.squares += difference * (level - self.mean)
        self.weight = 1 + self._decayed_weight(post.posted_at)
        self.recent += (level - self.recent) / self.weight
        if post.caption:
            self.captions.appendleft(post.caption)
        self.last_at = post.posted_at

    def history(self, moment: datetime, prior: Prior | None) -> History:
        if self.last_at is None:
            return History(prior=prior)
        posts, recent = len(self.ranked), list(self.levels)
        return History(
            posts=posts,
            mean=self.mean,
            median=(self.ranked[(posts - 1) // 2] + self.ranked[posts // 2]) / 2,
            median_20=median(recent),
            median_5=median(recent[-5:]),
            last=recent[-1],
            spread=math.sqrt(self.squares / posts) if posts > 1 else None,
            days_since=(moment - self.last_at) / timedelta(days=1),
            recent=self.recent,
            weight=self._decayed_weight(moment),
            captions=tuple(self.captions),
            prior=prior,
        )

    def _decayed_weight(self, moment: datetime) -> float:
        """The sum of the posts' weights at a moment."""
        return self.weight * 0.5 ** ((moment - self.last_at) / self.half_life) if self.last_at else 0.0


def describe(history: History | None) -> str | None:
    """The history in words, as a prompt shows it; None if nothing is known about the account."""
    if history is None or history.cold:
        return None
    clauses = []
    if history.posts:
        likes = {"last": history.last, "of 5": history.median_5, "of 20": history.median_20, "of all": history.median}
        clauses.append(f"{history.posts} earlier posts, {history.days_since:.1f} days ago")
        clauses.append("likes " + " ".join(f"{name} {_likes(level)}" for name, level in likes.items()))
    if history.prior:
        clauses.append(f"before {history.prior.until:%Y-%m-%d} median {_likes(history.prior.median)}")
    clauses += [f"said {caption}" for caption in history.captions]
    return ", ".join(clauses)


def _likes(level: float | None) -> str:
    return "unknown" if level is None else str(round(math.expm1(level)))
