"""The rows that travel between stages, and the Arrow schema of every folder on disk."""

import hashlib
from datetime import datetime
from typing import Any, Literal

import pyarrow as pa
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
    """What was known of an account before a moment, in log1p(likes): of its earlier posts alone (m3l/history.py)."""

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


def to_table(records: "list[Any]", schema: pa.Schema) -> pa.Table:
    """Records (or plain dictionaries) as an Arrow table of the given schema."""
    rows = [r.model_dump() if isinstance(r, BaseModel) else r for r in records]
    return pa.Table.from_pylist(rows, schema=schema)


_MEDIA = pa.struct(
    [
        ("kind", pa.string()),
        ("url", pa.string()),
        ("thumbnail_url", pa.string()),
        ("duration_s", pa.float64()),
    ]
)
_KEY_FRAME = pa.struct(
    [("time_s", pa.float64()), ("image", pa.binary()), ("width", pa.int32()), ("height", pa.int32())]
)
_CONTEXT_FRAME = pa.struct(
    [("media_id", pa.string()), ("time_s", pa.float64()), ("score", pa.float32()), ("image", pa.binary())]
)
_INTERVAL = pa.struct([("level", pa.int32()), ("low", pa.float64()), ("high", pa.float64())])
_READ_FRAME = pa.struct([("media_id", pa.string()), ("time_s", pa.float64()), ("score", pa.float32())])

_PRIOR = pa.struct(
    [("until", pa.timestamp("ms", tz="UTC")), *((n, pa.float64()) for n in ("mean", "median", "low", "high"))]
)
_LEVELS = ("mean", "median", "median_20", "median_5", "last", "spread", "days_since", "recent", "weight")
_COMPANY = ("company_recent", "company_weight")
_HISTORY = pa.struct(
    [
        ("posts", pa.int64()),
        *((name, pa.float64()) for name in (*_LEVELS, *_COMPANY)),
        ("captions", pa.list_(pa.string())),
        ("prior", _PRIOR),
    ]
)

POSTS = pa.schema(
    [
        pa.field("post_id", pa.string(), nullable=False),
        pa.field("username", pa.string(), nullable=False),
        ("company", pa.string()),
        ("posted_at", pa.timestamp("ms", tz="UTC")),
        ("keywords", pa.string()),
        ("caption", pa.string()),
        ("likes", pa.int64()),
        ("media", pa.list_(_MEDIA)),
        ("split", pa.string()),
    ]
)
MEDIA = pa.schema([pa.field("media_id", pa.string(), nullable=False), *_MEDIA])
REJECTED = pa.schema([("row", pa.int64()), ("id", pa.string()), ("reason", pa.string()), ("raw", pa.string())])
HISTORY = pa.schema([pa.field("post_id", pa.string(), nullable=False), ("history", _HISTORY)])
TIMELINES = pa.schema(  # of each account or company the posts whose likes are known, in time order, and its prior
    [
        pa.field("name", pa.string(), nullable=False),
        ("posted_at", pa.list_(pa.timestamp("ms", tz="UTC"))),
        ("post_ids", pa.list_(pa.string())),
        ("likes", pa.list_(pa.int64())),
        ("captions", pa.list_(pa.string())),
        ("prior", _PRIOR),
    ]
)
KEYFRAMES = pa.schema(
    [
        pa.field("media_id", pa.string(), nullable=False),
        ("url", pa.string()),
        ("kind", pa.string()),
        ("duration_s", pa.float64()),
        ("frames", pa.list_(_KEY_FRAME)),
        ("error", pa.string()),
    ]
)
EMBEDDINGS = pa.schema(  # of a media file's key frames ("media:ID") or of a post's prompts, one per task ("post:ID")
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("rows", pa.int32(), nullable=False),
        pa.field("vectors", pa.binary(), nullable=False),  # rows x dimensions float16
    ]
)
CONTEXT = pa.schema(
    [
        pa.field("post_id", pa.string(), nullable=False),
        pa.field("task", pa.string(), nullable=False),
        ("frames", pa.list_(_CONTEXT_FRAME)),
        ("error", pa.string()),
    ]
)
PREDICTIONS = pa.schema(
    [
        pa.field("post_id", pa.string(), nullable=False),
        ("likes", pa.float64()),
        ("likes_low", pa.float64()),
        ("likes_high", pa.float64()),
        ("intervals", pa.list_(_INTERVAL)),
        ("caption", pa.string()),
        ("frames", pa.list_(_READ_FRAME)),
        ("cold_account", pa.bool_()),
        ("error", pa.string()),
    ]
)
