"""Tiny retrievers: their configuration, the media that they look at, and the samples that they train on."""

from m3l.config import ClipConfig, Config, load
from m3l.data.records import KeyFrame, MediaFrames, Post
from m3l.retriever.clip import Retriever
from m3l.retriever.dataset import Sample, make_sample
from tests.support.posts import example, jpeg

CONFIG: Config = load("tiny", ["retriever.batch_size=4", "retriever.teacher_epochs=1", "retriever.epochs=1"])
CLIP = ClipConfig(tiny=True, pretrained=None)


def media_frames(number: int, frames: int, error: str | None = None) -> MediaFrames:
    """One media file of `frames` frames, half a second apart."""
    shown = [KeyFrame(time_s=i / 2, image=jpeg(100 * number + i), width=48, height=40) for i in range(frames)]
    return MediaFrames(media_id=f"m{number}", url=f"{number}.mp4", kind="video", frames=tuple(shown), error=error)


def post(number: int, **fields: object) -> Post:
    """The post of that number, with other values in some fields."""
    return example(number, **fields).post


def samples(retriever: Retriever, count: int) -> list[Sample]:
    """Posts of one to five frames."""
    rows = [
        make_sample(post(i), [media_frames(i, 1 + i % 5)], CONFIG.tasks, retriever.preprocess) for i in range(count)
    ]
    return [sample for sample in rows if sample]
