"""The bodies of requests and responses."""

from datetime import datetime
from typing import Annotated

from fastapi import UploadFile
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from m3l.config.time import as_utc
from m3l.data.records import Effect, Interval, MediaKind

MAX_MEDIA = 8  # of one post


class Draft(BaseModel):
    """A draft of a post: the model predicts its likes and writes a caption."""

    model_config = ConfigDict(extra="forbid")

    username: str = Field(min_length=1, max_length=256)
    posted_at: Annotated[datetime, AfterValidator(as_utc)] = Field(description="UTC unless it names a time zone")
    company: str | None = Field(None, max_length=256)
    caption: str | None = Field(None, max_length=10_000, description="used to predict the likes")
    likes: int | None = Field(None, ge=0, le=10**12, description="used to write the caption")
    why: bool = Field(False, description="also explain the predicted likes, which takes several times as long")


class Medium(BaseModel):
    """A file to fetch: an https URL on an allowed host, or a path below the server's media root."""

    model_config = ConfigDict(extra="forbid")

    kind: MediaKind
    url: str = Field(min_length=1, max_length=2048)


class DraftWithMedia(Draft):
    """A draft whose media are fetched by the server."""

    media: list[Medium] = Field([], max_length=MAX_MEDIA)


class DraftWithFiles(Draft):
    """A draft whose media are uploaded with it."""

    files: list[UploadFile] = Field([], max_length=MAX_MEDIA, description="images, GIFs, videos")


class FrameShown(BaseModel):
    """A frame that the model used, as a JPEG data URL."""

    media_id: str
    time_s: float
    score: float = Field(description="similarity to the text of the post")
    image: str


class UnreadMedium(BaseModel):
    """A file that could not be read, and why."""

    media_id: str
    name: str = Field(description="its URL, or the name of the uploaded file")
    error: str


class Answer(BaseModel):
    """Predicted likes (`likes_low` to `likes_high` is the 80% interval), the caption, and the frames used."""

    likes: float | None = Field(description="null for a model that only writes captions")
    likes_low: float | None = Field(description="null if the bundle was calibrated on too few posts")
    likes_high: float | None
    intervals: list[Interval]
    caption: str | None = Field(description="null for a model that only predicts likes")
    cold_account: bool | None = Field(None, description="the account is new to the model: the likes are less certain")
    frames: list[FrameShown]
    media_errors: list[UnreadMedium]
    why: list[Effect] | None = Field(None, description="if requested: the effect of each part on log(1 + likes)")
    error: str | None = Field(description="what the answer had to leave out, if anything")


class Problem(BaseModel):
    """A refusal, sent as application/problem+json (RFC 9457)."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    instance: str
    request_id: str | None = None
    errors: list[str] | None = Field(None, description="`field: message`, for status 422")
