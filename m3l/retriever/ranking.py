"""Retrieval: the key frames most similar to a prompt, in time order. Works on embeddings and needs no torch."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float16, Float32

from m3l.config import RetrieverConfig, TaskConfig
from m3l.data.records import Context, ContextFrame, KeyFrame, MediaFrames, Post
from m3l.prompts.render import metadata_prompt

OWN_VARIANCE = 0.01  # share of each frame that no other explains: duplicates stay distinct and no pivot is 0


@runtime_checkable
class Embedder(Protocol):
    """Embeds frames and texts, as `Retriever` does; the dot product of a text and a frame is their similarity."""

    def image_embeddings(self, images: Sequence[bytes]) -> Float16[np.ndarray, "n dim"]: ...

    def query_embeddings(self, texts: Sequence[str]) -> Float16[np.ndarray, "n dim"]: ...


class RankedFrame(NamedTuple):
    """A selected frame: its index among the candidates, and its similarity."""

    position: int
    score: float


def select_frames(
    query: Float32[np.ndarray, " dim"], frames: Float32[np.ndarray, "n dim"], k: int, diversity: float | None = None
) -> list[RankedFrame]:
    """Select k frames for a query and return them in their original order; ties go to the earlier frame.

    Args:
        query: Embedding of the prompt, with the similarity's scale in it.
        frames: Embeddings of the candidates.
        k: Number of frames.
        diversity: None or 0: the k most similar frames. Else see `diverse_top_k`.
    """
    similarity = frames @ query
    if diversity and len(frames) > k:
        indices = diverse_top_k(similarity, frames, k, diversity)
    else:
        indices = top_k_indices(query, frames, k)
    return [RankedFrame(index, float(similarity[index])) for index in sorted(indices)]


def top_k_indices(query: Float32[np.ndarray, " dim"], frames: Float32[np.ndarray, "n dim"], k: int) -> list[int]:
    """Indices of the k frames most similar to the query, most similar first; ties go to the earlier frame."""
    return np.argsort(-(frames @ query), kind="stable")[:k].tolist()


def diverse_top_k(
    similarity: Float32[np.ndarray, " n"], frames: Float32[np.ndarray, "n dim"], k: int, diversity: float
) -> list[int]:
    """Indices of k frames, best first, that are relevant and differ from one another.

    Greedy MAP inference of a determinantal point process (Chen et al. 2018, arXiv 1709.05135): each step adds the
    frame that most raises relevance + diversity x log det(cosine matrix of the selection).

    Args:
        similarity: Similarity of each frame with the query; scaled to [0, 1] over the frames, it is the relevance.
        frames: Embeddings of the frames.
        k: Number of frames.
        diversity: Weight of the log determinant: the larger, the less relevance counts.
    """
    relevance = (similarity - similarity.min()).astype(np.float64)
    relevance /= max(relevance.max(), 1e-12)
    unit = frames.astype(np.float64) / np.maximum(np.linalg.norm(frames, axis=1, keepdims=True), 1e-12)
    residual = np.ones(len(frames))  # variance that the selection does not explain: the pivots of a Cholesky factor
    rows = np.zeros((k, len(frames)))
    selected: list[int] = []
    for step in range(min(k, len(frames))):
        gain = relevance + diversity * np.log(residual)
        gain[selected] = -np.inf
        best = int(gain.argmax())
        cosines = (1 - OWN_VARIANCE) * (unit @ unit[best])
        cosines[best] += OWN_VARIANCE
        rows[step] = (cosines - rows[:step, best] @ rows[:step]) / np.sqrt(residual[best])
        residual = np.maximum(residual - rows[step] ** 2, OWN_VARIANCE)  # smaller only by rounding
        selected.append(best)
    return selected


def retrieve_contexts(
    retriever: Embedder,
    tasks: Sequence[TaskConfig],
    posts: Sequence[Post],
    media: Sequence[Sequence[MediaFrames]],
    config: RetrieverConfig,
) -> list[dict[str, Context]]:
    """Embed the frames of some posts and select the context of every task; each frame is embedded once.

    Args:
        retriever: Embeds frames and prompts.
        tasks: Tasks whose metadata prompts are the queries.
        posts: The posts.
        media: For each post, the key frames of its media files.
        config: How many frames, how diverse.

    Returns:
        For each post, its contexts by task name.
    """
    images = [[frame.image for file in files for frame in file.frames] for files in media]
    frames = retriever.image_embeddings([image for album in images for image in album])
    queries = retriever.query_embeddings([metadata_prompt(task, post) for post in posts for task in tasks])
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
    """Select `config.top_k` frames of a post for each task, in album and time order.

    Args:
        post_id: Id of the post.
        tasks: Names of the tasks.
        files: Key frames of the post's media files.
        queries: Embedding of each task's prompt.
        frames: Embeddings of all frames of `files`, one file after another.
        config: How many frames, how diverse.

    Returns:
        The contexts by task name; a post without readable frames has empty ones whose `error` says why.
    """
    album = [(file.media_id, frame) for file in files for frame in file.frames]
    if not album:
        return {task: Context(post_id=post_id, task=task, error=missing_frames_reason(files)) for task in tasks}
    contexts = {}
    for task, query in zip(tasks, queries.astype(np.float32), strict=True):
        selection = select_frames(query, frames.astype(np.float32), config.top_k, config.diversity)
        shown = tuple(_context_frame(*album[frame.position], frame.score) for frame in selection)
        contexts[task] = Context(post_id=post_id, task=task, frames=shown)
    return contexts


def missing_frames_reason(files: Sequence[MediaFrames]) -> str:
    """Why a post has no frames: it has no media, or the error of its first unreadable file."""
    if not files:
        return "no media"
    return next((file.error for file in files if file.error), "no key frames")


def _context_frame(media_id: str, frame: KeyFrame, score: float) -> ContextFrame:
    return ContextFrame(media_id=media_id, time_s=frame.time_s, score=score, image=frame.image)
