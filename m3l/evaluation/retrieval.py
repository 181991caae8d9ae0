"""Scores of retrieved key frames, for posts of the synthetic corpus, which says who is on screen when.

A score that the data do not determine is None, never 0.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float16, Float32

from m3l.corpus.truth import subjects_on_screen
from m3l.data.records import MediaFrames

FRAME_SCORES = pa.struct(  # `RetrievalCase.score` of the frames that `by` selected
    [
        ("by", pa.string()),
        *((name, pa.float64()) for name in ("recall", "reciprocal_rank", "near_duplicates", "shows_both")),
    ]
)


@dataclass(frozen=True)
class RetrievalCase:
    """The key frames of one post, in the order of its media files and of time.

    Attributes:
        frames: Media id and time in seconds of each frame.
        subjects: The subjects that are visible in each frame; a frame with one is relevant.
        vectors: The embedding of each frame.
        two_subjects: Whether the post is about two subjects and each is visible in some frame.
    """

    frames: list[tuple[str, float]]
    subjects: list[set[str]]
    vectors: Float16[np.ndarray, "n dim"]
    two_subjects: bool

    @classmethod
    def of(
        cls, files: Sequence[MediaFrames], vectors: Float16[np.ndarray, "n dim"], truth: dict[str, Any]
    ) -> "RetrievalCase":
        """The case of a post.

        Args:
            files: The key frames of its media files.
            vectors: Their embeddings, in the same order.
            truth: The row of the synthetic corpus that says who is on screen when.
        """
        frames = [(file.media_id, frame.time_s) for file in files for frame in file.frames]
        subjects = [subjects_on_screen(truth["media"], *frame) for frame in frames]
        two = len(truth["subjects"]) == 2 and set(truth["subjects"]) <= set().union(*subjects)
        return cls(frames, subjects, vectors, two)

    def has_choice(self, k: int) -> bool:
        """Whether there are more than k key frames, and at least one relevant one."""
        return len(self.frames) > k and any(self.subjects)

    def score(self, ranking: Sequence[int], k: int) -> dict[str, float | None]:
        """The scores of the first k frames of a ranking.

        Args:
            ranking: Indices of frames, best first.
            k: Number of frames that count.

        Returns:
            `recall` of the relevant frames, `reciprocal_rank` of the first one, the share of `near_duplicates`, and
            `shows_both`: 1 if the frames show both of two subjects.
        """
        top = list(ranking[:k])
        hits = np.array([bool(self.subjects[index]) for index in top], bool)
        visible = set().union(*(self.subjects[index] for index in top))
        return {
            "recall": recall_at(hits, sum(map(bool, self.subjects)), k),
            "reciprocal_rank": reciprocal_rank(hits),
            "near_duplicates": near_duplicates(self.vectors[top].astype(np.float32)),
            "shows_both": float(len(visible) == 2) if self.two_subjects else None,
        }


def uniform_indices(frames: int, k: int) -> list[int]:
    """The indices of k evenly spaced frames, in time order."""
    return np.linspace(0, frames - 1, k).round().astype(int).tolist()


def mean_scores(scores: Sequence[Mapping[str, float | None]]) -> dict[str, float | None]:
    """The mean of each score over the rows where it is not None; None if there is none."""
    values: dict[str, list[float]] = {name: [] for name in (scores[0] if scores else ())}
    for row in scores:
        for name, value in row.items():
            values[name] += [] if value is None else [value]
    return {name: float(np.mean(each)) if each else None for name, each in values.items()}


def recall_at(hits: Bool[np.ndarray, " rank"], relevant: int, k: int) -> float | None:
    """Recall at k, relative to the at most k relevant frames that k frames can hold; None if none is relevant.

    Args:
        hits: Whether each retrieved frame is relevant, best first.
        relevant: Number of relevant frames in total.
        k: Number of frames that count.
    """
    return float(np.sum(hits[:k])) / min(relevant, k) if relevant else None


def reciprocal_rank(hits: Bool[np.ndarray, " rank"]) -> float:
    """1 / rank of the first relevant frame, best first; 0 if there is none."""
    ranks = np.flatnonzero(hits)
    return 1 / (1 + int(ranks[0])) if len(ranks) else 0.0


def near_duplicates(vectors: Float32[np.ndarray, "n dim"], threshold: float = 0.99) -> float | None:
    """Share of frames that nearly repeat an earlier one; None without frames.

    Args:
        vectors: Embeddings of the frames; they need not be normalised.
        threshold: Cosine similarity above which a frame counts as a repetition.
    """
    if not len(vectors):
        return None
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return float((np.tril(unit @ unit.T, -1) > threshold).any(axis=1).mean())
