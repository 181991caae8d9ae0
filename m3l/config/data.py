"""Settings of the data: paths, synthetic corpus, ingest, history, media, retriever."""

from datetime import datetime
from typing import Literal

from pydantic import Field, model_validator

from m3l.config.base import Section
from m3l.config.time import as_utc


class Paths(Section):
    """Folders of the stages, below `run` unless named; local or `s3://`."""

    run: str = "runs/default"  # folder of the run
    media_root: str | None = None  # folder in which relative and `file:` media URLs are resolved
    corpus: str = "{run}/corpus"  # synthetic posts with ground truth
    posts: str = "{run}/posts"  # ingested posts
    history: str = "{run}/history"  # history of each post's account
    keyframes: str = "{run}/keyframes"  # key frames of each media file
    retriever: str = "{run}/retriever"  # trained CLIP
    embeddings: str = "{run}/embeddings"  # CLIP embeddings of key frames and prompts
    context: str = "{run}/context"  # selected frames of each post and task
    bundle: str = "{run}/bundle"  # trained model
    tune: str = "{run}/tune"  # sweep
    comparison: str = "{run}/comparison"  # comparison of retrievers
    report: str = "{run}/report"  # evaluation

    def of(self, name: str) -> str:
        """The resolved folder of a stage, e.g. `of("posts")`."""
        value = getattr(self, name)
        return str(value).format(run=self.run.rstrip("/"))


class CorpusConfig(Section):
    """The synthetic corpus with ground truth."""

    posts: int = Field(2000, ge=1)  # number of posts
    accounts: int = Field(16, ge=1)  # accounts whose posts are trained on
    unseen_accounts: int = Field(40, ge=0)  # accounts that are held out whole; many, with few posts each
    unseen_share: float = Field(0.05, ge=0, le=1)  # share of all posts that come from unseen accounts
    validation_share: float = Field(4 / 94, ge=0, lt=1)  # share of the other posts before the last two months
    test_share: float = Field(10 / 94, ge=0, lt=1)  # share of the same posts; the remaining ones are trained on
    subjects: int = Field(12, ge=2, le=24)  # different subjects that media can show
    scenes: int = Field(6, ge=1, le=8)  # different backgrounds
    noise: float = Field(0.35, ge=0)  # standard deviation of the noise on log(1 + likes)
    broken_share: float = Field(0.03, ge=0, le=1)  # share of posts with missing or corrupt media

    @model_validator(mode="after")
    def _leaves_training_posts(self) -> "CorpusConfig":
        if self.validation_share + self.test_share >= 1:
            raise ValueError("test_share: with validation_share it leaves no post to train on")
        return self


class IngestConfig(Section):
    """How a table in the challenge's columns becomes posts."""

    table: str | None = None  # csv, xlsx, jsonl, parquet, or a folder of parts
    lacks: tuple[Literal["id", "date", "media"], ...] = ()  # columns that it does not have; ids are then row numbers
    video_height: int = Field(360, ge=1)  # pixels; the MP4 variant nearest to this height is read
    validation_share: float = Field(0.05, ge=0, lt=1)  # share of posts whose table names no split
    test_share: float = Field(0.1, ge=0, lt=1)  # share of the same posts
    time_cut: datetime | None = None  # UTC; of the same posts, those from then on are the split test_time
    validation_from: datetime | None = None  # UTC; of the same posts, those from then until time_cut validate
    unseen_accounts: float = Field(0.0, ge=0, lt=1)  # share of accounts that are held out whole

    @model_validator(mode="after")
    def _cuts_need_dates(self) -> "IngestConfig":
        for name in ("time_cut", "validation_from"):
            if getattr(self, name) and "date" in self.lacks:
                raise ValueError(f"{name}: posts without a date lie on neither side of it: set {name}=null")
        return self

    @model_validator(mode="after")
    def _validation_precedes_test(self) -> "IngestConfig":
        if self.validation_from and not (self.time_cut and as_utc(self.validation_from) < as_utc(self.time_cut)):
            raise ValueError("validation_from: it needs a later time_cut, up to which posts validate")
        return self


class HistoryConfig(Section):
    """Which earlier posts of an account and its company a prediction may use."""

    known: Literal["train", "earlier"] = "train"  # earlier posts of the training split only, or all earlier posts
    lag_days: float = Field(0.0, ge=0)  # days until the likes of a post may be used
    half_life_days: float = Field(180.0, gt=0)  # days after which a post counts half in the recent mean
    captions: int = Field(2, ge=0)  # latest captions of the account in the history
    caption_chars: int = Field(80, ge=1)  # characters of each of these captions
    accounts: str | None = None  # table of account statistics: username, average, median, min, max
    accounts_until: datetime | None = None  # UTC; date of the latest post in these statistics

    @model_validator(mode="after")
    def _statistics_have_a_date(self) -> "HistoryConfig":
        if self.accounts and self.accounts_until is None:
            raise ValueError(
                "accounts: set accounts_until to the date of the latest post in the statistics, so that they are used "
                "for later posts only"
            )
        return self


class MediaConfig(Section):
    """Fetching and decoding media, and selecting key frames."""

    allowed_hosts: tuple[str, ...] = ("pbs.twimg.com", "video.twimg.com")  # hosts from which media are fetched
    max_bytes: int = 256 * 2**20  # bytes of a media file
    max_pixels: int = 4096 * 2304  # pixels of a frame
    max_seconds: float = 600.0  # seconds of a video
    fetch_timeout_s: float = 30.0  # seconds for fetching a file
    decode_timeout_s: float = 60.0  # seconds for decoding a file
    stride_s: float = Field(0.5, gt=0)  # seconds between two sampled frames
    max_samples: int = Field(1200, ge=1)  # sampled frames of a file
    key_frames: int = Field(50, ge=1)  # key frames of a file
    katna_compatible: bool = False  # reproduce Katna's index bug, for parity with the library
    image_height: int = Field(360, ge=16)  # maximum height of the stored key frames in pixels
    jpeg_quality: int = Field(95, ge=1, le=100)  # of the stored key frames


class ClipConfig(Section):
    """An open_clip model: a name with a pretrained tag, a local folder, or a tiny randomly initialised one."""

    name: str = "ViT-B-32"  # open_clip's name of the architecture
    pretrained: str | None = "laion2b_s34b_b79k"  # an open_clip tag or a path; None: randomly initialised
    tiny: bool = False  # the built-in model of 6 M parameters in place of `name`


class RetrieverConfig(Section):
    """Selection of `top_k` key frames, and training with L = bce_weight BCE + dfr_weight DFR."""

    clip: ClipConfig = ClipConfig()
    top_k: int = Field(10, ge=1)  # frames selected for each post and task
    diversity: float | None = Field(None, ge=0)  # weight of diversity against relevance; None or 0: plain top k
    positives: int = Field(10, ge=1)  # frames that the teacher ranks top for the true caption
    bce_weight: float = Field(0.1, ge=0)  # weight of the binary cross-entropy
    dfr_weight: float = Field(0.9, ge=0)  # weight of the dense retrieval loss
    similarity: Literal["scaled_cosine", "dot"] = "scaled_cosine"  # CLIP's, or the bare dot product of DPR
    teacher_epochs: int = Field(0, ge=0)  # epochs of CLIP's contrastive loss, for a randomly initialised teacher
    epochs: int = Field(3, ge=0)  # epochs of the student
    batch_size: int = Field(64, ge=1)  # posts per step, over all workers
    lr: float = Field(1e-4, gt=0)  # peak learning rate
    trainable: Literal["all", "layers", "projections", "lora"] = "projections"  # layers: all but the token embeddings


class CompareConfig(Section):
    """Comparison of retriever losses: students of one teacher with other weights, on several seeds."""

    weights: tuple[tuple[float, float], ...] = ((1.0, 0.0), (0.0, 1.0), (0.1, 0.9))  # pairs of BCE and DFR weights
    seeds: int = Field(3, ge=1)  # number of seeds, counted up from `seed`
