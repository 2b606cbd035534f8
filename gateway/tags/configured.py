"""A route's ``tags:`` of the configuration as changes."""

from collections.abc import Iterator
from typing import Final

from gateway.config.attribute_paths import find_path
from gateway.config.tags import Tags
from gateway.tags.allowed import check, conflicts
from gateway.tags.changes import (
    Change,
    Copy,
    Hash,
    Remove,
    Replace,
    Secret,
    Set,
    ShiftDate,
    TagPath,
    Template,
    parse_template,
)

SHORTEST_SECRET: Final = 16
"""Bytes of a secret that nobody finds by trying."""


def configured(tags: Tags, secret: Secret) -> tuple[Change, ...]:
    """The changes that a route asks for, checked. Raises ValueError that says which and why."""
    if tags.needs_key and len(secret) < SHORTEST_SECRET:
        raise ValueError(f"the key has {len(secret)} bytes: {SHORTEST_SECRET} are the least")
    changes = tuple(_changes(tags, secret))
    for change, (_, keyword) in zip(changes, tags.changed(), strict=True):
        try:
            check(change)
        except ValueError as error:
            raise ValueError(f"{keyword}: {error}") from error
    if conflicts(changes):
        raise ValueError("two changes have their say in one attribute")
    return changes


def _changes(tags: Tags, secret: Secret) -> Iterator[Change]:
    """In the order of ``Tags.changed``."""
    on_purpose = tags.identity
    for keyword, value in tags.set_.items():
        values = tuple(value.split("\\"))
        yield Set(path=_path(keyword), values=values, identity=on_purpose)
    for keyword in tags.remove:
        yield Remove(path=_path(keyword), identity=on_purpose)
    for keyword, source in tags.copy_.items():
        yield Copy(path=_path(keyword), source=_path(source), identity=on_purpose)
    for keyword, text in tags.template.items():
        parts = parse_template(text, _path)
        yield Template(path=_path(keyword), parts=parts, identity=on_purpose)
    for keyword in tags.hash_:
        yield Hash(path=_path(keyword), secret=secret, identity=on_purpose)
    for keyword, (find, by) in tags.replace.items():
        yield Replace(path=_path(keyword), pattern=find, replacement=by, identity=on_purpose)
    shift = tags.shift_dates
    for keyword in shift.attributes if shift else ():
        assert shift is not None  # noqa: S101 - it has attributes
        yield ShiftDate(
            path=_path(keyword),
            days=shift.days,
            within=shift.up_to,
            secret=secret if shift.up_to else Secret(),
            identity=on_purpose,
        )


def _path(name: str) -> TagPath:
    return find_path(name).steps
