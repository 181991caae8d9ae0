"""Answers one request: reads its media into key frames, asks the model, and builds the answer."""

import asyncio
import base64
import mimetypes
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

from fastapi import UploadFile
from ray.exceptions import RayActorError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from starlette.exceptions import HTTPException

from m3l.config import Config
from m3l.data.records import Media, MediaFrames, MediaKind, Post, Prediction
from m3l.media.reader import KeyFrameReader
from serve_app.schemas import Answer, Draft, DraftWithFiles, DraftWithMedia, FrameShown, UnreadMedium

READERS = 4  # files fetched at the same time; only one is decoded at a time
FRESH_S = 10.0  # a model that answered within this time is not probed
PROBE_S = 5.0


class Service:
    """Answers drafts of posts.

    Args:
        config: The limits on media, and the folder that relative media paths are resolved in.
        model: Handle of the `Model` deployment.
    """

    def __init__(self, config: Config, model: Any) -> None:
        self.model, self.last_answer_s = model, -FRESH_S
        self.reader = KeyFrameReader(config.media, config.paths.media_root)
        self.threads = ThreadPoolExecutor(READERS, "read")

    async def simulate(self, draft: DraftWithMedia) -> Answer:
        """Predict a post whose media are given by URL."""
        media = [Media(kind=medium.kind, url=medium.url) for medium in draft.media]
        names = [medium.url for medium in media]
        return await self._answer(draft, names, media, [partial(self.reader, m) for m in media])

    async def simulate_upload(self, draft: DraftWithFiles) -> Answer:
        """Predict a post whose media are uploaded."""
        names = [file.filename or f"file {i + 1}" for i, file in enumerate(draft.files)]
        media = [Media(kind=_kind(file), url=f"upload:{i}") for i, file in enumerate(draft.files)]
        reads = [partial(self._read, f, m) for f, m in zip(draft.files, media, strict=True)]
        return await self._answer(draft, names, media, reads)

    async def ready(self) -> bool:
        """Whether the model answers; one that is too busy to be probed counts as ready."""
        if time.monotonic() - self.last_answer_s < FRESH_S:
            return True
        try:
            async with asyncio.timeout(PROBE_S):
                await self.model.ready.remote()
        except BackPressureError:
            return True
        except Exception:
            return False
        self.last_answer_s = time.monotonic()
        return True

    def close(self) -> None:
        """Stop the reading threads and the decoding process."""
        self.threads.shutdown(wait=False, cancel_futures=True)
        self.reader.close()

    async def _answer(
        self, draft: Draft, names: list[str], media: list[Media], reads: Sequence[Callable[[], MediaFrames]]
    ) -> Answer:
        loop = asyncio.get_running_loop()
        frames = await asyncio.gather(*(loop.run_in_executor(self.threads, read) for read in reads))
        fields = draft.model_dump(exclude={"media", "files", "why"})
        post = Post(post_id=uuid4().hex, media=tuple(media), **fields)
        prediction: Prediction = await self._ask(self.model.predict, post, frames)
        images = {(file.media_id, frame.time_s): frame.image for file in frames for frame in file.frames}
        return Answer(
            **prediction.model_dump(
                include={"likes", "likes_low", "likes_high", "intervals", "caption", "cold_account", "error"}
            ),
            frames=[
                FrameShown(**frame.model_dump(), image=_data_url(images[frame.media_id, frame.time_s]))
                for frame in prediction.frames
            ],
            media_errors=[
                UnreadMedium(media_id=file.media_id, name=name, error=file.error)
                for name, file in zip(names, frames, strict=True)
                if file.error
            ],
            why=await self._ask(self.model.explain, post, frames) if draft.why else None,
        )

    async def _ask(self, method: Any, post: Post, frames: list[MediaFrames], *, retry: bool = True) -> Any:
        try:
            reply = await method.remote(post, frames)
        except BackPressureError:
            raise HTTPException(429, "busy: the model's queue is full", {"Retry-After": "2"}) from None
        except (RayActorError, DeploymentUnavailableError):
            if retry:  # predictions have no side effects, and another replica may be running
                return await self._ask(method, post, frames, retry=False)
            raise HTTPException(503, "the model is restarting", {"Retry-After": "10"}) from None
        self.last_answer_s = time.monotonic()
        if isinstance(reply, str):
            raise HTTPException(500, f"the model failed on this post: {reply}")
        return reply

    def _read(self, file: UploadFile, media: Media) -> MediaFrames:
        with tempfile.TemporaryDirectory(prefix="m3l-upload-") as folder:  # private: mode 0700
            path = Path(folder) / "file"  # the uploaded file's name is never used as a path
            with path.open("wb") as copy:
                shutil.copyfileobj(file.file, copy)
            return self.reader.read_file(path, media)


def _kind(file: UploadFile) -> MediaKind:
    declared = file.content_type or ""
    if declared in {"", "application/octet-stream"}:
        declared = mimetypes.guess_type(file.filename or "")[0] or "unknown"
    match declared.split("/"):
        case ["image", "gif"]:
            return "gif"
        case ["image", _]:
            return "image"
        case ["video", _]:
            return "video"
    raise HTTPException(415, f"{file.filename}: {declared} is neither image nor video")


def _data_url(image: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(image).decode()
