"""Which posts train, and which are held out: the same in every run and in every order of the rows."""

from datetime import datetime

from m3l.config import IngestConfig
from m3l.config.data import utc
from m3l.data.id_hash import hash_of
from m3l.data.records import Split

VALIDATING = 1 / 3  # of the accounts that are held out: how sure answers for new accounts are shows on accounts alone


def draw_split(post_id: str, username: str, posted_at: datetime | None, config: IngestConfig, seed: int) -> Split:
    """The split of a post whose table names none, from its account, its moment and its id, in this order."""
    if (lot := _lot(f"{seed}:account:{username}")) < config.unseen_accounts:
        return "validation" if lot < config.unseen_accounts * VALIDATING else "test_accounts"
    if config.time_cut and posted_at and posted_at >= utc(config.time_cut):
        return "test_time"
    if config.validation_from and posted_at and posted_at >= utc(config.validation_from):
        return "validation"
    share = _lot(f"{seed}:{post_id}")
    if share < config.test_share:
        return "test_random"
    return "validation" if share < config.test_share + config.validation_share else "train"


def _lot(text: str) -> float:
    """A number in [0, 1) of the text alone."""
    return hash_of(text) % 2**64 / 2**64
