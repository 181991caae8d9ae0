"""The rows that travel between stages."""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

MediaKind = Literal["image", "gif", "video"]
Split = Literal["train", "validation", "test_random", "test_accounts", "test_time"]

ACCOUNTS = "accounts"  # the folder, below history/, of the TIMELINES of all posts with likes
COMPANY = "company"  # the folder, below one of accounts, with the same rows for companies


class Record(BaseModel):
    """A frozen row: `model_validate(row)` reads it, `model_dump()` writes it."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Media(Record):
    """One media file of a post; `duration_s` is None for images and GIFs."""

    kind: MediaKind
    url: str
    thumbnail_url: str | None = None
    duration_s: float | None = None

    @property
    def media_id(self) -> str:
        """The stable name of the file, derived from its URL."""
        return media_id(self.url)


class Prior(Record):
    """Statistics of an account's log1p(likes) over posts that are not in the data, all of them before `until`."""

    until: datetime
    mean: float
    median: float
    low: float
    high: float


class History(Record):
    """Statistics of an account's earlier posts at a moment, in log1p(likes)."""

    posts: int = 0  # number of earlier posts
    mean: float | None = None
    median: float | None = None
    median_20: float | None = None  # of the last 20 posts
    median_5: float | None = None  # of the last 5 posts
    last: float | None = None
    spread: float | None = None  # standard deviation; None for a single post
    days_since: float | None = None  # since the last post
    recent: float | None = None  # weighted mean; a post's weight halves every `history.half_life_days`
    weight: float = 0.0  # sum of these weights: about the number of posts that `recent` rests on
    company_recent: float | None = None  # `recent` and `weight` over all accounts of the company
    company_weight: float = 0.0
    captions: tuple[str, ...] = ()  # of the last posts, latest first, truncated
    prior: Prior | None = None

    @property
    def cold(self) -> bool:
        """Whether nothing is known about the account: no earlier posts and no prior."""
        return not self.posts and self.prior is None

    @property
    def level(self) -> float | None:
        """The expected log1p(likes) of a post: the account's recent mean, shrunk towards its prior or its company.

        The value that it is shrunk towards counts as one post, so that few or old posts have little influence.
        """
        anchor = self.prior.median if self.prior else self.company_recent
        if self.recent is None or anchor is None:
            return anchor if self.recent is None else self.recent
        return (self.weight * self.recent + anchor) / (self.weight + 1)


class Post(Record):
    """A post; `likes` or `caption` is None if the model is to predict it, `history` if it was not loaded.

    `posted_at` is None if the table has no dates. `keywords` describe the contents of the media, if the table has them.
    """

    post_id: str
    username: str
    posted_at: datetime | None
    company: str | None = None
    keywords: str | None = None
    caption: str | None = None
    likes: int | None = None
    media: tuple[Media, ...] = ()
    split: Split | None = None
    history: History | None = None


class KeyFrame(Record):
    """One encoded (JPEG) frame, `time_s` seconds after the first frame of its media file."""

    time_s: float
    image: bytes
    width: int
    height: int


class MediaFrames(Record):
    """The key frames of one media file in time order, or in `error` the reason why there are none."""

    media_id: str
    url: str
    kind: MediaKind
    duration_s: float | None = None
    frames: tuple[KeyFrame, ...] = ()
    error: str | None = None


class ContextFrame(Record):
    """A key frame that was retrieved for a post; `score` is its similarity to the task's prompt."""

    media_id: str
    time_s: float
    score: float
    image: bytes


class Context(Record):
    """The frames that a model reads for one post and one task, in album and time order."""

    post_id: str
    task: str
    frames: tuple[ContextFrame, ...] = ()
    error: str | None = None


class Example(Record):
    """One input of the model: a post and its context for one task."""

    post: Post
    context: Context

    def without_frames(self) -> "Example":
        """The same example with no frames."""
        return self.model_copy(update={"context": self.context.model_copy(update={"frames": ()})})


TaskExamples = Mapping[str, Example]  # task name -> the post as that task reads it


class ReadFrame(Record):
    """A frame that a prediction used: its media file, its time in the file and its similarity to the prompt."""

    media_id: str
    time_s: float
    score: float


class Interval(Record):
    """A prediction interval: the likes of `level` percent of posts like this one lie between `low` and `high`."""

    level: int
    low: float
    high: float


class Effect(Record):
    """The predicted log(1 + likes) of a post minus that without one part: a field, all "media", or one "frame"."""

    part: str
    effect: float
    media_id: str | None = None  # of the frame, if the part is one
    time_s: float | None = None


class Prediction(Record):
    """The model's prediction for a post: likes with their intervals, a caption, and the frames that it used.

    `likes_low` and `likes_high` are the 80% interval.
    """

    post_id: str
    likes: float | None = None
    likes_low: float | None = None
    likes_high: float | None = None
    intervals: tuple[Interval, ...] = ()
    caption: str | None = None
    frames: tuple[ReadFrame, ...] = ()
    cold_account: bool | None = None  # no past likes of the account; in a model without histories: an unseen name
    error: str | None = None


def media_id(url: str) -> str:
    """The stable name of a media file: 16 hexadecimal digits of the SHA-256 of its URL."""
    return hashlib.sha256(url.encode()).hexdigest()[:16]


def with_company(account: History, company: History | None) -> History:
    """The history of an account with the recent level of its company.

    Args:
        account: The history of the account.
        company: The history of all accounts of the company; None if the post names no company.
    """
    if company is None:
        return account
    return account.model_copy(update={"company_recent": company.recent, "company_weight": company.weight})
