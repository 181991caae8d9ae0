"""The data of a report. Any part may be missing: what was not measured is left out, never shown as 0."""

from datetime import datetime
from typing import Any

from pydantic import Field

from m3l.data.records import Effect, Record


class Frame(Record):
    """A retrieved key frame.

    Attributes:
        image: An encoded image.
        time_s: Position in the video.
        score: Similarity to the prompt.
        effect: Effect of the frame on the predicted log(1 + likes).
        shows: The subjects that are visible; None if that is not known.
    """

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


class GalleryPost(Record):
    """A held-out post with its predictions."""

    post_id: str
    username: str
    posted_at: datetime | None
    actual_caption: str | None = None
    caption: str | None = None
    actual_likes: float | None = None
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
        """Every subject on screen or in a frame once, in order of first appearance."""
        subjects_on_screen = sorted(self.spans or (), key=lambda span: span.start_s)
        in_frames = [name for frame in self.frames for name in frame.shows or ()]
        return list(dict.fromkeys([span.subject for span in subjects_on_screen] + in_frames))

    @property
    def length_s(self) -> float:
        """The end of the timeline; 0 for images."""
        ends = [frame.time_s for frame in self.frames] + [span.end_s for span in self.spans or ()]
        return self.duration_s or max(ends, default=0)


class Trial(Record):
    """One trial of a sweep: values of the varied fields, objective, and its standard deviation over seeds."""

    params: dict[str, Any]
    objective: float | None = None
    sd: float | None = None


class ReportData(Record):
    """Everything that a report shows.

    Attributes:
        title: The heading.
        metrics: The content of metrics.json: `splits` has the same metrics for each split, and `intervals` is
            {kind: {metric: {predictor: [low, high]}}}.
        points: (actual likes, predicted likes, split) of a sample of posts.
        noise_sd: Standard deviation of log(1 + likes), if known.
        curves: Rows of each stage's training log: a `step` and its losses, None where a step has none.
        gallery: Example predictions.
        tune: Trials of a sweep, the best first.
        comparison: The content of comparison/metrics.json: a comparison of retrievers.
        card: Facts about the model, heading -> text.
    """

    title: str = "How well does the model predict likes and captions?"
    metrics: dict[str, Any] = Field({})
    points: tuple[tuple[float, float, str], ...] = ()
    noise_sd: float | None = None
    curves: dict[str, tuple[dict[str, float | None], ...]] = Field({})
    gallery: tuple[GalleryPost, ...] = ()
    tune: tuple[Trial, ...] = ()
    comparison: dict[str, Any] = Field({})
    card: dict[str, str] = Field({})
