"""``during``: hours of the day and days of the week, such as ``mon-fri 18:00-06:00``.

A window that passes midnight belongs to the day that it begins on. Without a time zone of its
own it is in the gateway's.
"""

import re
from collections.abc import Iterable, Iterator
from datetime import datetime, tzinfo
from functools import cache
from itertools import groupby
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo, available_timezones

from gateway.config.problems import did_you_mean, shown

_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_CLOCK: Final = re.compile(r"([0-9]{1,2}):([0-9]{2})-([0-9]{1,2}):([0-9]{2})")
_NEARLY: Final = re.compile(r"([0-9]{1,2})(?::([0-9]{2}))?-([0-9]{1,2})(?::([0-9]{2}))?")
_END_IS_MISSING: Final = re.compile(r"[0-9]{1,2}(?::[0-9]{2})?-?")
_ZONE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+)*")
_FORMS: Final = "allowed: [DAYS] FROM-TO [ZONE], such as 18:00-06:00 or mon-fri 08:00-17:30"
_DAY: Final = 24 * 60
LOCAL: Final = "local"


class Window(NamedTuple):
    """Minutes from ``start`` to ``end`` (not included) on ``days`` (0 is Monday); ``zone`` ""
    is the gateway's."""

    days: tuple[int, ...]
    start: int
    end: int
    zone: str = ""

    def holds(self, now: datetime, zone: tzinfo | None) -> bool:
        """``now``, which knows its time zone, lies in the window."""
        return self.open_at(now.astimezone(find_zone(self.zone) if self.zone else zone))

    def open_at(self, local: datetime) -> bool:
        """As ``holds``, of the time in the window's own zone."""
        minute, day = local.hour * 60 + local.minute, local.weekday()
        if self.start < self.end:
            return day in self.days and self.start <= minute < self.end
        begun_today = day in self.days and minute >= self.start
        return begun_today or ((day - 1) % 7 in self.days and minute < self.end)

    def __str__(self) -> str:
        days = "" if len(self.days) == 7 else ",".join(_runs(self.days))
        if days and (self.start, self.end, self.zone) == (0, _DAY, ""):
            return days
        hours = f"{_clock(self.start)}-{_clock(self.end)}"
        return " ".join(filter(None, [days, hours, self.zone]))


def _runs(days: tuple[int, ...]) -> Iterator[str]:
    """Days of the week, three or more in a row as the first and the last of them."""
    for _, group in groupby(enumerate(days), key=lambda each: each[1] - each[0]):
        names = [_DAYS[day] for _, day in group]
        yield from [f"{names[0]}-{names[-1]}"] if len(names) > 2 else names


def within(windows: Iterable[Window], now: datetime, zone: tzinfo | None) -> bool:
    """``now`` lies in one of the windows; ``zone`` None is the machine's time zone."""
    return any(window.holds(now, zone) for window in windows)


def _clock(minute: int) -> str:
    return f"{minute // 60:02d}:{minute % 60:02d}"


def parse_window(value: object) -> Window:
    """One window; raises ValueError."""
    if isinstance(value, Window):
        return value
    words = value.split() if isinstance(value, str) else []
    days: tuple[int, ...] = tuple(range(7))
    hours: tuple[int, int] | None = None
    zone = ""
    for position, word in enumerate(words):
        if found := _CLOCK.fullmatch(word):
            hours = hours or _hours(found, word)
        elif word[0].isdigit():
            raise ValueError(_not_hours(word))
        elif position == 0:
            days = _days(word)
        elif hours and position == len(words) - 1:
            zone = parse_zone(word)
        else:
            raise ValueError(f"{shown(value)} is not a time window; {_FORMS}")
    if not words or len(words) > 3 or (hours is None and len(words) > 1):
        raise ValueError(f"{shown(value)} is not a time window; {_FORMS}")
    start, end = hours or (0, _DAY)
    return Window(days, start, end, zone)


def _hours(found: re.Match[str], word: str) -> tuple[int, int]:
    from_hour, from_minute, to_hour, to_minute = map(int, found.groups())
    start, end = from_hour * 60 + from_minute, to_hour * 60 + to_minute
    if max(from_minute, to_minute) > 59 or start >= _DAY or end > _DAY:
        raise ValueError(f"{shown(word)} holds no time of the day; allowed: 00:00 to 24:00")
    if start == end:
        raise ValueError(f"{shown(word)} is no time at all; leave it out for the whole day")
    return start, end


def _not_hours(word: str) -> str:
    """What is wrong with a word that begins as hours do."""
    if _END_IS_MISSING.fullmatch(word):
        return f"{shown(word)} has no end; write FROM-TO in one word, such as 20:00-06:00"
    meant = ""
    if found := _NEARLY.fullmatch(word):
        first, minute, last, end = found.groups("00")
        if int(first) < 24 and int(last) <= 24:
            meant = f"; did you mean {int(first):02d}:{minute}-{int(last):02d}:{end}?"
    return f"{shown(word)} is not a time window; {_FORMS}{meant}"


def _days(word: str) -> tuple[int, ...]:
    days: set[int] = set()
    for part in word.lower().split(","):
        first, dash, last = part.partition("-")
        begin, stop = _weekday(first, word), _weekday(last if dash else first, word)
        days.update((begin + step) % 7 for step in range((stop - begin) % 7 + 1))
    return tuple(sorted(days))


def _weekday(text: str, word: str) -> int:
    if text[:3] in _DAYS and (len(text) == 3 or _full(text)):
        return _DAYS.index(text[:3])
    raise ValueError(
        f"{shown(word)} names no days of the week; {_FORMS}{did_you_mean(text, _DAYS)}"
    )


def _full(text: str) -> bool:
    names = "monday tuesday wednesday thursday friday saturday sunday"
    return text in names.split()


def parse_zone(value: object) -> str:
    """The name of a time zone, such as Europe/Berlin; raises ValueError."""
    if isinstance(value, str) and _ZONE.fullmatch(value.strip()):
        try:
            find_zone(value.strip())
        except (KeyError, ValueError, OSError):
            pass
        else:
            return value.strip()
    near = did_you_mean(value, available_timezones())
    raise ValueError(
        f"{shown(value)} is not a time zone; allowed: such as Europe/Berlin or UTC{near}"
    )


@cache
def find_zone(name: str) -> ZoneInfo:
    """The time zone of that name; raises KeyError where the machine does not know it."""
    return ZoneInfo(name)
