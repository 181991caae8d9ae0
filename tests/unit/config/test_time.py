"""A date and time without a time zone is in UTC."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from m3l.config.time import as_utc

NOON = datetime(2021, 5, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "moment",
    [datetime(2021, 5, 1, 12), NOON, datetime(2021, 5, 1, 7, tzinfo=timezone(timedelta(hours=-5)))],
    ids=["without a time zone", "in UTC", "in New York"],
)
def test_a_moment_is_in_utc_afterwards(moment: datetime) -> None:
    assert as_utc(moment) == NOON
    assert as_utc(moment).utcoffset() == timedelta(0)


def test_a_moment_outside_of_the_calendar_is_an_error() -> None:
    with pytest.raises(OverflowError):
        as_utc(datetime.min.replace(tzinfo=timezone(timedelta(hours=14))))
