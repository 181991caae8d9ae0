"""Retrieval: the key frames most similar to a prompt, put back in time order."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from m3l.config import TaskConfig
from m3l.prompts import metadata
from m3l.records import Context, ContextFrame, KeyFrame, MediaFrames, Post
from m3l.retriever.clip import Retriever


class Kept(NamedTuple):
    """A frame that was kept: its place among those that were ranked, and its similarity."""

    at: int
    score: float


def rank(similarity: Float[Tensor, " n"], k: int) -> list[Kept]:
    """The k most similar of n frames, in the order in which they were given; of equals the earlier one."""
    best = similarity.argsort(descending=True, stable=True)[:k].sort().values
    return [Kept(int(i), float(similarity[i])) for i in best]


@torch.inference_mode()
def contexts(
    retriever: Retriever,
    tasks: Sequence[TaskConfig],
    posts: Sequence[Post],
    media: Sequence[Sequence[MediaFrames]],
    top_k: int,
) -> list[dict[str, Context]]:
    """The context of every task (by name) of each post: `top_k` frames of its media in album and time order.

    `media` are the key frames of each post's files. Each frame is embedded once, however many tasks ask. A post
    without any readable frame has an empty context whose `error` says why.
    """
    albums = [[(file.media_id, frame) for file in files for frame in file.frames] for files in media]
    embedded = retriever.encode_images([frame.image for album in albums for _, frame in album])
    queries = retriever.encode_text([metadata(task, post) for post in posts for task in tasks])
    found = []
    for post, files, album, frames, asked in zip(
        posts,
        media,
        albums,
        embedded.split([len(album) for album in albums]),
        queries.split([len(tasks)] * len(posts)),
        strict=True,
    ):
        scores = retriever.similarity(asked, frames).cpu()
        found.append(
            {
                task.name: Context(
                    post_id=post.post_id,
                    task=task.name,
                    frames=tuple(_kept(album[kept.at], kept.score) for kept in rank(row, top_k)),
                    error=None if album else why_nothing(files),
                )
                for task, row in zip(tasks, scores, strict=True)
            }
        )
    return found


def why_nothing(files: Sequence[MediaFrames]) -> str:
    """Why a post has no frames: it has no media, or the reason of its first file."""
    if not files:
        return "no media"
    return next((file.error for file in files if file.error), "no key frames")


def _kept(place: tuple[str, KeyFrame], score: float) -> ContextFrame:
    media_id, frame = place
    return ContextFrame(media_id=media_id, time_s=frame.time_s, score=score, image=frame.image)
