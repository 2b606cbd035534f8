"""Texts as the value of an element, by VR (PS3.5 6.2). Reasons never quote a value."""

import re
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Final

from gateway.dataset.charset import encoded
from gateway.dataset.encode_values import value_bytes
from gateway.dataset.heads import LONG_VRS, SHORT_VRS
from gateway.value_representation import BINARY, CHARSET_VRS, NUMBERS, ONE_VALUE, check

WRITABLE: Final = frozenset((*SHORT_VRS, *LONG_VRS)) - BINARY
"""The VRs that a value can be given; an SQ only none."""
_MOST_BYTES: Final = 0xFFFE
_DATED: Final = re.compile(r"(\d{4})(\.?)(\d\d)\2(\d\d)(.*)", re.ASCII)


def value_of(vr: str, values: Sequence[str], charsets: bytes) -> bytes:
    """The value field without padding, numbers in little endian.

    ``charsets`` is the value of Specific Character Set. Raises ValueError with the reason.
    """
    if vr in BINARY:
        raise ValueError(f"it is of VR {vr}: bytes, which no text makes")
    if not values:
        return b""
    if vr == "SQ":
        raise ValueError("it is a sequence: its items are changed attribute by attribute")
    if vr in NUMBERS or vr == "AT":
        return value_bytes(vr, list(values))
    if vr in ONE_VALUE and len(values) > 1:
        raise ValueError(f"{len(values)} values; a {vr} has one")
    for value in values:
        check(vr, value)
    text = "\\".join(values)
    made = encoded(text, charsets if vr in CHARSET_VRS else b"", vr)
    if len(made) > _MOST_BYTES and vr not in ("UC", "UR", "UT"):
        raise ValueError(f"{len(made)} bytes; a {vr} has at most {_MOST_BYTES}")
    return made


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
