"""One request's way: its media to key frames, those and the post to the model, the answer back."""

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

READERS = 4  # files fetched at a time; one is decoded at a time
HEARD_S = 10.0  # a model that answered so lately is not asked whether it is there
PROBE_S = 5.0


class Service:
    """Answers drafts; `model` is the handle of the deployment that holds the Simulator."""

    def __init__(self, config: Config, model: Any) -> None:
        self.model, self.heard = model, -HEARD_S
        self.reader = KeyFrameReader(config.media, config.paths.media_root)
        self.threads = ThreadPoolExecutor(READERS, "read")

    async def simulate(self, draft: DraftWithMedia) -> Answer:
        media = [Media(kind=medium.kind, url=medium.url) for medium in draft.media]
        names = [medium.url for medium in media]
        return await self._answer(draft, names, media, [partial(self.reader, m) for m in media])

    async def simulate_upload(self, draft: DraftWithFiles) -> Answer:
        names = [file.filename or f"file {i + 1}" for i, file in enumerate(draft.files)]
        media = [Media(kind=_kind(file), url=f"upload:{i}") for i, file in enumerate(draft.files)]
        reads = [partial(self._read, f, m) for f, m in zip(draft.files, media, strict=True)]
        return await self._answer(draft, names, media, reads)

    async def ready(self) -> bool:
        """Whether the model answers; one that is too busy to be asked does."""
        if time.monotonic() - self.heard < HEARD_S:
            return True
        try:
            async with asyncio.timeout(PROBE_S):
                await self.model.ready.remote()
        except BackPressureError:
            return True
        except Exception:
            return False
        self.heard = time.monotonic()
        return True

    def close(self) -> None:
        self.threads.shutdown(wait=False, cancel_futures=True)
        self.reader.close()

    async def _answer(
        self, draft: Draft, names: list[str], media: list[Media], reads: Sequence[Callable[[], MediaFrames]]
    ) -> Answer:
        loop = asyncio.get_running_loop()
        read = await asyncio.gather(*(loop.run_in_executor(self.threads, each) for each in reads))
        known = draft.model_dump(exclude={"media", "files", "why"})
        post = Post(post_id=uuid4().hex, media=tuple(media), **known)
        told: Prediction = await self._ask("tell", post, read)
        images = {(found.media_id, frame.time_s): frame.image for found in read for frame in found.frames}
        return Answer(
            **told.model_dump(
                include={"likes", "likes_low", "likes_high", "intervals", "caption", "cold_account", "error"}
            ),
            frames=[
                FrameShown(**frame.model_dump(), image=_data_url(images[frame.media_id, frame.time_s]))
                for frame in told.frames
            ],
            media_errors=[
                UnreadMedium(media_id=found.media_id, name=name, error=found.error)
                for name, found in zip(names, read, strict=True)
                if found.error
            ],
            why=await self._ask("why", post, read) if draft.why else None,
        )

    async def _ask(self, what: str, post: Post, read: list[MediaFrames], *, again: bool = True) -> Any:
        try:
            told = await getattr(self.model, what).remote(post, read)
        except BackPressureError:
            raise HTTPException(429, "busy: the model's queue is full", {"Retry-After": "2"}) from None
        except (RayActorError, DeploymentUnavailableError):
            if again:  # asking twice changes nothing, and another replica may be there
                return await self._ask(what, post, read, again=False)
            raise HTTPException(503, "the model is starting again", {"Retry-After": "10"}) from None
        self.heard = time.monotonic()
        if isinstance(told, str):
            raise HTTPException(500, f"the model failed on this post: {told}")
        return told

    def _read(self, file: UploadFile, media: Media) -> MediaFrames:
        with tempfile.TemporaryDirectory(prefix="m3l-upload-") as folder:  # private: mode 0700
            path = Path(folder) / "file"  # the sender's name is never a path
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
