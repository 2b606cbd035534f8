"""The changes of ``tags``, compiled: header to the new values of the attributes that change.

Pure: the secret is given, and what comes out are texts, encoded only where they are written.
"""

import hmac
from base64 import b32encode
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final, NamedTuple, TypeAlias

from gateway.config.dicom_names import find_attribute
from gateway.config.patterns import replaced
from gateway.config.tag_values import filled, placeholders
from gateway.config.tags import Shift, Tags

Header: TypeAlias = Mapping[str, str]
Change: TypeAlias = Callable[[Header, bytes], str | None]
"""Header and secret to an attribute's new text; None leaves it as it is."""

_PATIENT: Final = "PatientID"
_DIGEST: Final = 16


class NewText(NamedTuple):
    """What an attribute shall be, values separated by a backslash."""

    vr: str
    text: str


@dataclass(frozen=True, slots=True)
class Tagging:
    """The changes of one route. ``reads`` maps the tags whose values they need to keywords."""

    changes: tuple[tuple[int, str, Change], ...]
    removed: tuple[int, ...]
    reads: Mapping[int, str]
    needs_key: bool

    def of(self, header: Header, key: bytes) -> dict[int, NewText | None]:
        """Tag -> what shall stand there, None where nothing shall, for one instance.

        ``header`` has what ``reads`` asks for; ``key`` is the route's secret, b"" without one.
        Raises ValueError where a secret is needed and empty.
        """
        if self.needs_key and not key:
            raise ValueError("tags: the key for hash and shift_dates is empty")
        found: dict[int, NewText | None] = dict.fromkeys(self.removed)
        for tag, vr, change in self.changes:
            text = change(header, key)
            if text is not None:
                found[tag] = NewText(vr, text)
        return found


def compile_tags(tags: Tags) -> Tagging:
    """The changes that a route's ``tags`` ask for."""
    changes = tuple(
        (find_attribute(keyword).tag, find_attribute(keyword).vr, change)
        for keyword, change in _changes(tags)
    )
    reads = {find_attribute(keyword).tag: keyword for keyword in _read(tags)}
    removed = tuple(find_attribute(keyword).tag for keyword in tags.remove)
    return Tagging(changes, removed, dict(sorted(reads.items())), tags.needs_key)


def _read(tags: Tags) -> Iterator[str]:
    """The keywords whose values the changes need."""
    yield from tags.copy_.values()
    for template in tags.template.values():
        yield from (find_attribute(each).keyword for each in placeholders(template))
    yield from tags.hash_
    yield from tags.replace
    if tags.shift_dates is not None:
        yield from tags.shift_dates.attributes
        yield from [_PATIENT] if tags.shift_dates.up_to else ()


def _changes(tags: Tags) -> Iterator[tuple[str, Change]]:
    for keyword, text in tags.set_.items():
        yield keyword, _fixed(text)
    for keyword, source in tags.copy_.items():
        yield keyword, _copied(source)
    for keyword, template in tags.template.items():
        yield keyword, _from_template(template)
    for keyword in tags.hash_:
        yield keyword, _hashed(keyword)
    for keyword, (find, by) in tags.replace.items():
        yield keyword, _replaced(keyword, find, by)
    if tags.shift_dates is not None:
        for keyword in tags.shift_dates.attributes:
            yield keyword, _shifted(keyword, tags.shift_dates)


def _fixed(text: str) -> Change:
    return lambda _header, _key: text


def _copied(source: str) -> Change:
    return lambda header, _key: header.get(source)


def _from_template(template: str) -> Change:
    def change(header: Header, _: bytes) -> str:
        text = filled(template, lambda key: header.get(find_attribute(key).keyword, ""))
        return " ".join(text.replace("\\", " ").split())

    return change


def _hashed(keyword: str) -> Change:
    uid = find_attribute(keyword).vr == "UI"

    def change(header: Header, key: bytes) -> str | None:
        text = header.get(keyword, "")
        if not text:
            return None
        return "\\".join(digest(each, key, uid=uid) for each in text.split("\\"))

    return change


def digest(text: str, key: bytes, *, uid: bool) -> str:
    """A value's keyed digest: the same for the same value, and of no use without the key.

    A UID derived from a UUID's worth of it (PS3.5 B.2), otherwise 16 letters and digits.
    """
    found = hmac.digest(key, text.encode(), sha256)
    if uid:
        return f"2.25.{int.from_bytes(found[:16])}"
    return b32encode(found).decode()[:_DIGEST]


def _replaced(keyword: str, find: str, by: str) -> Change:
    def change(header: Header, _: bytes) -> str | None:
        text = header.get(keyword, "")
        new = replaced(find, by, text)
        return None if new == text else new

    return change


def _shifted(keyword: str, shift: Shift) -> Change:
    def change(header: Header, key: bytes) -> str | None:
        text = header.get(keyword, "")
        if not text:
            return None
        days = _days(shift, header.get(_PATIENT, ""), key)
        return "\\".join(_moved(text.split("\\"), days))

    return change


def _days(shift: Shift, patient: str, key: bytes) -> int:
    """How many days to move by: as said, or back by what the key draws for the patient."""
    if not shift.up_to:
        return shift.days
    drawn = hmac.digest(key, b"days of " + patient.encode(), sha256)
    return -1 - int.from_bytes(drawn[:8]) % shift.up_to


def _moved(dates: Iterable[str], days: int) -> Iterator[str]:
    """Dates, or dates with times, moved by days; what is none becomes empty, lest it stay."""
    for date in dates:
        day, rest = date[:8], date[8:]
        try:
            moved = datetime.strptime(day, "%Y%m%d") + timedelta(days=days)  # noqa: DTZ007
        except (ValueError, OverflowError):
            yield ""
        else:
            yield f"{moved:%Y%m%d}{rest}"
