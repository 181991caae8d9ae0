"""Settings of the way to the context: paths, corpus, ingest, media, retriever."""

from datetime import UTC, datetime
from typing import Literal

from pydantic import Field, model_validator

from m3l.config.base import Section


def utc(moment: datetime) -> datetime:
    """The moment, which is one of UTC where it does not say."""
    return moment.replace(tzinfo=moment.tzinfo or UTC)


class Paths(Section):
    """Where each arrow of the data's way ends: folders below `run`, local or `s3://`, unless named."""

    run: str = "runs/default"
    media_root: str | None = None  # the folder that relative and file: media URLs are resolved in
    corpus: str = "{run}/corpus"
    posts: str = "{run}/posts"
    history: str = "{run}/history"
    keyframes: str = "{run}/keyframes"
    retriever: str = "{run}/retriever"
    embeddings: str = "{run}/embeddings"
    context: str = "{run}/context"
    bundle: str = "{run}/bundle"
    tune: str = "{run}/tune"
    comparison: str = "{run}/comparison"
    report: str = "{run}/report"

    def of(self, name: str) -> str:
        """The resolved folder of one arrow, e.g. `of("posts")`."""
        value = getattr(self, name)
        return str(value).format(run=self.run.rstrip("/"))


class CorpusConfig(Section):
    """The synthetic corpus with known truth (m3l/corpus)."""

    posts: int = Field(2000, ge=1)
    accounts: int = Field(16, ge=1)
    unseen_accounts: int = Field(40, ge=0)  # many with few posts each: what holds for new accounts shows on many alone
    unseen_share: float = Field(0.05, ge=0, le=1)  # of all posts, theirs
    validation_share: float = Field(4 / 94, ge=0, lt=1)  # of the other accounts' posts before the last two months
    test_share: float = Field(10 / 94, ge=0, lt=1)  # of the same; the rest of them trains
    subjects: int = Field(12, ge=2, le=24)
    scenes: int = Field(6, ge=1, le=8)
    noise: float = Field(0.35, ge=0)  # standard deviation of log(1 + likes)
    broken_share: float = Field(0.03, ge=0, le=1)

    @model_validator(mode="after")
    def _some_posts_train(self) -> "CorpusConfig":
        if self.validation_share + self.test_share >= 1:
            raise ValueError("test_share: with validation_share it leaves no post to train on")
        return self


class IngestConfig(Section):
    """How the challenge's table becomes posts."""

    table: str | None = None  # csv, xlsx, jsonl, parquet, or a folder of parts
    lacks: tuple[Literal["id", "date", "media"], ...] = ()  # columns that it does not have: ids are then row numbers
    video_height: int = Field(360, ge=1)  # the MP4 variant nearest this height is read
    validation_share: float = Field(0.05, ge=0, lt=1)
    test_share: float = Field(0.1, ge=0, lt=1)  # of rows whose table names no split
    time_cut: datetime | None = None  # of such rows those from then on are the split test_time; UTC
    validation_from: datetime | None = None  # and those from then on until time_cut validate, beside the share above
    unseen_accounts: float = Field(
        0.0, ge=0, lt=1
    )  # of accounts, all of whose posts are held out: see m3l/tables/splits.py

    @model_validator(mode="after")
    def _a_cut_needs_dates(self) -> "IngestConfig":
        for name in ("time_cut", "validation_from"):
            if getattr(self, name) and "date" in self.lacks:
                raise ValueError(f"{name}: posts without a date lie on neither side of it: set {name}=null")
        return self

    @model_validator(mode="after")
    def _validation_is_before_the_test(self) -> "IngestConfig":
        if self.validation_from and not (self.time_cut and utc(self.validation_from) < utc(self.time_cut)):
            raise ValueError("validation_from: it needs a later time_cut, up to which posts validate")
        return self


class HistoryConfig(Section):
    """What counts as known of an account before a post: the likes of which earlier posts, and since when."""

    known: Literal["train", "earlier"] = "train"  # the posts that train, as of the cut; or every earlier post, rolling
    lag_days: float = Field(0.0, ge=0)  # how old a post must be before its likes count as known
    half_life_days: float = Field(180.0, gt=0)  # in which a post comes to count half in what is recent
    captions: int = Field(2, ge=0)  # of the account's last posts
    caption_chars: int = Field(80, ge=1)
    accounts: str | None = None  # a table of statistics of posts not at hand: username, average, median, min, max
    accounts_until: datetime | None = None  # when the last of those posts was; UTC

    @model_validator(mode="after")
    def _statistics_have_a_date(self) -> "HistoryConfig":
        if self.accounts and self.accounts_until is None:
            raise ValueError(
                "accounts: say by accounts_until when these statistics ended, so that none is of a later day"
            )
        return self


class MediaConfig(Section):
    """Reading media: what is allowed in, how frames are sampled, how many key frames are kept."""

    allowed_hosts: tuple[str, ...] = ("pbs.twimg.com", "video.twimg.com")
    max_bytes: int = 256 * 2**20
    max_pixels: int = 4096 * 2304
    max_seconds: float = 600.0
    fetch_timeout_s: float = 30.0
    decode_timeout_s: float = 60.0
    stride_s: float = Field(0.5, gt=0)
    max_samples: int = Field(1200, ge=1)
    key_frames: int = Field(50, ge=1)
    katna_compatible: bool = False  # keep Katna's index bug, for parity with the library
    image_height: int = Field(360, ge=16)  # of the stored key frames, at most
    jpeg_quality: int = Field(95, ge=1, le=100)


class ClipConfig(Section):
    """An open_clip model: a name with a pretrained tag, a local directory, or a tiny one from scratch."""

    name: str = "ViT-B-32"
    pretrained: str | None = "laion2b_s34b_b79k"  # an open_clip tag or a path; None: from scratch
    tiny: bool = False  # the 6 M parameter model of m3l/retriever/clip.py


class RetrieverConfig(Section):
    """Retrieval of `top_k` key frames and the training of L = bce_weight BCE + dfr_weight DFR."""

    clip: ClipConfig = ClipConfig()
    top_k: int = Field(10, ge=1)
    diversity: float | None = Field(None, ge=0)  # null or 0: the plain top k; more trades relevance for unlike frames
    positives: int = Field(10, ge=1)  # frames that the teacher ranks top for the true caption
    bce_weight: float = Field(0.1, ge=0)
    dfr_weight: float = Field(0.9, ge=0)
    similarity: Literal["scaled_cosine", "dot"] = "scaled_cosine"
    teacher_epochs: int = Field(0, ge=0)  # from scratch only: CLIP's own loss on captions and frames
    epochs: int = Field(3, ge=0)
    batch_size: int = Field(64, ge=1)  # posts in one step, over all workers
    lr: float = Field(1e-4, gt=0)
    trainable: Literal["all", "layers", "projections", "lora"] = "projections"  # layers: all but the table of words


class CompareConfig(Section):
    """The retriever's losses side by side: students of one teacher with other weights, on several seeds."""

    weights: tuple[tuple[float, float], ...] = ((1.0, 0.0), (0.0, 1.0), (0.1, 0.9))  # of BCE, of DFR
    seeds: int = Field(3, ge=1)  # from `seed` on
