"""Numeric features of a post for the likes head: what is known before it is published, apart from its pixels."""

import math
from datetime import datetime

from m3l.data.records import History, Post

NUM_FEATURES = 31  # the first is the account's level; the head predicts the difference from it


def history_features(post: Post, mean: float, std: float) -> list[float]:
    """The NUM_FEATURES features of a post: the account's history, the time, the media and the caption's length.

    Levels are differences from the account's own level. Without a history, all levels are 0, and the flags for
    missing values are set.

    Args:
        post: The post; its likes are not read.
        mean: Mean of log1p(likes) over the training posts.
        std: Standard deviation of log1p(likes) over the training posts.
    """
    history = post.history or History()
    level, prior = history.level, history.prior
    centre = mean if level is None else level

    def relative(value: float | None) -> float:
        return 0.0 if value is None else (value - centre) / std

    return [
        (centre - mean) / std,
        *map(relative, (history.mean, history.median, history.median_20, history.median_5, history.last)),
        *map(relative, (history.recent, history.company_recent)),
        *map(relative, (prior.mean, prior.median, prior.low, prior.high) if prior else (None,) * 4),
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
    """The time of day and the day of the week as points on a circle, and a flag for weekends; zeros without a date."""
    if moment is None:
        return [0.0] * 5
    day = 2 * math.pi * (moment.hour + moment.minute / 60) / 24
    week = 2 * math.pi * moment.weekday() / 7
    return [math.sin(day), math.cos(day), math.sin(week), math.cos(week), float(moment.weekday() >= 5)]
