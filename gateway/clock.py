"""The wall clock: what decides is told the time, and only whoever starts things reads it."""

from datetime import UTC, datetime


def utc_now() -> datetime:
    """The time now, in UTC."""
    return datetime.now(UTC)
