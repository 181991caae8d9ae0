"""What likes are made of: the corpus's own formula, a sum of effects on log(1 + likes)."""

import math
from dataclasses import dataclass, fields
from datetime import datetime

BASE = 4.0
ACCOUNT_SD = 0.9
SUBJECT_SD = 0.35
SCENE_RANGE = 0.9  # scenes are spread evenly over [-0.9, 0.9]: the part that only the media can tell
FIRST, SECOND = 0.7, 0.3  # the weights of two subjects, by the order in which they are shown
HOOK = 0.5
HOUR, HOUR_PEAK = 0.35, 19
WEEKEND = 0.15


@dataclass(frozen=True)
class Parts:
    """The addends of one post's log(1 + likes) above `BASE`."""

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
        """What the best possible model would say: everything but the noise."""
        return BASE + sum(getattr(self, part.name) for part in fields(self) if part.name != "noise")

    @property
    def likes(self) -> int:
        return max(0, round(math.expm1(self.expected_log1p + self.noise)))


def subject_part(effects: list[float]) -> float:
    """The effect of one or two subjects in the order shown."""
    return effects[0] if len(effects) == 1 else FIRST * effects[0] + SECOND * effects[1]


def hour_part(when: datetime) -> float:
    """Best in the evening, worst in the morning."""
    hour = when.hour + when.minute / 60
    return HOUR * math.cos(2 * math.pi * (hour - HOUR_PEAK) / 24)


def weekday_part(when: datetime) -> float:
    return WEEKEND if when.weekday() >= 5 else 0.0
