"""Splits of posts: drawn from ids, cut by dates, and held out by accounts."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from m3l.config import IngestConfig
from m3l.data.records import Split
from m3l.tables.splits import draw_split

START = datetime(2022, 1, 1, tzinfo=UTC)
ACCOUNTS, POSTS = 300, 4000


def splits(seed: int = 1, **settings: object) -> list[Split]:
    """The splits of posts that are an hour apart; accounts take turns."""
    config = IngestConfig.model_validate(settings)
    return [
        draw_split(str(n), f"account {n % ACCOUNTS}", START + timedelta(hours=n), config, seed) for n in range(POSTS)
    ]


def test_shares_depend_on_the_seed_and_the_ids() -> None:
    drawn = Counter(splits())
    assert drawn["test_random"] == pytest.approx(400, abs=60)
    assert drawn["validation"] == pytest.approx(200, abs=45)
    assert drawn["train"] == POSTS - drawn["test_random"] - drawn["validation"]
    assert splits() == splits() != splits(seed=2)


def test_dates_separate_training_validation_and_test() -> None:
    cuts = {"validation_from": START + timedelta(hours=2000), "time_cut": START + timedelta(hours=3000)}
    drawn = splits(**cuts, test_share=0, validation_share=0)
    assert drawn == ["train"] * 2000 + ["validation"] * 1000 + ["test_time"] * 1000
    naive = {name: cut.replace(tzinfo=None) for name, cut in cuts.items()}  # in UTC
    assert splits(**naive, test_share=0, validation_share=0) == drawn
    assert "validation" in splits(**cuts)[:2000]


def test_all_posts_of_an_account_are_held_out() -> None:
    drawn = splits(unseen_accounts=0.3, time_cut=START + timedelta(hours=3000))
    held_out = {"validation": 0, "test_accounts": 0}
    for account in range(ACCOUNTS):
        of_account = set(drawn[account::ACCOUNTS])
        assert "test_accounts" not in of_account or of_account == {"test_accounts"}
        if len(of_account) == 1:
            held_out[of_account.pop()] += 1
    assert held_out["test_accounts"] == pytest.approx(60, abs=20)
    assert held_out["validation"] == pytest.approx(30, abs=15)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"validation_from": START}, "it needs a later time_cut"),
        ({"validation_from": START, "time_cut": START}, "it needs a later time_cut"),
        ({"validation_from": START, "time_cut": datetime(2022, 2, 1), "lacks": ("date",)}, "posts without a date"),
    ],
)
def test_dates_that_separate_nothing_are_an_error(settings: dict[str, object], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        IngestConfig.model_validate(settings)
