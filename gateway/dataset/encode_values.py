"""Values of the DICOM JSON Model as the bytes of an element, by VR (PS3.5 6.2, PS3.18 F.2).

Text is UTF-8, numbers are little endian. What the VR cannot hold is an error, never cut; only a
decimal string with more digits than its 16 bytes take is rounded to them.
"""

import math
import re
import struct
from collections.abc import Callable
from typing import Any, Final

from gateway.dataset.json_values import GROUPS
from gateway.model import is_uid
from gateway.value_representation import NUMBERS, ONE_VALUE

_TEXTS: Final = frozenset(("LO", "LT", "PN", "SH", "ST", "UC", "UT"))
_LONG_TEXTS: Final = frozenset(("LT", "ST", "UT"))
_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f]")
_CONTROLS_IN_LONG: Final = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f]")
_TAG: Final = re.compile(r"[0-9A-Fa-f]{8}").fullmatch
_INTEGER: Final = re.compile(r"\s*[+-]?[0-9]{1,20}\s*", re.ASCII).fullmatch
_WHOLE: Final = re.compile(r"[+-]?[0-9]{1,20}\.0+", re.ASCII).fullmatch
_LONGEST_DECIMAL: Final = 16
_SPECIAL: Final = {"inf": math.inf, "infinity": math.inf, "nan": math.nan}


def value_bytes(vr: str, values: list[Any]) -> bytes:
    """The value field without padding. ``vr`` is none of the binary ones and not SQ.

    Raises ValueError with the reason.
    """
    if values in ([], [None]):
        return b""
    if vr in NUMBERS:
        return b"".join([_packed(vr, value) for value in values])
    if vr == "AT":
        return b"".join([_tag(value) for value in values])
    if vr in ONE_VALUE and len(values) > 1:
        raise ValueError(f"{len(values)} values; a {vr} has one")
    write = _WRITERS.get(vr, _text)
    text = "\\".join(["" if value is None else _checked(vr, write(value)) for value in values])
    return text.encode()


def _checked(vr: str, text: str) -> str:
    """A text that can stand in this VR."""
    if vr not in ONE_VALUE and "\\" in text:
        raise ValueError("a value with a backslash, which separates values")
    found = (_CONTROLS_IN_LONG if vr in _LONG_TEXTS else _CONTROLS).search(text)
    if found:
        raise ValueError(f"a control character, U+{ord(found.group()):04X}")
    if vr not in _TEXTS and not text.isascii():
        raise ValueError(f"a character outside ASCII in a {vr}")
    if vr == "UI" and text and not is_uid(text):
        raise ValueError("a value that is no UID: digits and points, at most 64")
    return text


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{_shown(value)} where text is due")  # noqa: TRY004
    return value


def _shown(value: Any) -> str:
    """A value's kind, for a text that must not quote a patient's data."""
    kinds = {dict: "an object", list: "an array", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number" if isinstance(value, int | float) else "text")


def _packed(vr: str, value: Any) -> bytes:
    number: float = _real(value) if vr[0] == "F" else _integer(value)
    try:
        return struct.pack(f"<{NUMBERS[vr]}", number)
    except (struct.error, OverflowError) as error:
        raise ValueError(f"a number that no {vr} can hold") from error


def _integer(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and _INTEGER(value):
        return int(value)
    if isinstance(value, str) and _WHOLE(value):
        return int(value.partition(".")[0])
    raise ValueError(f"{_shown(value)} where an integer is due")


def _real(value: Any) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, str):
        plain = value.strip().lower()
        if (special := _SPECIAL.get(plain.lstrip("+-"))) is not None:
            return -special if plain.startswith("-") else special
        if plain.isascii() and "_" not in plain:
            return _float(plain)
    raise ValueError(f"{_shown(value)} where a number is due")


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError("text where a number is due") from None


def _tag(value: Any) -> bytes:
    if not isinstance(value, str) or not _TAG(value):
        raise ValueError("a value that is no tag: eight hexadecimal digits")
    return struct.pack("<HH", int(value[:4], 16), int(value[4:], 16))


def _integer_string(value: Any) -> str:
    """An IS: what was sent as text stays as it is."""
    return value if type(value) is str else str(_integer(value))


def _decimal_string(value: Any) -> str:
    """A DS: what was sent as text stays as it is, a number its digits as far as they fit."""
    if type(value) is str:
        return value
    number = _real(value)
    text = str(value)
    if not math.isfinite(number):
        raise ValueError("a number that no DS can hold")
    for digits in range(_LONGEST_DECIMAL, 0, -1):
        if len(text) <= _LONGEST_DECIMAL:
            break
        text = f"{number:.{digits}g}"
    return text


def _person(value: Any) -> str:
    """A person name from its component groups, or as one text (PS3.5 6.2.1)."""
    if isinstance(value, str):
        return value
    if not isinstance(value, dict) or not set(value) <= set(GROUPS):
        raise ValueError("a person name that is no object of Alphabetic, Ideographic, Phonetic")
    groups = [_text(value.get(name) or "") for name in GROUPS]
    if any("=" in group for group in groups):
        raise ValueError("a person name with '=', which separates its groups")
    return "=".join(groups).rstrip("=")


_WRITERS: Final[dict[str, Callable[[Any], str]]] = {
    "IS": _integer_string,
    "DS": _decimal_string,
    "PN": _person,
}
