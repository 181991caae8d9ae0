"""Splits of posts for training and evaluation: the same in every run and in every order of the rows."""

from datetime import datetime

from m3l.config import IngestConfig
from m3l.config.time import as_utc
from m3l.data.id_hash import hash_text
from m3l.data.records import Split

# Share of the held-out accounts: intervals for new accounts are calibrated on posts of accounts that did not train.
VALIDATION_SHARE_OF_ACCOUNTS = 1 / 3


def draw_split(post_id: str, username: str, posted_at: datetime | None, config: IngestConfig, seed: int) -> Split:
    """The split of a post, decided by its account, then by its date, then by its id.

    Args:
        post_id: Id of the post.
        username: Its account; all posts of an account that is drawn by `unseen_accounts` are held out.
        posted_at: Its date in UTC; None is on neither side of the cuts.
        config: Shares and dates of the splits.
        seed: Seeds the draws.
    """
    if (draw := _uniform(f"{seed}:account:{username}")) < config.unseen_accounts:
        return "validation" if draw < config.unseen_accounts * VALIDATION_SHARE_OF_ACCOUNTS else "test_accounts"
    if config.time_cut and posted_at and posted_at >= as_utc(config.time_cut):
        return "test_time"
    if config.validation_from and posted_at and posted_at >= as_utc(config.validation_from):
        return "validation"
    share = _uniform(f"{seed}:{post_id}")
    if share < config.test_share:
        return "test_random"
    return "validation" if share < config.test_share + config.validation_share else "train"


def _uniform(text: str) -> float:
    """A pseudo-random number in [0, 1) that depends only on the text."""
    return hash_text(text) % 2**64 / 2**64
