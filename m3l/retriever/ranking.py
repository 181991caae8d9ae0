"""Retrieval: the key frames most similar to a prompt, put back in time order. Embedding is elsewhere: no torch here."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float16, Float32

from m3l.config import RetrieverConfig, TaskConfig
from m3l.data.records import Context, ContextFrame, KeyFrame, MediaFrames, Post
from m3l.prompts.render import metadata

OWN = 0.01  # of a frame that no other frame can tell: copies of one another stay apart, and no pivot is 0


@runtime_checkable
class Embedder(Protocol):
    """What embeds: a `Retriever`. A text's product with a frame is their similarity."""

    def stored_images(self, images: Sequence[bytes]) -> Float16[np.ndarray, "n dim"]: ...

    def stored_texts(self, texts: Sequence[str]) -> Float16[np.ndarray, "n dim"]: ...


class Kept(NamedTuple):
    """A frame that was kept: its place among those that were ranked, and its similarity."""

    at: int
    score: float


def rank(
    query: Float32[np.ndarray, " dim"], frames: Float32[np.ndarray, "n dim"], k: int, diversity: float | None = None
) -> list[Kept]:
    """The k frames most similar to the query, in the order in which they were given; of equals the earlier one.

    With a `diversity` relevance is traded against likeness, see `diverse`.
    """
    similarity = frames @ query
    choosing = diversity and len(frames) > k
    best = diverse(similarity, frames, k, diversity or 0) if choosing else best_first(query, frames, k)
    return [Kept(at, float(similarity[at])) for at in sorted(best)]


def best_first(query: Float32[np.ndarray, " dim"], frames: Float32[np.ndarray, "n dim"], k: int) -> list[int]:
    """The places of the k frames most similar to the query, the most similar first; of equals the earlier one."""
    return np.argsort(-(frames @ query), kind="stable")[:k].tolist()


def diverse(
    similarity: Float32[np.ndarray, " n"], frames: Float32[np.ndarray, "n dim"], k: int, diversity: float
) -> list[int]:
    """The places of k frames, best first, that are relevant and unlike one another.

    Greedy MAP inference of a determinantal point process (Chen et al. 2018, arXiv 1709.05135): each step adds the
    frame that raises relevance + diversity x log det(cosines of the chosen) most. Relevance is the similarity scaled
    to [0, 1] over the frames. The larger `diversity` is, the less relevance counts.
    """
    relevance = (similarity - similarity.min()).astype(np.float64)
    relevance /= max(relevance.max(), 1e-12)
    unit = frames.astype(np.float64) / np.maximum(np.linalg.norm(frames, axis=1, keepdims=True), 1e-12)
    untold = np.ones(len(frames))  # the share of each frame that the chosen ones do not tell: a pivot of Cholesky's
    rows = np.zeros((k, len(frames)))
    chosen: list[int] = []
    for step in range(min(k, len(frames))):
        gain = relevance + diversity * np.log(untold)
        gain[chosen] = -np.inf
        at = int(gain.argmax())
        alike = (1 - OWN) * (unit @ unit[at])
        alike[at] += OWN
        rows[step] = (alike - rows[:step, at] @ rows[:step]) / np.sqrt(untold[at])
        untold = np.maximum(untold - rows[step] ** 2, OWN)  # never less, but for rounding
        chosen.append(at)
    return chosen


def contexts(
    retriever: Embedder,
    tasks: Sequence[TaskConfig],
    posts: Sequence[Post],
    media: Sequence[Sequence[MediaFrames]],
    config: RetrieverConfig,
) -> list[dict[str, Context]]:
    """The contexts (`post_contexts`) of posts whose frames are not embedded yet; `media` are each post's files.

    Each frame is embedded once, however many tasks ask.
    """
    images = [[frame.image for file in files for frame in file.frames] for files in media]
    frames = retriever.stored_images([image for album in images for image in album])
    queries = retriever.stored_texts([metadata(task, post) for post in posts for task in tasks])
    ends = np.cumsum([len(album) for album in images], dtype=int)
    return [
        post_contexts(
            post.post_id,
            [task.name for task in tasks],
            files,
            queries[i * len(tasks) : (i + 1) * len(tasks)],
            frames[ends[i] - len(images[i]) : ends[i]],
            config,
        )
        for i, (post, files) in enumerate(zip(posts, media, strict=True))
    ]


def post_contexts(
    post_id: str,
    tasks: Sequence[str],
    files: Sequence[MediaFrames],
    queries: Float16[np.ndarray, "tasks dim"],
    frames: Float16[np.ndarray, "n dim"],
    config: RetrieverConfig,
) -> dict[str, Context]:
    """The context of every task (by name) of a post: `config.top_k` frames of its media in album and time order.

    `frames` are the embeddings of all frames of `files`, one file after another. A post without any readable frame
    has an empty context whose `error` says why.
    """
    album = [(file.media_id, frame) for file in files for frame in file.frames]
    if not album:
        return {task: Context(post_id=post_id, task=task, error=why_nothing(files)) for task in tasks}
    found = {}
    for task, query in zip(tasks, queries.astype(np.float32), strict=True):
        kept = rank(query, frames.astype(np.float32), config.top_k, config.diversity)
        shown = tuple(_kept(album[frame.at], frame.score) for frame in kept)
        found[task] = Context(post_id=post_id, task=task, frames=shown)
    return found


def why_nothing(files: Sequence[MediaFrames]) -> str:
    """Why a post has no frames: it has no media, or the reason of its first file."""
    if not files:
        return "no media"
    return next((file.error for file in files if file.error), "no key frames")


def _kept(place: tuple[str, KeyFrame], score: float) -> ContextFrame:
    media_id, frame = place
    return ContextFrame(media_id=media_id, time_s=frame.time_s, score=score, image=frame.image)
