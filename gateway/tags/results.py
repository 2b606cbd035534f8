"""What one change makes of one element: its new values, as text."""

import hmac
from collections.abc import Callable
from typing import Final

from gateway.config.patterns import replaced
from gateway.tags.changes import (
    Change,
    Copy,
    Hash,
    Replace,
    Secret,
    Set,
    ShiftDate,
    TagPath,
    Template,
)
from gateway.tags.values import shifted
from gateway.value_representation import ONE_VALUE, check

Finder = Callable[[TagPath], list[str] | None]
"""The values at a path of the data set as it came, None where it has none."""

_UUID_8: Final = 8 << 76 | 0b10 << 62
_FREE: Final = (1 << 128) - 1 ^ (0xF << 76 | 0b11 << 62)


def result(change: Change, vr: str, values: list[str], find: Finder) -> list[str] | None:
    """The new values; None where the element stays as it is, or absent.

    ``values`` are those it has. Raises ValueError, which quotes no value.
    """
    match change:
        case Set():
            return list(change.values)
        case Copy():
            return _as_many(find(change.source), vr)
        case Template():
            texts = [part if isinstance(part, str) else _text(find(part)) for part in change.parts]
            return ["".join(texts)]
        case Hash():
            return _each(values, lambda value: hashed(change, vr, value))
        case Replace():
            return _each(values, lambda value: replaced(change.pattern, change.replacement, value))
        case ShiftDate():
            days = _days(change, find) if any(values) else 0
            return _each(values, lambda value: shifted(value, days))
        case _:
            raise TypeError(f"no such change: {type(change).__name__}")


def _each(values: list[str], make: Callable[[str], str]) -> list[str] | None:
    """Every value made anew; what is empty or absent stays so."""
    if not any(values):
        return None
    return [make(value) if value else "" for value in values]


def _as_many(values: list[str] | None, vr: str) -> list[str] | None:
    """Values of another attribute, as one where a backslash separates none."""
    return ["\\".join(values)] if values and vr in ONE_VALUE else values


def _text(values: list[str] | None) -> str:
    return "\\".join(values or ())


def hashed(change: Hash, vr: str, value: str) -> str:
    """HMAC-SHA-256 of a value: hexadecimal digits, or a UID that holds a UUID of version 8.

    PS3.5 B.2, RFC 9562 5.8.
    """
    digest = _drawn(change.secret, value)
    if vr != "UI":
        return digest.hex().upper()[: change.length]
    check("UI", value)
    return f"2.25.{int.from_bytes(digest[:16]) & _FREE | _UUID_8}"


def _days(change: ShiftDate, find: Finder) -> int:
    if change.days:
        return change.days
    known = _text(find(change.by))
    if not known:
        raise ValueError("the attribute by which dates are shifted is empty")
    return -(1 + int.from_bytes(_drawn(change.secret, known)[:8]) % change.within)


def _drawn(secret: Secret, value: str) -> bytes:
    return hmac.digest(bytes(secret), value.encode(), "sha256")
