"""What a report is made from. Any part may be missing: what was not measured is left out, never told as 0."""

from datetime import datetime
from typing import Any

from pydantic import Field

from m3l.data.records import Effect, Record


class Frame(Record):
    """A retrieved key frame (encoded); `effect` is its own on log(1 + likes), `shows` who is visible: None where nobody
    knows."""

    image: bytes
    time_s: float
    score: float | None = None
    effect: float | None = None
    shows: tuple[str, ...] | None = None


class Span(Record):
    """A subject that is on screen from `start_s` to `end_s`."""

    subject: str
    start_s: float
    end_s: float


class Shown(Record):
    """A held-out post beside what was said of it."""

    post_id: str
    username: str
    posted_at: datetime | None
    true_caption: str | None = None
    caption: str | None = None
    true_likes: float | None = None
    likes: float | None = None
    likes_low: float | None = None
    likes_high: float | None = None
    cold_account: bool | None = None
    duration_s: float | None = None
    frames: tuple[Frame, ...] = ()
    spans: tuple[Span, ...] | None = None
    why: tuple[Effect, ...] = ()

    @property
    def subjects(self) -> list[str]:
        """Everyone on screen or in a frame, each once, in order of first appearance."""
        on_screen = sorted(self.spans or (), key=lambda span: span.start_s)
        seen = [name for frame in self.frames for name in frame.shows or ()]
        return list(dict.fromkeys([span.subject for span in on_screen] + seen))

    @property
    def length_s(self) -> float:
        """The end of the timeline; 0 for still pictures."""
        ends = [frame.time_s for frame in self.frames] + [span.end_s for span in self.spans or ()]
        return self.duration_s or max(ends, default=0)


class Trial(Record):
    """One trial of a sweep: dotted field -> value, what it scored, and the standard deviation over its seeds."""

    params: dict[str, Any]
    objective: float | None = None
    sd: float | None = None


class Evaluation(Record):
    """Everything that one report tells.

    `metrics` is metrics.json, with `splits: {split: the same}` and `intervals: {kind: {metric: {who: [low, high]}}}` if
    known. `points` are (true likes, predicted likes, split); `noise_sd` is that of log(1 + likes), if known.
    `curves` are the rows of each stage's training log: a `step` and its losses, None where a step had none.
    `tune` comes best first. `comparison` is comparison/metrics.json: retrievers side by side.
    """

    title: str = "How well does the model know its posts?"
    metrics: dict[str, Any] = Field({})
    points: tuple[tuple[float, float, str], ...] = ()
    noise_sd: float | None = None
    curves: dict[str, tuple[dict[str, float | None], ...]] = Field({})
    gallery: tuple[Shown, ...] = ()
    tune: tuple[Trial, ...] = ()
    comparison: dict[str, Any] = Field({})
    card: dict[str, str] = Field({})
