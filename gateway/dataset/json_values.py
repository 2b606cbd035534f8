"""The value of an element as JSON text, by its VR (PS3.18 F.2.3 to F.2.5).

A decimal string that is a number stays the digits it was; what JSON has no number for (NaN, an
infinity, an IS or DS that is none, 64-bit integers beyond 2**53) is a string, as F.2.3 allows.
"""

import re
from collections.abc import Callable, Iterable
from json.encoder import encode_basestring
from math import isfinite
from struct import Struct
from typing import Final

from gateway.dataset.text import decoded
from gateway.value_representation import NUMBERS, ONE_VALUE

quoted: Final[Callable[[str], str]] = encode_basestring
"""A JSON string, in quotes."""

_STRUCTS: Final = {
    (vr, little): Struct(("<" if little else ">") + code)
    for vr, code in NUMBERS.items()
    for little in (True, False)
}
_TAGS: Final = {True: Struct("<HH"), False: Struct(">HH")}
_LEADING_KEPT: Final = frozenset(("LT", "ST", "UT", "LO", "SH", "UC", "PN"))
GROUPS: Final = ("Alphabetic", "Ideographic", "Phonetic")
"""The component groups of a person name (PS3.5 6.2.1)."""
_NUMBER: Final = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?").fullmatch
_DECIMAL: Final = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?").fullmatch
_INTEGER: Final = re.compile(r"[+-]?[0-9]+").fullmatch
_EXACT: Final = 2**53
_LONGEST_NUMBER: Final = 64


def value_text(vr: str, value: bytes, little: bool = True, charsets: bytes = b"") -> str:
    """What stands between the brackets of "Value"; "" for a value that is empty.

    ``vr`` is none of ``BINARY`` and not SQ. ``charsets`` is the value of (0008,0005). Text that
    is damaged is read as Latin-1; numbers end with the last whole one. Never an error.
    """
    if vr in NUMBERS:
        return _numbers(vr, value, little)
    if vr == "AT":
        pairs = _TAGS[little].iter_unpack(value[: len(value) & ~3])
        return ",".join(f'"{group:04X}{number:04X}"' for group, number in pairs)
    text = decoded(value, charsets).rstrip(" \0")
    if not text:
        return ""
    if vr in ONE_VALUE:
        return quoted(text)
    write = _WRITERS.get(vr, quoted)
    if vr in _LEADING_KEPT:
        return _joined((part.rstrip(" \0") for part in text.split("\\")), write)
    return _joined((part.strip(" \0") for part in text.split("\\")), write)


def _joined(parts: Iterable[str], write: Callable[[str], str]) -> str:
    return ",".join([write(part) if part else "null" for part in parts])


def _numbers(vr: str, value: bytes, little: bool) -> str:
    struct = _STRUCTS[vr, little]
    whole = len(value) // struct.size * struct.size
    numbers = [number for (number,) in struct.iter_unpack(value[:whole])]
    write = _float if vr[0] == "F" else _long if vr[1] == "V" else str
    return ",".join([write(number) for number in numbers])


def _float(number: float) -> str:
    if isfinite(number):
        return repr(number)
    return '"NaN"' if number != number else '"Infinity"' if number > 0 else '"-Infinity"'


def _long(number: int) -> str:
    return str(number) if -_EXACT <= number <= _EXACT else f'"{number}"'


def _decimal(text: str) -> str:
    """A DS: its own digits where JSON reads them."""
    if len(text) > _LONGEST_NUMBER or not _DECIMAL(text):
        return quoted(text)
    number = float(text)
    if not isfinite(number):
        return quoted(text)
    return text if _NUMBER(text) else repr(number)


def _integer(text: str) -> str:
    if len(text) > _LONGEST_NUMBER or not _INTEGER(text):
        return quoted(text)
    return _long(int(text))


def _person(text: str) -> str:
    """A person name by its component groups (PS3.5 6.2.1)."""
    groups = [group.rstrip(" \0") for group in text.split("=", 2)]
    named = zip(GROUPS, groups, strict=False)
    return "{" + ",".join(f'"{name}":{quoted(group)}' for name, group in named if group) + "}"


_WRITERS: Final[dict[str, Callable[[str], str]]] = {
    "DS": _decimal,
    "IS": _integer,
    "PN": _person,
}
