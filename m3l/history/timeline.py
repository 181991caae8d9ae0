"""What was known of an account before a post: statistics of its earlier posts alone, never of the post or a later one.

Captions among them are the latest, not the most alike: a choice by the post's own caption would tell of it where the
caption is what a task masks.
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
from m3l.data.keyed_rows import Store
from m3l.data.records import COMPANY, History, Post, Prior, together

RECENT = 20


class Known(NamedTuple):
    """A post whose likes are known."""

    posted_at: datetime
    post_id: str
    likes: int
    caption: str


@dataclass(frozen=True)
class Timeline:
    """All that is known of an account, or of a company; a row of TIMELINES."""

    name: str
    posts: tuple[Known, ...] = ()
    prior: Prior | None = None

    @classmethod
    def of(cls, row: dict[str, Any]) -> "Timeline":
        posts = zip(row["posted_at"], row["post_ids"], row["likes"], row["captions"], strict=True)
        prior = row["prior"] and Prior.model_validate(row["prior"])
        return cls(row["name"], tuple(Known(*post) for post in posts), prior)

    def joined(self, posts: Iterable[Known]) -> "Timeline":
        """With more posts, in time order; one that both know is one (same moment, same id)."""
        known = {post[:2]: post for post in sorted((*self.posts, *posts))}
        return Timeline(self.name, tuple(known.values()), self.prior)

    def row(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "posted_at": [post.posted_at for post in self.posts],
            "post_ids": [post.post_id for post in self.posts],
            "likes": [post.likes for post in self.posts],
            "captions": [post.caption for post in self.posts],
            "prior": self.prior and self.prior.model_dump(),
        }

    def histories(self, moments: Sequence[datetime | None], settings: HistoryConfig) -> list[History]:
        """What was known at each moment: of posts dated before it (by `lag_days` at least), ties left out.

        At a moment that nobody knows (None) it is nothing.
        """
        made: dict[datetime | None, History] = {None: History()}
        past, lag, waiting = _Past(settings), timedelta(days=settings.lag_days), deque(sorted(self.posts))
        for moment in sorted({moment for moment in moments if moment}):
            while waiting and waiting[0].posted_at < moment - lag:
                past.add(waiting.popleft())
            prior = self.prior if self.prior and self.prior.until <= moment else None
            made[moment] = past.history(moment, prior)
        return [made[moment] for moment in moments]


class Memory:
    """A folder of TIMELINES that tells any post what was known of its account and company before it."""

    def __init__(self, folder: str, settings: HistoryConfig):
        self.accounts, self.companies = Store(folder, "name"), Store(f"{folder}/{COMPANY}", "name")
        self.settings = settings

    def account(self, username: str) -> Timeline:
        return _timeline(self.accounts, username)

    def company(self, name: str) -> Timeline:
        return _timeline(self.companies, name)

    def recall(self, post: Post) -> Post:
        """The post with its history; one that has a history keeps it."""
        if post.history is not None:
            return post
        lines = [self.account(post.username), self.company(post.company) if post.company else Timeline("")]
        account, company = (line.histories([post.posted_at], self.settings)[0] for line in lines)
        return post.model_copy(update={"history": together(account, company)})


def _timeline(store: Store, name: str) -> Timeline:
    rows = store.get(name)
    return Timeline.of(rows[0]) if rows else Timeline(name)


class _Past:
    """The posts so far, in time order; each is added once, in the time that finding its rank takes."""

    def __init__(self, settings: HistoryConfig):
        self.levels: deque[float] = deque(maxlen=RECENT)
        self.ranked: list[float] = []
        self.captions: deque[str] = deque(maxlen=settings.captions)
        self.half_life = timedelta(days=settings.half_life_days)
        self.mean = self.squares = self.recent = self.weight = 0.0
        self.at: datetime | None = None

    def add(self, post: Known) -> None:
        level = math.log1p(post.likes)
        self.levels.append(level)
        insort(self.ranked, level)
        before = level - self.mean
        self.mean += before / len(self.ranked)
        self.squares += before * (level - self.mean)
        self.weight = 1 + self._kept(post.posted_at)
        self.recent += (level - self.recent) / self.weight
        if post.caption:
            self.captions.appendleft(post.caption)
        self.at = post.posted_at

    def history(self, moment: datetime, prior: Prior | None) -> History:
        if self.at is None:
            return History(prior=prior)
        posts, last = len(self.ranked), list(self.levels)
        return History(
            posts=posts,
            mean=self.mean,
            median=(self.ranked[(posts - 1) // 2] + self.ranked[posts // 2]) / 2,
            median_20=median(last),
            median_5=median(last[-5:]),
            last=last[-1],
            spread=math.sqrt(self.squares / posts) if posts > 1 else None,
            days_since=(moment - self.at) / timedelta(days=1),
            recent=self.recent,
            weight=self._kept(moment),
            captions=tuple(self.captions),
            prior=prior,
        )

    def _kept(self, moment: datetime) -> float:
        """The weight that is left at a moment."""
        return self.weight * 0.5 ** ((moment - self.at) / self.half_life) if self.at else 0.0


def told(history: History | None) -> str | None:
    """The history in words, as a prompt shows it; None where nothing is known of the account."""
    if history is None or history.cold:
        return None
    said = []
    if history.posts:
        likes = {"last": history.last, "of 5": history.median_5, "of 20": history.median_20, "of all": history.median}
        said.append(f"{history.posts} earlier posts, {history.days_since:.1f} days ago")
        said.append("likes " + " ".join(f"{name} {_likes(level)}" for name, level in likes.items()))
    if history.prior:
        said.append(f"before {history.prior.until:%Y-%m-%d} median {_likes(history.prior.median)}")
    said += [f"said {caption}" for caption in history.captions]
    return ", ".join(said)


def _likes(level: float | None) -> str:
    return "unknown" if level is None else str(round(math.expm1(level)))
