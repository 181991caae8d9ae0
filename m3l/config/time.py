"""Moments in UTC: the one place that says what a date and time without a time zone means."""

from datetime import UTC, datetime


def as_utc(moment: datetime) -> datetime:
    """The moment in UTC; one without a time zone is taken to be in UTC already.

    Raises:
        OverflowError: The moment in UTC lies outside of the years 1 to 9999.
    """
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
