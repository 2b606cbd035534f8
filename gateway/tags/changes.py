"""The changes that a route may ask for: set, remove, copy, template, hash, replace, shift.

They are independent of how the configuration writes them. A path leads through sequences, always
through all of their items, to one attribute.
"""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Final, TypeAlias

from gateway.model import Step

_SOP_INSTANCE: Final = 0x00080018
_PATIENT_ID: Final = 0x00100020
_PARTS: Final = re.compile(r"\{\{|\}\}|\{[^{}]*\}|[{}]|[^{}]+")


TagPath: TypeAlias = tuple[Step, ...]
"""Sequences from the outside in, and the attribute: never empty."""


class Secret(bytes):
    """A key that no text form shows."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Secret()"

    __str__ = __repr__


_NO_SECRET: Final = Secret()


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One attribute to change. ``vr`` is needed where no dictionary knows it.

    ``identity`` says that the identity of the instance, its series, study or patient is changed
    on purpose.
    """

    path: TagPath
    vr: str = ""
    identity: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Set(Change):
    """These values, whatever stood there; () leaves the element there, empty."""

    values: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Remove(Change):
    """The element left out, with all that is inside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy(Change):
    """The values of another attribute; nothing changes where that is absent."""

    source: TagPath


@dataclass(frozen=True, slots=True, kw_only=True)
class Template(Change):
    """Text, and between it the values of attributes, "" for those that are absent."""

    parts: tuple[str | TagPath, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hash(Change):
    """HMAC-SHA-256 of each value: the same value and key give the same result everywhere.

    A UID becomes one under 2.25 (PS3.5 B.2), text ``length`` hexadecimal digits.
    """

    secret: Secret
    length: int = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Replace(Change):
    """A regular expression (RE2) replaced wherever it matches in a value."""

    pattern: str
    replacement: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ShiftDate(Change):
    """Dates moved by ``days``; or by 1 to ``within`` days into the past, the same for each value
    of the attribute ``by``, as drawn with a key.
    """

    days: int = 0
    within: int = 0
    secret: Secret = _NO_SECRET
    by: TagPath = (_PATIENT_ID,)


@dataclass(frozen=True, slots=True)
class TagChanges:
    """All that is asked for on the way to one destination by one route; false where nothing is.

    ``charsets`` are the terms of Specific Character Set that the destination reads, best first
    (PS3.3 C.12.1.1.2): text in another one is written in the first. () leaves text as it is.
    """

    changes: tuple[Change, ...] = ()
    charsets: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.changes or self.charsets)

    @property
    def renames(self) -> bool:
        """Whether instances go out under another SOP Instance UID."""
        return any(change.path == (_SOP_INSTANCE,) for change in self.changes)

    @property
    def digest(self) -> str:
        """What tells these changes from others, also by their secrets: 24 hexadecimal digits."""
        said = [[type(change).__name__, _plain(change)] for change in self.changes]
        return hashlib.sha256(repr((said, self.charsets)).encode()).hexdigest()[:24]


def _plain(change: Change) -> list[Any]:
    values = ((field.name, getattr(change, field.name)) for field in fields(change))
    return [
        (name, hashlib.sha256(value).hexdigest() if isinstance(value, Secret) else value)
        for name, value in values
    ]


def parse_template(text: str, path_of: Callable[[str], TagPath]) -> tuple[str | TagPath, ...]:
    """The parts of such as "{PatientID}-{Modality}"; ``{{`` and ``}}`` stand for themselves.

    ``path_of`` reads what stands in braces. Raises ValueError, as ``path_of`` does.
    """
    parts: list[str | TagPath] = []
    for found in _PARTS.findall(text):
        if found in ("{{", "}}"):
            parts.append(found[0])
        elif found in ("{", "}"):
            raise ValueError(f"a lone {found}: write {found}{found} where it is meant as such")
        elif found[0] == "{":
            parts.append(path_of(found[1:-1].strip()))
        else:
            parts.append(found)
    return tuple(parts)
