"""What is asked and answered over HTTP."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import UploadFile
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from m3l.data.records import Effect, Interval, MediaKind

MAX_MEDIA = 8  # of one post


def _utc(when: datetime) -> datetime:
    return when.astimezone(UTC) if when.tzinfo else when.replace(tzinfo=UTC)


class Draft(BaseModel):
    """A post as far as it is known: the model tells the likes, and writes the caption."""

    model_config = ConfigDict(extra="forbid")

    username: str = Field(min_length=1, max_length=256)
    posted_at: Annotated[datetime, AfterValidator(_utc)] = Field(description="UTC where it names no zone")
    company: str | None = Field(None, max_length=256)
    caption: str | None = Field(None, max_length=10_000, description="read to tell the likes")
    likes: int | None = Field(None, ge=0, le=10**12, description="read to write the caption")
    why: bool = Field(False, description="also tell what each part does to the likes; takes several times as long")


class Medium(BaseModel):
    """A file to fetch: https: on an allowed host, or a path below the media root of the server."""

    model_config = ConfigDict(extra="forbid")

    kind: MediaKind
    url: str = Field(min_length=1, max_length=2048)


class DraftWithMedia(Draft):
    media: list[Medium] = Field([], max_length=MAX_MEDIA)


class DraftWithFiles(Draft):
    files: list[UploadFile] = Field([], max_length=MAX_MEDIA, description="images, GIFs, videos")


class FrameShown(BaseModel):
    """A frame that the model read, as a JPEG data URL."""

    media_id: str
    time_s: float
    score: float = Field(description="similarity to the prompt")
    image: str


class UnreadMedium(BaseModel):
    """Why a file could not be read."""

    media_id: str
    name: str = Field(description="its URL, or the name of the uploaded file")
    error: str


class Answer(BaseModel):
    """The likes with their intervals, of which 80% is `likes_low` to `likes_high`, the caption, and the frames that
    both were read from."""

    likes: float | None = Field(description="null of a model that writes captions alone")
    likes_low: float | None = Field(description="null where the bundle was calibrated on too few posts to tell")
    likes_high: float | None
    intervals: list[Interval]
    caption: str | None = Field(description="null of a model that tells likes alone")
    cold_account: bool | None = Field(None, description="nothing is known of the account: the likes are less sure")
    frames: list[FrameShown]
    media_errors: list[UnreadMedium]
    why: list[Effect] | None = Field(None, description="where asked: effects on log(1 + likes), each with the part")
    error: str | None = Field(description="why the answer rests on less than was given, if it does")


class Problem(BaseModel):
    """RFC 9457, as application/problem+json."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    instance: str
    request_id: str | None = None
    errors: list[str] | None = Field(None, description="field: what is wrong, for 422")
