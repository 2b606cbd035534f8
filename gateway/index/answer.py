"""Rows of the index as DICOM JSON: what a search returns (PS3.18 Tables 10.6.3-3 to 10.6.3-5).

The rows hold JSON members in the order of their tags; a result is made by merging those of an
instance with those of its series and study, and joining them. What was asked for beside is read
from the file.
"""

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from gateway.dataset.heads import MalformedDataSet
from gateway.dataset.json_model import JsonModel, attribute
from gateway.dataset.json_values import quoted
from gateway.dicomweb.matching import Condition, fits, normal
from gateway.dicomweb.query import Combined, Level, Query
from gateway.index import header
from gateway.index.keys import (
    AVAILABILITY,
    MODALITIES,
    OTHERS,
    RETRIEVE_URL,
    RETURNED,
    SERIES_INSTANCES,
    SERIES_UID,
    STUDY_INSTANCES,
    STUDY_SERIES,
    STUDY_UID,
    TIMEZONE,
)

FileOf = Callable[[int], Path]

_ONLINE: Final = attribute(AVAILABILITY, "CS", '"ONLINE"')
_TIMEZONE: Final = f'"{TIMEZONE:08X}"'
_URL: Final = f'"{RETRIEVE_URL:08X}":{{"vr":"UR","Value":['
_STUDY: Final = (
    "SELECT study_id, uid, source, series, instances, modalities, attributes FROM study "
    "WHERE study_id IN (SELECT value FROM json_each(?))"
)
_SERIES: Final = (
    "SELECT series_id, uid, source, study_id, instances, attributes FROM series "
    "WHERE series_id IN (SELECT value FROM json_each(?))"
)
_INSTANCE: Final = (
    "SELECT spool_id, uid, series_id, attributes FROM instance "
    "WHERE spool_id IN (SELECT value FROM json_each(?))"
)
_SOURCE: Final = (
    "SELECT source FROM study WHERE study_id = ?",
    "SELECT source FROM series WHERE series_id = ?",
    "SELECT ?",
)
Members = list[str]


@dataclass(frozen=True, slots=True)
class Asked:
    """What results are made of: ``level`` and ``query``, and ``base``, the URL before /studies.

    ``study`` and ``series`` say whether the path names one: then their attributes are not
    returned, but for the UIDs and what includefield names (10.6.3.3).
    """

    level: Level
    query: Query
    base: str = ""
    study: bool = False
    series: bool = False

    def shows(self, level: Level) -> bool:
        """Whether all attributes of a higher level are returned."""
        return not (self.study, self.series)[level]

    @property
    def extra(self) -> frozenset[int] | None:
        """The tags to be read from the file; None where all are."""
        if self.query.everything and self.level == Level.INSTANCE:
            return None
        allowed = frozenset[int]().union(*OTHERS[: self.level + 1])
        wanted = set(self.query.include)
        if self.query.everything:
            wanted |= OTHERS[self.level]
        known = {tag for returned in RETURNED for tag in returned}
        return frozenset(wanted - known if self.level == Level.INSTANCE else wanted & allowed)


@dataclass(slots=True)
class _Above:
    """The members that all instances of a series, or series of a study, have in common."""

    url: str
    members: Members = field(default_factory=list)


@dataclass(slots=True)
class Page:
    """Makes results from ids; for the one thread that has ``connection``."""

    connection: sqlite3.Connection
    asked: Asked
    file_of: FileOf
    model: JsonModel
    _extra: frozenset[int] | None = field(init=False)
    _studies: dict[int, _Above] = field(default_factory=dict)
    _series: dict[int, _Above] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._extra = self.asked.extra

    def results(self, ids: Sequence[int]) -> list[bytes]:
        """One DICOM JSON object for each id that is still there, in their order."""
        make = (self._of_studies, self._of_series, self._of_instances)[self.asked.level]
        found = dict(make(json.dumps(list(ids))))
        return [found[each] for each in ids if each in found]

    def _of_studies(self, ids: str) -> Iterator[tuple[int, bytes]]:
        for study_id, uid, source, series, instances, modalities, text in self._rows(_STUDY, ids):
            members = [*text.split("\n"), *_counted(series, instances, modalities)]
            yield study_id, self._object(members, self._url(uid), source)

    def _of_series(self, ids: str) -> Iterator[tuple[int, bytes]]:
        rows = self._rows(_SERIES, ids)
        self._know_studies({row[3] for row in rows})
        for series_id, uid, source, study_id, instances, text in rows:
            above = self._studies[study_id]
            members = [*text.split("\n"), *above.members, _count_of_series(instances)]
            yield series_id, self._object(members, f"{above.url}/series/{uid}", source)

    def _of_instances(self, ids: str) -> Iterator[tuple[int, bytes]]:
        rows = self._rows(_INSTANCE, ids)
        self._know_series({row[2] for row in rows})
        for spool_id, uid, series_id, text in rows:
            above = self._series[series_id]
            members = text.split("\n") + above.members
            yield spool_id, self._object(members, f"{above.url}/instances/{uid}", spool_id)

    def _know_studies(self, ids: set[int]) -> None:
        missing = json.dumps(list(ids - self._studies.keys()))
        for study_id, uid, _, series, instances, modalities, text in self._rows(_STUDY, missing):
            members = self._common(Level.STUDY, text.split("\n"))
            if self.asked.shows(Level.STUDY):
                members += _counted(series, instances, modalities)
            self._studies[study_id] = _Above(self._url(uid), members)

    def _know_series(self, ids: set[int]) -> None:
        rows = self._rows(_SERIES, json.dumps(list(ids - self._series.keys())))
        self._know_studies({row[3] for row in rows})
        for series_id, uid, _, study_id, instances, text in rows:
            above = self._studies[study_id]
            members = self._common(Level.SERIES, text.split("\n"))
            if self.asked.shows(Level.SERIES):
                members.append(_count_of_series(instances))
            members = _once(members + above.members)
            self._series[series_id] = _Above(f"{above.url}/series/{uid}", members)

    def _common(self, level: Level, members: Members) -> Members:
        """What of a higher level's attributes is returned with the lower one."""
        if self.asked.shows(level):
            return [member for member in members if not member.startswith(_TIMEZONE)]
        wanted = {STUDY_UID, SERIES_UID, *self.asked.query.include} - {TIMEZONE}
        return [member for member in members if _tag(member) in wanted]

    def _object(self, members: Members, url: str, source: int) -> bytes:
        """Members begin with their tags, so that they sort as F.2.2 wants them."""
        members.append(_ONLINE)
        members.append(f"{_URL}{quoted(url)}]}}")
        if (extra := self._extra) is None or extra:
            members = _once(members + self._read(extra, source, url))
        else:
            members.sort()
        return ("{" + ",".join(members) + "}").encode(errors="replace")

    def _read(self, tags: frozenset[int] | None, spool_id: int, url: str) -> Members:
        """What stands in the file; nothing where it cannot be read, or is gone meanwhile."""
        bulk = f"{url}/bulkdata/".__add__ if self.asked.level == Level.INSTANCE else None
        with suppress(OSError, MalformedDataSet):
            texts = header.attributes(self.model, self.file_of(spool_id), tags, bulk)
            return list(texts.values())
        return []

    def _url(self, study: str) -> str:
        return f"{self.asked.base}/studies/{study}"

    def _rows(self, sql: str, ids: str) -> list[Any]:
        return self.connection.execute(sql, (ids,)).fetchall()


@lru_cache(maxsize=1024)
def _counted(series: int, instances: int, modalities: str) -> tuple[str, ...]:
    names = ",".join(quoted(name) for name in modalities.split("\\") if name)
    return (
        attribute(MODALITIES, "CS", names),
        attribute(STUDY_SERIES, "IS", str(series)),
        attribute(STUDY_INSTANCES, "IS", str(instances)),
    )


@lru_cache(maxsize=1024)
def _count_of_series(instances: int) -> str:
    return attribute(SERIES_INSTANCES, "IS", str(instances))


def _tag(member: str) -> int:
    return int(member[1:9], 16)


def _once(members: Iterable[str]) -> Members:
    """Sorted, one member for each tag: the first that is given."""
    found: dict[str, str] = {}
    for member in members:
        found.setdefault(member[:10], member)
    return [found[name] for name in sorted(found)]


def matching(
    connection: sqlite3.Connection,
    model: JsonModel,
    file_of: FileOf,
    level: Level,
    ids: Sequence[int],
    rest: Sequence[Condition | Combined],
) -> list[int]:
    """Those of ``ids`` in whose headers all the rest of a query holds, in their order.

    A study or series is looked up in the reception that its attributes come from.
    """
    tags = frozenset(tag for one in rest for tag in _tags_of(one))
    found = []
    for each in ids:
        row = connection.execute(_SOURCE[level], (each,)).fetchone()
        texts: dict[int, str] = {}
        if row is not None:
            with suppress(OSError, MalformedDataSet):
                texts = header.attributes(model, file_of(row[0]), tags)
        if all(_holds(one, texts) for one in rest):
            found.append(each)
    return found


def _tags_of(one: Condition | Combined) -> tuple[int, ...]:
    return one.path[:1] if isinstance(one, Condition) else (one.date, one.time)


def _holds(one: Condition | Combined, texts: dict[int, str]) -> bool:
    if isinstance(one, Combined):
        date, time = (
            header.values(header.content_of(texts[tag])) if tag in texts else ()
            for tag in (one.date, one.time)
        )
        moment = normal("DA", "".join(date)) + normal("TM", "".join(time))
        return moment > "" and one.span.low <= moment <= (one.span.high or "~")
    member = texts.get(one.path[0])
    items = list(header.values_at(member, one.path[1:])) if member else []
    if len(one.path) == 1 and not items:
        items = [()]
    return any(fits(one, values) for values in items)
