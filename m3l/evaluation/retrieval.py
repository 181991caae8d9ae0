"""Retrieved frames against what is known to be on screen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float16

from m3l.corpus.truth import on_screen
from m3l.data.records import MediaFrames
from m3l.evaluation.likes_metrics import near_duplicates, recall_at, reciprocal_rank

JUDGED = pa.struct(  # who chose some frames, and `Album.judge` of them
    [
        ("by", pa.string()),
        *((name, pa.float64()) for name in ("recall", "reciprocal_rank", "near_duplicates", "shows_both")),
    ]
)


@dataclass(frozen=True)
class Album:
    """The key frames of a post whose truth is known, in album and time order."""

    places: list[tuple[str, float]]  # of each frame its media file and its time
    shows: list[set[str]]  # who is visible
    vectors: Float16[np.ndarray, "n dim"]
    two: bool  # a post about two subjects, each of which is visible in some frame

    @classmethod
    def of(cls, files: Sequence[MediaFrames], vectors: Float16[np.ndarray, "n dim"], truth: dict[str, Any]) -> "Album":
        places = [(file.media_id, frame.time_s) for file in files for frame in file.frames]
        shows = [on_screen(truth["media"], *place) for place in places]
        two = len(truth["subjects"]) == 2 and set(truth["subjects"]) <= set().union(*shows)
        return cls(places, shows, vectors, two)

    def leaves_a_choice(self, k: int) -> bool:
        """Whether there are more key frames than k, some of them relevant."""
        return len(self.places) > k and any(self.shows)

    def judge(self, order: Sequence[int], k: int) -> dict[str, float | None]:
        """How good the first k of some places are, given best first; what cannot be told is None.

        `recall` is of the frames that show a subject, `near_duplicates` the share of copies among the kept, and
        `shows_both` is 1 where both of two subjects are in them.
        """
        kept = list(order[:k])
        hits = np.array([bool(self.shows[at]) for at in kept], bool)
        seen = set().union(*(self.shows[at] for at in kept))
        return {
            "recall": recall_at(hits, sum(map(bool, self.shows)), k),
            "reciprocal_rank": reciprocal_rank(hits),
            "near_duplicates": near_duplicates(self.vectors[kept].astype(np.float32)),
            "shows_both": float(len(seen) == 2) if self.two else None,
        }


def evenly(frames: int, k: int) -> list[int]:
    """The places of k evenly spaced frames: uniform sampling, in time order since it ranks nothing."""
    return np.linspace(0, frames - 1, k).round().astype(int).tolist()


def average(judged: Sequence[Mapping[str, float | None]]) -> dict[str, float | None]:
    """The mean of each figure over those that could be told."""
    known: dict[str, list[float]] = {name: [] for name in (judged[0] if judged else ())}
    for row in judged:
        for name, value in row.items():
            known[name] += [] if value is None else [value]
    return {name: float(np.mean(values)) if values else None for name, values in known.items()}
