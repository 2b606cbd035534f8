"""A query as SQL over the index: which rows, in which order, and how many there are.

What the index has no column for is left over as ``rest``, to be looked up in the headers of the
rows that are found. Results come latest study first, then by series and instance number.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from gateway.dicomweb.matching import (
    Between,
    Condition,
    Exactly,
    Groups,
    Like,
    Wanted,
    Words,
)
from gateway.dicomweb.query import Combined, Level, Query
from gateway.index.keys import (
    KEYS,
    MODALITIES,
    PROCEDURE_ID,
    REQUESTS,
    STEP_ID,
    Key,
    name_columns,
)

_ALIASES: Final = ("st", "se", "i")
_IDS: Final = ("st.study_id", "se.series_id", "i.spool_id")
_ORDER: Final = (
    "st.study_date DESC, st.study_time DESC, st.study_id DESC",
    "se.number, se.series_id",
    "i.number, i.spool_id",
)
_THERE: Final = ("st.instances > 0", "se.instances > 0", "i.shown = 1")
_MODALITIES: Final = "('\\' || st.modalities || '\\')"
_PATIENT: Final = "st.patient"
_LAST: Final = chr(0x10FFFF)
_COUNTED: Final = 10_000
"""Instances are counted one by one up to so many, where their own attributes are matched."""

Parameters = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Term:
    """A condition in SQL with its parameters; ``selective`` where it leaves but few rows."""

    sql: str
    parameters: Parameters = ()
    selective: bool = False


@dataclass(slots=True)
class Selection:
    """The conditions of a query by the level whose columns they are about, and what is left."""

    level: Level
    terms: tuple[list[Term], list[Term], list[Term]] = field(default_factory=lambda: ([], [], []))
    rest: list[Condition | Combined] = field(default_factory=list)

    def ids(self, limit: int = -1, offset: int = 0) -> tuple[str, Parameters]:
        """The ids of what matches, in order."""
        body, parameters = self._from()
        order = ", ".join(_ORDER[: self.level + 1])
        sql = f"SELECT {_IDS[self.level]} {body} ORDER BY {order} LIMIT ? OFFSET ?"
        return sql, (*parameters, limit, offset)

    def count(self) -> tuple[str, Parameters, int]:
        """How many match; the third is the number from which on it is not exact, 0 for never."""
        deepest = max((level for level in Level if self.terms[level]), default=Level.STUDY)
        if deepest == Level.INSTANCE == self.level:
            body, parameters = self._from()
            sql = f"SELECT count(*) FROM (SELECT 1 {body} LIMIT {_COUNTED})"  # noqa: S608
            return sql, parameters, _COUNTED
        if self.level <= deepest:
            body, parameters = self._from()
            return f"SELECT count(*) {body}", parameters, 0
        what = "series" if self.level == Level.SERIES else "instances"
        body, parameters = self._from(deepest)
        sql = f"SELECT coalesce(sum({_ALIASES[deepest]}.{what}), 0) {body}"
        return sql, parameters, 0

    def _from(self, level: Level | None = None) -> tuple[str, Parameters]:
        """FROM and WHERE; what is asked of lower levels is asked of what a row has below it."""
        level = self.level if level is None else level
        terms = [term for each in self.terms[: level + 1] for term in each]
        if level < Level.INSTANCE and (below := self._below(level)):
            terms.append(below)
        # The order of the join decides whether rows come in order without being sorted.
        join = "JOIN" if any(term.selective for term in terms) else "CROSS JOIN"
        tables = ["study st"]
        if level >= Level.SERIES:
            tables.append(f"{join} series se ON se.study_id = st.study_id")
        if level >= Level.INSTANCE:
            tables.append(f"{join} instance i ON i.series_id = se.series_id")
        where = [*_THERE[: level + 1], *(term.sql for term in terms)]
        parameters = tuple(value for term in terms for value in term.parameters)
        return f"FROM {' '.join(tables)} WHERE {' AND '.join(where)}", parameters

    def _below(self, level: Level) -> Term | None:
        instance, series = self.terms[Level.INSTANCE], list(self.terms[Level.SERIES])
        if level == Level.SERIES:
            series = []
        if instance:
            series.append(
                _among("se.series_id", "series_id FROM instance i", Level.INSTANCE, instance)
            )
        if level == Level.SERIES or not series:
            return series[0] if series else None
        return _among("st.study_id", "study_id FROM series se", Level.SERIES, series)


def _among(column: str, of: str, level: Level, terms: Sequence[Term]) -> Term:
    where = " AND ".join((_THERE[level], *(term.sql for term in terms)))
    parameters = tuple(value for term in terms for value in term.parameters)
    selective = any(term.selective for term in terms)
    return Term(f"{column} IN (SELECT {of} WHERE {where})", parameters, selective)


def selection(query: Query, level: Level) -> Selection:
    """What of a query the database can answer, as SQL, and the rest."""
    found = Selection(level)
    requests: list[Condition] = []
    # SQLite tests terms in their order, and modalities cost most and keep most: they come last.
    for condition in sorted(query.conditions, key=lambda one: one.path == (MODALITIES,)):
        key = KEYS.get(condition.path)
        if key is not None:
            found.terms[key.level].append(_term(key, condition.wanted))
        elif condition.path == (MODALITIES,):
            found.terms[Level.STUDY].append(_modality(condition.wanted))
        elif condition.path in ((REQUESTS, STEP_ID), (REQUESTS, PROCEDURE_ID)):
            requests.append(condition)
        else:
            found.rest.append(condition)
    if requests:
        found.terms[Level.SERIES].append(_requests(requests))
    for moments in query.moments:
        keys = KEYS.get((moments.date,)), KEYS.get((moments.time,))
        if keys[0] is not None and keys[1] is not None:
            found.terms[keys[0].level].append(_moments(keys[0], keys[1], moments.span))
        else:
            found.rest.append(moments)
    return found


def _term(key: Key, wanted: Sequence[Wanted]) -> Term:
    column = f"{_ALIASES[key.level]}.{key.column}"
    if key.form == "name":
        columns = [f"{_ALIASES[key.level]}.{name}" for name in name_columns(key.column)]
        return _any([_name(columns, one) for one in wanted])
    if key.form == "number":
        return _any([_number(column, one) for one in wanted])
    if key.vr == "UI":
        return _uids(column, wanted, key.column == "uid" and key.level > Level.STUDY)
    return _any([_text(column, one) for one in wanted])


def _uids(column: str, wanted: Sequence[Wanted], selective: bool) -> Term:
    """A list of any length: each is a value by itself."""
    uids = tuple(one.value for one in wanted if isinstance(one, Exactly))
    return Term(f"{column} IN ({', '.join('?' * len(uids))})", uids, selective)


def _any(terms: Sequence[Term]) -> Term:
    sql = " OR ".join(term.sql for term in terms)
    return Term(f"({sql})", tuple(value for term in terms for value in term.parameters))


def _all(terms: Sequence[Term]) -> Term:
    sql = " AND ".join(term.sql for term in terms)
    return Term(f"({sql})", tuple(value for term in terms for value in term.parameters))


def _text(column: str, wanted: Wanted) -> Term:
    match wanted:
        case Exactly(value):
            return Term(f"{column} = ?", (value,))
        case Like(pattern):
            return _like(column, pattern)
        case Between(low, high):
            return Term(f"{column} > '' AND {column} BETWEEN ? AND ?", (low, high or _LAST))
        case _:
            return Term("0")


def _like(column: str, pattern: str) -> Term:
    """By the index as far as the first wildcard, then as GLOB, in which "[" is special too."""
    first = min(at for at, letter in enumerate(pattern) if letter in "*?")
    glob = Term(f"{column} GLOB ?", (pattern.replace("[", "[[]"),))
    if not first:
        return glob
    start = pattern[:first]
    return _all([Term(f"{column} >= ? AND {column} < ?", (start, start + _LAST)), glob])


def _number(column: str, wanted: Wanted) -> Term:
    match wanted:
        case Exactly(""):
            return Term(f"{column} IS NULL")
        case Exactly(value) if value.removeprefix("-").isdecimal() and len(value) < 19:
            return Term(f"{column} = ?", (int(value),))
        case _:
            return Term("0")


def _name(columns: Sequence[str], wanted: Wanted) -> Term:
    """``columns``: the three component groups, then the words."""
    match wanted:
        case Words(patterns):
            return _all([Term(f"{columns[3]} GLOB ?", (_glob(one),)) for one in patterns])
        case Groups(groups):
            asked = zip(columns, groups, strict=False)
            return _all([_text(column, group) for column, group in asked if group])
        case Exactly(""):
            return _all([Term(f"{column} = ''") for column in columns[:3]])
        case _:
            terms = [_text(column, wanted) for column in columns[:3]]
            return _looked_up(terms) if _begins(columns[0], wanted) else _any(terms)


def _begins(column: str, wanted: Wanted) -> bool:
    """Whether the beginning of a patient's name is given, by which the index has it."""
    if isinstance(wanted, Like):
        return column == _PATIENT and wanted.pattern[0] not in "*?"
    return column == _PATIENT and isinstance(wanted, Exactly)


def _looked_up(terms: Sequence[Term]) -> Term:
    """Studies for which any of the terms holds, each found by an index of its own."""
    each = (f"SELECT st.study_id FROM study st WHERE {term.sql}" for term in terms)  # noqa: S608
    parameters = tuple(value for term in terms for value in term.parameters)
    return Term(f"st.study_id IN ({' UNION ALL '.join(each)})", parameters)


def _glob(pattern: str) -> str:
    return pattern.replace("[", "[[]")


def _modality(wanted: Sequence[Wanted]) -> Term:
    """A modality of any of the study's series: by the study's own list where it is named."""
    return _any([_has_modality(one) for one in wanted])


def _has_modality(wanted: Wanted) -> Term:
    if isinstance(wanted, Exactly) and wanted.value:
        return Term(f"instr({_MODALITIES}, ?) > 0", (f"\\{wanted.value}\\",))
    term = _text("se.modality", wanted)
    return _among("st.study_id", "study_id FROM series se", Level.SERIES, [term])


def _requests(conditions: Sequence[Condition]) -> Term:
    """What is asked of one item has to hold in the same item (PS3.4 C.2.2.2.6)."""
    columns = {STEP_ID: "step_id", PROCEDURE_ID: "procedure_id"}
    terms = [
        _any([_text(columns[condition.path[1]], one) for one in condition.wanted])
        for condition in conditions
    ]
    where = " AND ".join(term.sql for term in terms)
    parameters = tuple(value for term in terms for value in term.parameters)
    sql = f"se.series_id IN (SELECT series_id FROM request WHERE {where})"  # noqa: S608
    return Term(sql, parameters, selective=True)


def _moments(date: Key, time: Key, span: Between) -> Term:
    alias = _ALIASES[date.level]
    day, moment = f"{alias}.{date.column}", f"{alias}.{date.column} || {alias}.{time.column}"
    return Term(
        f"({day} > '' AND {day} BETWEEN ? AND ? AND ({moment}) BETWEEN ? AND ?)",
        (span.low[:8], span.high[:8] or _LAST, span.low, span.high or _LAST),
    )
