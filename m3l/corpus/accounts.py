"""Accounts that post: name, size, voice and favourite subjects."""

from dataclasses import dataclass

import numpy as np

from m3l.corpus.captions import VOICES, Voice
from m3l.corpus.likes import ACCOUNT_SD

_FAVOURITES = 3
_FIRST = (
    "Maple Harbor Cedar Summit River Copper Velvet Willow Silver Meadow Canyon Ember Juniper Coral Granite "
    "Hazel Indigo Lunar Marble Nova Opal Pepper Quartz Raven Saffron Tundra Urban Vista Walnut Zephyr Amber "
    "Birch Clover Dune Echo Falcon Glacier Honey Ivory Jasper"
)
_SECOND = "Foods Motors Studio Travel Sports Books Market Radio Games Garden Labs Bank"
# For more accounts than there are pairs of words.
_THIRD = ("", "North", "South", "East", "West", "One", "Direct", "World", "Group", "Online")


@dataclass(frozen=True)
class Account:
    """A brand's account; `effect` is what it adds to log(1 + likes)."""

    username: str
    company: str
    effect: float
    voice: Voice
    favourites: tuple[str, ...]


def draw_accounts(rng: np.random.Generator, count: int, subjects: tuple[str, ...]) -> tuple[Account, ...]:
    """Draw accounts with different names.

    Args:
        rng: Draws everything.
        count: Number of accounts.
        subjects: Subjects to choose favourites from.

    Raises:
        ValueError: There are fewer names than accounts.
    """
    first, second = (rng.permutation(words.split()).tolist() for words in (_FIRST, _SECOND))
    pairs = len(first) * len(second)
    if count > pairs * len(_THIRD):
        raise ValueError(f"corpus.accounts: at most {pairs * len(_THIRD)} with the unseen ones, got {count}")
    accounts = []
    for number in range(count):
        # The second word shifts by 5 per round, coprime to their number (12): no pair repeats.
        pair = first[number % len(first)], second[(number + number // len(first)) % len(second)]
        words = [word for word in (*pair, _THIRD[number // pairs]) if word]
        favourites = rng.choice(subjects, min(_FAVOURITES, len(subjects)), replace=False).tolist()
        voice = list(VOICES)[int(rng.integers(len(VOICES)))]
        effect = float(rng.normal(0, ACCOUNT_SD))
        accounts.append(Account("".join(words), " ".join(words).lower(), effect, voice, tuple(favourites)))
    return tuple(accounts)
