"""Days and ranges of days as rules write them: ``20261122``, ``today``, ``today-7d``.

The day that is today is told by the caller.
"""

import re
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Final, NamedTuple

from gateway.config.problems import Complaint, WrongValue, allowed, did_you_mean, shown, unexpected

_RELATIVE: Final = re.compile(r"today(?: ?([+-]) ?([0-9]{1,5}) ?([dw]?))?")
_ABSOLUTE: Final = re.compile(r"([0-9]{4})\.?([0-9]{2})\.?([0-9]{2})")
_DAYS: Final = {"d": 1, "": 1, "w": 7}
FORMS: Final = "YYYYMMDD, today, today-7d or today+1d"


class Day(NamedTuple):
    """A day of the calendar (YYYYMMDD in ``text``), or one so many days from today."""

    text: str
    offset: int = 0

    def on(self, today: date) -> str:
        """The day as YYYYMMDD."""
        return self.text or _counted(today, self.offset)

    def __str__(self) -> str:
        return self.text or (f"today{self.offset:+d}d" if self.offset else "today")


@lru_cache(maxsize=1024)
def _counted(today: date, days: int) -> str:
    try:
        return (today + timedelta(days=days)).strftime("%Y%m%d")
    except OverflowError:
        return "00000000" if days < 0 else "99999999"


class Days(NamedTuple):
    """From one day to another, both included; None is an open end."""

    first: Day | None
    last: Day | None

    def as_written(self) -> str | dict[str, str]:
        """The range as the file has it: one day, or its ends."""
        if self.first is not None and self.first == self.last:
            return str(self.first)
        ends = {"min": self.first, "max": self.last}
        return {name: str(day) for name, day in ends.items() if day is not None}


def parse_day(value: object) -> Day:
    """One day; raises ValueError."""
    if not isinstance(value, str):
        raise unexpected("a day", value, f"; allowed: {FORMS}")
    text = value.strip()
    if found := _RELATIVE.fullmatch(text):
        sign, number, unit = found.groups()
        days = int(number or 0) * _DAYS[unit or ""]
        return Day("", -days if sign == "-" else days)
    if found := _ABSOLUTE.fullmatch(text):
        year, month, day = found.groups()
        if _is_date(year + month + day):
            return Day(year + month + day)
        raise ValueError(f"{shown(text)} is no day of the calendar; allowed: {FORMS}")
    raise ValueError(f"{shown(text)} is not a DICOM date; allowed: {FORMS}{_meant(text)}")


def _is_date(text: str) -> bool:
    try:
        datetime.strptime(text, "%Y%m%d").astimezone()
    except (ValueError, OverflowError):
        return False
    return True


def _meant(text: str) -> str:
    digits = re.fullmatch(r"([0-9]{4})[-/]([0-9]{2})[-/]([0-9]{2})", text)
    if digits:
        return f"; did you mean {''.join(digits.groups())}?"
    return did_you_mean(text, ["today"])


def parse_days(value: object) -> Days:
    """One day, or a range ``{ min: DAY, max: DAY }``; raises ValueError."""
    if isinstance(value, Days):
        return value
    if not isinstance(value, dict):
        day = parse_day(value)
        return Days(day, day)
    complaints: list[Complaint] = []
    ends: dict[str, Day] = {}
    for key, end in value.items():
        try:
            if key not in ("min", "max"):
                text = f"unknown key {shown(key)}{allowed(('min', 'max'), key)}"
                complaints.append(Complaint((key,), text, at_key=True))
            else:
                ends[key] = parse_day(end)
        except ValueError as error:
            complaints.append(Complaint((key,), str(error)))
    if complaints:
        raise WrongValue(complaints)
    if not ends:
        raise ValueError("a range lacks its ends; allowed: min, max, or both")
    return _in_order(Days(ends.get("min"), ends.get("max")))


def _in_order(days: Days) -> Days:
    first, last = days
    if first is None or last is None or bool(first.text) != bool(last.text):
        return days
    if (first.text, first.offset) > (last.text, last.offset):
        raise ValueError(f"the range begins ({first}) after its end ({last})")
    return days
