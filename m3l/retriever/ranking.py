"""Retrieval: the key frames most similar to a prompt, put back in time order."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from m3l.config import RetrieverConfig, TaskConfig
from m3l.prompts import metadata
from m3l.records import Context, ContextFrame, KeyFrame, MediaFrames, Post
from m3l.retriever.clip import Retriever


class Kept(NamedTuple):
    """A frame that was kept: its place among those that were ranked, and its similarity."""

    at: int
    score: float


def rank(similarity: Float[Tensor, " n"], k: int, sharpness: float | None = None) -> list[Kept]:
    """The k most similar of n frames, in the order in which they were given; of equals the earlier one.

    With a `sharpness` relevance is traded against coverage, see `spread`.
    """
    best = similarity.argsort(descending=True, stable=True)
    if sharpness is not None and len(best) > k:
        chosen = spread(similarity, k, sharpness)
        best = torch.cat([chosen, best[~torch.isin(best, chosen)]])  # places that fell together go to the best left
    return [Kept(int(i), float(similarity[i])) for i in best[:k].sort().values]


def spread(similarity: Float[Tensor, " n"], k: int, sharpness: float) -> Int[Tensor, " at_most_k"]:
    """Inverse transform sampling: the frames at the k even quantiles of relevance along the given order.

    BOLT (arXiv 2503.21483), without chance: relevance is the similarity scaled to [0, 1] to the power of
    `sharpness`. 0 spreads evenly in time; the larger it is, the closer to the plain top k. Frames that take more
    than one quantile are given once.
    """
    scaled = similarity.double() - similarity.min()
    relevance = (scaled / scaled.max().clamp(min=1e-12)) ** sharpness
    relevance = relevance if relevance.sum() > 0 else torch.ones_like(relevance)
    share = relevance.cumsum(0) / relevance.sum()
    quantiles = (torch.arange(k, dtype=torch.double, device=share.device) + 0.5) / k
    return torch.searchsorted(share, quantiles).clamp(max=len(share) - 1).unique()


@torch.inference_mode()
def contexts(
    retriever: Retriever,
    tasks: Sequence[TaskConfig],
    posts: Sequence[Post],
    media: Sequence[Sequence[MediaFrames]],
    config: RetrieverConfig,
) -> list[dict[str, Context]]:
    """The context of every task (by name) of each post: `config.top_k` frames of its media in album and time order.

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
                    frames=tuple(
                        _kept(album[kept.at], kept.score) for kept in rank(row, config.top_k, config.sharpness)
                    ),
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
