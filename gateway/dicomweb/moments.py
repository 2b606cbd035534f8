"""Dates and times as texts that sort as they follow each other in time (PS3.5 Section 6.2).

DA becomes YYYYMMDD, TM HHMMSSFFFFFF, DT YYYYMMDDHHMMSSFFFFFF; what is none becomes "". A value of
less precision stands for the span from its first to its last moment.
"""

import re
from datetime import datetime, timedelta
from typing import Final

_DATE: Final = re.compile(r"(\d{4})(?:\.(\d\d)\.|(\d\d))(\d\d)")
_TIME: Final = re.compile(r"(\d\d)(?::?(\d\d)(?::?(\d\d)(?:\.(\d{1,6}))?)?)?")
_MOMENT: Final = re.compile(r"(\d{4}|\d{6}|\d{8}|\d{10}|\d{12}|\d{14}(?:\.\d{1,6})?)([+-]\d{4})?")
_OFFSETS: Final = range(-1200, 1401)

_FIRST: Final = {"TM": "000000000000", "DT": "00000101000000000000"}
_LAST: Final = {"TM": "235960999999", "DT": "99991231235960999999"}
_WHOLE_DAY: Final = 8

Span = tuple[str, str]
"""The first and the last moment, both included; "" where a side is open."""


def first_moment(vr: str, text: str) -> str:
    """The sortable text of a value of VR DA, TM or DT; "" where it is none."""
    span = span_of(vr, text)
    return span[0] if span else ""


def span_of(vr: str, text: str) -> Span | None:
    """The span that one value stands for; None where it is no value of this VR."""
    text = text.strip(" \0")
    if vr == "DA":
        found = _DATE.fullmatch(text)
        date = "".join(part or "" for part in found.groups()) if found else ""
        return (date, date) if date else None
    if vr == "TM":
        found = _TIME.fullmatch(text)
        return _filled("TM", "".join(part or "" for part in found.groups())) if found else None
    found = _MOMENT.fullmatch(text)
    if not found or (found[2] and int(found[2]) not in _OFFSETS):
        return None
    return _in_utc(_filled("DT", found[1].replace(".", "")), found[1], found[2] or "")


def range_of(vr: str, text: str) -> Span | None:
    """The span of ``a-b``, ``a-``, ``-b`` (PS3.4 Section C.2.2.2.5) or of one value; else None.

    Spaces around the hyphen are let pass. In DT a hyphen before a possible offset from UTC is
    that offset's.
    """
    single = span_of(vr, text)
    if single is not None:
        return single
    for hyphen in (at for at, character in enumerate(text) if character == "-"):
        low, high = text[:hyphen].strip(), text[hyphen + 1 :].strip()
        first, last = (span_of(vr, side) if side else ("", "") for side in (low, high))
        if first is not None and last is not None and (low or high):
            return first[0], last[1]
    return None


def _filled(vr: str, digits: str) -> Span:
    return digits + _FIRST[vr][len(digits) :], digits + _LAST[vr][len(digits) :]


def _in_utc(span: Span, stated: str, offset: str) -> Span | None:
    """Moments with an offset as those without: in UTC. Months and years are left as they are."""
    if not offset or len(stated) < _WHOLE_DAY:
        return span
    east = timedelta(hours=int(offset[:3]), minutes=int(offset[0] + offset[3:]))
    try:
        first, last = (_shifted(side, east) for side in span)
    except (ValueError, OverflowError):
        return None
    return first, last


def _shifted(moment: str, east: timedelta) -> str:
    leap = moment[12:14] == "60"
    text = moment[:12] + "59" + moment[14:] if leap else moment
    shifted = datetime.strptime(text, "%Y%m%d%H%M%S%f") - east  # noqa: DTZ007 - made UTC here
    plain = f"{shifted:%Y%m%d%H%M%S%f}".rjust(20, "0")
    return plain[:12] + "60" + plain[14:] if leap else plain
