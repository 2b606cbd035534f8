"""Times, and dates with times, as texts that sort as they follow each other (PS3.5 §6.2).

TM becomes HHMMSSFFFFFF, DT YYYYMMDDHHMMSSFFFFFF. What has less precision stands for the span from
its first to its last moment. An offset from UTC is left out: the clock of the place counts.
"""

import re
from datetime import datetime
from typing import Final

_TIME: Final = re.compile(r"([0-9]{2})(?::?([0-9]{2})(?::?([0-9]{2})(?:\.([0-9]{1,6}))?)?)?")
_MOMENT: Final = re.compile(
    r"([0-9]{4}(?:[0-9]{2}){0,4}|[0-9]{14}(?:\.[0-9]{1,6})?)(?:[+-][0-9]{4})?"
)
_FIRST_TIME: Final = "000000000000"
_LAST_TIME: Final = "235960999999"
_FIRST_DAY: Final = "00000101"
_LAST_DAY: Final = "99991231"

Span = tuple[str, str]
"""The first and the last moment, both included."""


def span_of_time(text: str) -> Span | None:
    """The span that a time stands for, None where it is none."""
    found = _TIME.fullmatch(text)
    digits = "".join(part or "" for part in found.groups()) if found else ""
    return _filled(digits, _FIRST_TIME, _LAST_TIME) if digits else None


def span_of_moment(text: str) -> Span | None:
    """The span that a date and time, or its first part, stands for; None where it is none."""
    found = _MOMENT.fullmatch(text)
    if not found:
        return None
    return _filled(found[1].replace(".", ""), _FIRST_DAY + _FIRST_TIME, _LAST_DAY + _LAST_TIME)


def _filled(digits: str, first: str, last: str) -> Span:
    return digits + first[len(digits) :], digits + last[len(digits) :]


def is_moment(text: str) -> bool:
    """A date and time that the calendar and the clock have, without an offset from UTC."""
    span = span_of_moment(text)
    if span is None or not set(text).isdisjoint("+-"):
        return False
    try:
        datetime.strptime(span[0], "%Y%m%d%H%M%S%f").astimezone()
    except (ValueError, OverflowError):
        return False
    return True
