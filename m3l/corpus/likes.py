"""The corpus's formula for likes: a sum of effects on log(1 + likes)."""

import math
from dataclasses import dataclass, fields
from datetime import datetime

BASE = 4.0
ACCOUNT_SD = 0.9
SUBJECT_SD = 0.35
SCENE_RANGE = 0.9  # scenes are spread evenly over [-0.9, 0.9]: an effect that only the media reveal
FIRST, SECOND = 0.7, 0.3  # weights of two subjects in the order shown
HOOK = 0.5
HOUR, HOUR_PEAK = 0.35, 19
WEEKEND = 0.15


@dataclass(frozen=True)
class Parts:
    """The terms of one post's log(1 + likes), which add up with `BASE`."""

    account: float
    subject: float
    scene: float
    hook: float
    hour: float
    weekday: float
    wording: float
    noise: float

    @property
    def expected_log1p(self) -> float:
        """log(1 + likes) without the noise: the best possible prediction."""
        return BASE + sum(getattr(self, part.name) for part in fields(self) if part.name != "noise")

    @property
    def likes(self) -> int:
        """The likes, noise included."""
        return max(0, round(math.expm1(self.expected_log1p + self.noise)))


def subject_part(effects: list[float]) -> float:
    """The effect of one or two subjects in the order shown."""
    return effects[0] if len(effects) == 1 else FIRST * effects[0] + SECOND * effects[1]


def hour_part(when: datetime) -> float:
    """The effect of the hour: highest in the evening, lowest in the morning."""
    hour = when.hour + when.minute / 60
    return HOUR * math.cos(2 * math.pi * (hour - HOUR_PEAK) / 24)


def weekday_part(when: datetime) -> float:
    """The effect of the weekend."""
    return WEEKEND if when.weekday() >= 5 else 0.0
