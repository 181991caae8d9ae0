"""What is known of a post in numbers, before it is out and without its pixels: inputs of the likes head."""

import math
from datetime import datetime

from m3l.data.records import History, Post

NUMBERS = 31  # the first is the account's level, from which the head tells the difference


def numbers(post: Post, mean: float, std: float) -> list[float]:
    """The account's history, then time and kinds of media; `mean` and `std` are those of log1p(likes) in training.

    Levels are told as differences from the account's own one. For a post of which nothing is known all of the
    history is 0 but for the marks of what is missing.
    """
    history = post.history or History()
    level, prior = history.level, history.prior
    centre = mean if level is None else level

    def beyond(value: float | None) -> float:
        return 0.0 if value is None else (value - centre) / std

    return [
        (centre - mean) / std,
        *map(beyond, (history.mean, history.median, history.median_20, history.median_5, history.last)),
        *map(beyond, (history.recent, history.company_recent)),
        *map(beyond, (prior.mean, prior.median, prior.low, prior.high) if prior else (None,) * 4),
        (history.spread or 0.0) / std,
        math.log1p(history.posts) / 3,
        1 / math.sqrt(1 + history.posts),
        1 / (1 + history.weight),
        1 / (1 + history.company_weight),
        math.log1p(history.days_since or 0.0) / 3,
        float(not history.posts),
        float(history.spread is None),
        float(prior is None),
        *_time(post.posted_at),
        *(float(sum(m.kind == kind for m in post.media)) for kind in ("image", "gif", "video")),
        math.log1p(sum(m.duration_s or 0.0 for m in post.media)) / 3,
        float(len(post.caption or "")) / 140,
    ]


def _time(moment: datetime | None) -> list[float]:
    """Where in the day and in the week a moment lies, and whether on a weekend; zeros where it is not known."""
    if moment is None:
        return [0.0] * 5
    day = 2 * math.pi * (moment.hour + moment.minute / 60) / 24
    week = 2 * math.pi * moment.weekday() / 7
    return [math.sin(day), math.cos(day), math.sin(week), math.cos(week), float(moment.weekday() >= 5)]
