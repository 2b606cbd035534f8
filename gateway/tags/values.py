"""Texts as the value of an element, by VR (PS3.5 6.2). Reasons never quote a value."""

import re
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Final

from gateway.dataset.charset import encoded
from gateway.dataset.encode_values import value_bytes
from gateway.dataset.heads import LONG_VRS, SHORT_VRS

NUMBERS: Final = frozenset(("US", "SS", "UL", "SL", "UV", "SV", "FL", "FD"))
BYTES: Final = frozenset(("OB", "OD", "OF", "OL", "OV", "OW", "UN"))
CHARSET_VRS: Final = frozenset(("LO", "LT", "PN", "SH", "ST", "UC", "UT"))
"""The VRs whose text is in Specific Character Set (6.1.2.3)."""
WRITABLE: Final = frozenset((*SHORT_VRS, *LONG_VRS)) - BYTES
"""The VRs that a value can be given; an SQ only none."""
LONGEST: Final = {"LO": 64, "LT": 10240, "SH": 16, "ST": 1024, "UC": 2**32 - 2, "UT": 2**32 - 2}
_ONE_VALUE: Final = frozenset(("LT", "ST", "UT", "UR"))
_MOST_BYTES: Final = 0xFFFE
_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f]")
_CONTROLS_IN_LONG: Final = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f]")
_TIME: Final = r"([01]\d|2[0-3])([0-5]\d(([0-5]\d|60)(\.\d{1,6})?)?)?"
_FORMS: Final = {
    "AE": (r"(?=.*[^ ])[ -\[\]-~]{1,16}", "1 to 16 characters of ASCII, not all of them spaces"),
    "AS": (r"\d{3}[DWMY]", "an age such as 042Y"),
    "CS": (r"[A-Z0-9 _]{1,16}", "at most 16 capital letters, digits, spaces and underscores"),
    "DA": (r"\d{8}", "a date, YYYYMMDD"),
    "DS": (r"(?=.{1,16}$) *[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)? *", "a number, 16 characters"),
    "DT": (rf"\d{{4}}(\d\d(\d\d({_TIME})?)?)?([+-]\d{{4}})?", "a date and time, YYYYMMDDHHMMSS"),
    "IS": (r"(?=.{1,12}$) *[+-]?\d+ *", "a whole number, 12 characters"),
    "TM": (_TIME, "a time, HHMMSS.FFFFFF"),
    "UI": (r"(?=.{1,64}$)(0|[1-9]\d*)(\.(0|[1-9]\d*))+", "a UID"),
    "UR": (r"[!-~][ -~]*", "a URI"),
}
_PATTERNS: Final = {vr: re.compile(form, re.ASCII) for vr, (form, _) in _FORMS.items()}
_DATED: Final = re.compile(r"(\d{4})(\.?)(\d\d)\2(\d\d)(.*)", re.ASCII)


def value_of(vr: str, values: Sequence[str], charsets: bytes) -> bytes:
    """The value field without padding, numbers in little endian.

    ``charsets`` is the value of Specific Character Set. Raises ValueError with the reason.
    """
    if vr in BYTES:
        raise ValueError(f"it is of VR {vr}: bytes, which no text makes")
    if not values:
        return b""
    if vr == "SQ":
        raise ValueError("it is a sequence: its items are changed attribute by attribute")
    if vr in NUMBERS or vr == "AT":
        return value_bytes(vr, list(values))
    if vr in _ONE_VALUE and len(values) > 1:
        raise ValueError(f"{len(values)} values; a {vr} has one")
    for value in values:
        check(vr, value)
    text = "\\".join(values)
    made = encoded(text, charsets if vr in CHARSET_VRS else b"", vr)
    if len(made) > _MOST_BYTES and vr not in ("UC", "UR", "UT"):
        raise ValueError(f"{len(made)} bytes; a {vr} has at most {_MOST_BYTES}")
    return made


def check(vr: str, value: str) -> None:
    """Raise ValueError where a text is no value of this VR; "" is one of every VR."""
    if not value:
        return
    if vr in _PATTERNS:
        if not _PATTERNS[vr].fullmatch(value) or not _is_day(vr, value):
            raise ValueError(f"no value of VR {vr}: {_FORMS[vr][1]}")
        if vr == "IS" and not -(2**31) <= int(value) < 2**31:
            raise ValueError("no value of VR IS: it does not fit into 32 bits")
        return
    if vr not in _ONE_VALUE and "\\" in value:
        raise ValueError("a backslash, which separates values")
    long = vr in ("LT", "ST", "UT")
    if found := (_CONTROLS_IN_LONG if long else _CONTROLS).search(value):
        raise ValueError(f"a control character, U+{ord(found.group()):04X}")
    if vr == "PN":
        _check_name(value)
    elif len(value) > LONGEST.get(vr, 0):
        raise ValueError(f"{len(value)} characters; a {vr} has at most {LONGEST.get(vr, 0)}")


def _check_name(value: str) -> None:
    """PS3.5 6.2.1: three groups of five components, each group of 64 characters."""
    groups = value.split("=")
    if len(groups) > 3 or any(group.count("^") > 4 for group in groups):
        raise ValueError("a person name of more than 3 groups or 5 components")
    if any(len(group) > 64 for group in groups):
        raise ValueError("a person name with more than 64 characters in a group")


def _is_day(vr: str, value: str) -> bool:
    """Whether the month and the day that a date names exist."""
    if vr not in ("DA", "DT") or len(value) < 6:
        return True
    year, month, day = value[:4], value[4:6], value[6:8] or "01"
    if not (month + day).isdecimal():
        return True
    try:
        date(int(year), int(month), int(day))
    except ValueError:
        return False
    return True


def shifted(value: str, days: int) -> str:
    """A DA or DT moved by whole days; the time of day stays. Raises ValueError.

    Dates in the form of ACR-NEMA, YYYY.MM.DD, keep it.
    """
    found = _DATED.fullmatch(value)
    if found is None:
        raise ValueError("a value without a whole date cannot be shifted")
    year, dot, month, day, rest = found.groups()
    try:
        moved = date(int(year), int(month), int(day)) + timedelta(days=days)
    except (ValueError, OverflowError):
        raise ValueError("a date that does not exist, or not after the shift") from None
    return f"{moved.year:04}{dot}{moved.month:02}{dot}{moved.day:02}{rest}"
