"""When deliveries may be made: the next time at which one of several windows opens."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, time, timedelta, tzinfo

from gateway.config.windows import Window, find_zone, within

LONGEST_CLOSED = 8
"""Days until a window on one day of the week opens again, and the hour that a clock may gain."""


def opens_at(windows: Sequence[Window], now: datetime, zone: tzinfo | None) -> datetime:
    """``now`` inside a window, or where there is none; else when the next one opens.

    ``zone`` None is the machine's time zone. An hour that the clocks leave out in spring begins
    when they have moved on.
    """
    if not windows or within(windows, now, zone):
        return now
    return min(start for start in _starts(windows, now, zone) if start > now)


def _starts(windows: Iterable[Window], now: datetime, zone: tzinfo | None) -> Iterator[datetime]:
    for window in windows:
        place = find_zone(window.zone) if window.zone else zone
        today = now.astimezone(place).date()
        hour, minute = divmod(window.start, 60)
        for days in range(LONGEST_CLOSED + 1):
            day = today + timedelta(days=days)
            if day.weekday() in window.days:
                start = datetime.combine(day, time(hour, minute), place)
                yield start.astimezone(UTC)
