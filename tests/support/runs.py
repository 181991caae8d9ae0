"""Run folders that a stage can start from, written in a second without the stages before it."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np

from m3l.config import Config, load, override
from m3l.data import storage
from m3l.data.records import KeyFrame, Media, MediaFrames, Post, media_id
from m3l.data.schemas import CONTEXT, KEYFRAMES, MEDIA, POSTS, to_table
from m3l.retriever.clip import Retriever
from tests.support.posts import TINY, example


def pictures_run(run: Path, pictures: int, *settings: str) -> Config:
    """A run that `frames` can start from: its posts name pictures `0.jpg` to `N.jpg`, none of them read yet."""
    media = run / "media"
    media.mkdir(parents=True)
    rows = []
    for number in range(pictures):
        name = f"{number}.jpg"
        cv2.imwrite(str(media / name), np.full((16, 24, 3), number, np.uint8))
        rows.append({"media_id": media_id(name), "kind": "image", "url": name})
    config = load("tiny", [f"paths.run={run}", f"paths.media_root={media}", *settings])
    posts = config.paths.of("posts")
    storage.write_part(to_table(rows, MEDIA), f"{posts}/media", ["0"])
    storage.write_json(f"{posts}/_summary.json", {"rows_in": pictures})
    return config


def videos_run(
    run: Path, posts: Sequence[Post], files: Sequence[MediaFrames], *settings: str, retriever: bool = True
) -> Config:
    """A run that `retrieve` can start from, with a randomly initialised retriever; `train-retriever` without one."""
    config = load("tiny", [f"paths.run={run}", *settings])
    storage.write_part(to_table(posts, POSTS), config.paths.of("posts"), ["posts"])
    storage.write_part(to_table(files, KEYFRAMES), config.paths.of("keyframes"), ["files"])
    if retriever:
        Retriever.build(config.retriever.clip, seed=0).save(config.paths.of("retriever"))
    return config


def training_run(run: Path, **settings: object) -> Config:
    """A run that `train` can start from, of the smallest model: 24 posts to train on, 4 to validate on."""
    config = override(TINY, {"paths.run": str(run), **settings})
    examples = [
        example(number, frames=number % 3, split="train" if number < 24 else "validation") for number in range(28)
    ]
    posts = [each.post for each in examples]
    contexts = [each.context.model_copy(update={"task": task.name}) for each in examples for task in config.tasks]
    storage.write_part(to_table(posts, POSTS), config.paths.of("posts"), ["posts"])
    storage.write_part(to_table(contexts, CONTEXT), config.paths.of("context"), ["contexts"])
    Retriever.build(config.retriever.clip, seed=0).save(config.paths.of("retriever"))
    return config


def video_post(number: int, *urls: str) -> Post:
    """The post of that number with a video at each URL."""
    media = tuple(Media(kind="video", url=url) for url in urls)
    posted_at = datetime(2020, 7, 19, tzinfo=UTC)
    return Post(post_id=str(number), username="maker", posted_at=posted_at, caption="the sea", likes=3, media=media)


def video_frames(url: str, frames: int, error: str | None = None) -> MediaFrames:
    """The key frames of the video at a URL: noise, half a second apart."""
    random = np.random.default_rng(len(url) + frames)
    shown = []
    for i in range(frames):
        picture = cv2.imencode(".jpg", random.integers(0, 256, (40, 48, 3), np.uint8))[1].tobytes()
        shown.append(KeyFrame(time_s=i / 2, image=picture, width=48, height=40))
    name = Media(kind="video", url=url).media_id
    return MediaFrames(media_id=name, url=url, kind="video", frames=tuple(shown), error=error)
