"""The rows that travel between stages."""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

MediaKind = Literal["image", "gif", "video"]
Split = Literal["train", "validation", "test_random", "test_accounts", "test_time"]


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
        return media_id(self.url)


class Prior(Record):
    """Statistics of an account's log1p(likes) over posts that are not at hand, all of them from before `until`."""

    until: datetime
    mean: float
    median: float
    low: float
    high: float


class History(Record):
    """Statistics of an account's earlier posts at a moment, in log1p(likes)."""

    posts: int = 0
    mean: float | None = None
    median: float | None = None  # of all, of the last 20, of the last 5
    median_20: float | None = None
    median_5: float | None = None
    last: float | None = None
    spread: float | None = None  # the standard deviation; None of one post
    days_since: float | None = None  # since the last one
    recent: float | None = None  # the mean, in which old posts count less, and how many posts it then rests on
    weight: float = 0.0
    company_recent: float | None = None  # the same of all accounts of the company
    company_weight: float = 0.0
    captions: tuple[str, ...] = ()  # of the last ones, the latest first, cut
    prior: Prior | None = None

    @property
    def cold(self) -> bool:
        """Nothing is known of the account."""
        return not self.posts and self.prior is None

    @property
    def level(self) -> float | None:
        """About what a post of the account gets: its recent mean, drawn to its prior, else to its company's.

        What it is drawn to counts like one post (a shrinkage estimate), so that few or old posts decide little.
        """
        known = self.prior.median if self.prior else self.company_recent
        if self.recent is None or known is None:
            return known if self.recent is None else self.recent
        return (self.weight * self.recent + known) / (self.weight + 1)


class Post(Record):
    """A post; `likes` or `caption` is None where the model shall tell it, `history` where none was looked up.

    `posted_at` is None where its table has no dates, and `keywords` say what its media show where somebody looked.
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
    """The key frames of one media file in time order, or the reason why there are none."""

    media_id: str
    url: str
    kind: MediaKind
    duration_s: float | None = None
    frames: tuple[KeyFrame, ...] = ()
    error: str | None = None


class ContextFrame(Record):
    """A key frame that was retrieved for a post, with its similarity to the task's prompt."""

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
    """What a model reads at once: a post and the context of one task."""

    post: Post
    context: Context

    def unseen(self) -> "Example":
        """The same post without its frames."""
        return self.model_copy(update={"context": self.context.model_copy(update={"frames": ()})})


class ReadFrame(Record):
    """A frame that a prediction read: which media file, when in it, how similar to the prompt."""

    media_id: str
    time_s: float
    score: float


class Interval(Record):
    """The likes between which `level` percent of posts like this one lie."""

    level: int
    low: float
    high: float


class Effect(Record):
    """log(1 + likes) told of a post, minus that without a part: a field, all "media", or one "frame" of them."""

    part: str
    effect: float
    media_id: str | None = None  # of a frame
    time_s: float | None = None


class Prediction(Record):
    """What the model says of a post: likes with their intervals, of which 80% is `likes_low` to `likes_high`, a
    caption, and the frames that it read."""

    post_id: str
    likes: float | None = None
    likes_low: float | None = None
    likes_high: float | None = None
    intervals: tuple[Interval, ...] = ()
    caption: str | None = None
    frames: tuple[ReadFrame, ...] = ()
    cold_account: bool | None = None  # nothing was known of the account: neither likes nor, without a history, its name
    error: str | None = None


def media_id(url: str) -> str:
    """The stable name of a media file: 16 hexadecimal digits of its URL's SHA-256."""
    return hashlib.sha256(url.encode()).hexdigest()[:16]


ACCOUNTS = "accounts"  # TIMELINES of all posts whose likes are known


Row = Mapping[str, Example]  # a post as each task sees it: task name -> Example


COMPANY = "company"  # the folder, below one of accounts, that holds the same of companies


def together(account: History, company: History | None) -> History:
    """The history of an account with what was known of its company, which is the history of all its accounts."""
    if company is None:
        return account
    return account.model_copy(update={"company_recent": company.recent, "company_weight": company.weight})
