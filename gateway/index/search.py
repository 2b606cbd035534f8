"""A query answered by the index: conditions as SQL, what is left by reading headers.

Where the database can tell all of it, it also counts and cuts out the page that is asked for. What
it cannot tell is matched on the header of each candidate, one by one, within a limit.
"""

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from gateway.dicomweb.matching import (
    BadQuery,
    Between,
    Condition,
    Exactly,
    Groups,
    Like,
    Wanted,
    Words,
    combined,
    fits,
)
from gateway.dicomweb.query import Query
from gateway.index.attributes import COLUMNS, MODALITIES_IN_STUDY, MODALITY, Column, Level
from gateway.index.values import values_at

MOST_ROWS: Final = 25_000
"""The longest answer; a client that wants more asks by ``offset``."""
MOST_HEADERS: Final = 20_000
"""Headers that are read for one query."""

Header = Callable[[int], Mapping[int, str]]
"""What stands in the header of an instance, by its spool id: DICOM JSON by tag, with its name."""

_ALIAS: Final = {Level.STUDY: "st", Level.SERIES: "se", Level.INSTANCE: "i"}
_FROM: Final = {
    Level.STUDY: "study st WHERE st.instances > 0",
    Level.SERIES: "series se JOIN study st ON st.key = se.study WHERE se.instances > 0",
    Level.INSTANCE: "instance i JOIN series se ON se.key = i.series "
    "JOIN study st ON st.key = se.study WHERE i.current",
}
_BELOW: Final = {
    (Level.STUDY, Level.SERIES): "SELECT 1 FROM series se WHERE se.study = st.key "
    "AND se.instances > 0",
    (Level.STUDY, Level.INSTANCE): "SELECT 1 FROM instance i JOIN series se ON se.key = i.series "
    "WHERE se.study = st.key AND i.current",
    (Level.SERIES, Level.INSTANCE): "SELECT 1 FROM instance i WHERE i.series = se.key "
    "AND i.current",
}
_MODALITIES: Final = "SELECT 1 FROM series m WHERE m.study = st.key AND m.instances > 0"
_ORDER: Final = {
    Level.STUDY: "st.date DESC, st.time DESC, st.key",
    Level.SERIES: "st.key, CAST(se.number AS INTEGER), se.key",
    Level.INSTANCE: "st.key, CAST(se.number AS INTEGER), se.key, CAST(i.number AS INTEGER), i.key",
}
_UNORDERED: Final = "i.key"
_COUNT: Final = {
    Level.STUDY: "sum(st.instances)",
    Level.SERIES: "sum(se.instances)",
    Level.INSTANCE: "count(*)",
}
_ROW: Final = {
    Level.STUDY: "st.latest, st.uid, '', '', st.attributes, '', '', st.modalities, st.series, "
    "st.instances, 0, ''",
    Level.SERIES: "se.latest, st.uid, se.uid, '', st.attributes, se.attributes, '', "
    "st.modalities, st.series, st.instances, se.instances, ''",
    Level.INSTANCE: "i.key, st.uid, se.uid, i.uid, st.attributes, se.attributes, i.attributes, "
    "st.modalities, st.series, st.instances, se.instances, i.transfer_syntax",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One study, series or instance found; ``spool_id`` is of an instance that stands for it."""

    spool_id: int
    study: str
    series: str
    instance: str
    attributes: tuple[str, str, str]
    modalities: str
    study_series: int
    study_instances: int
    series_instances: int
    transfer_syntax: str


@dataclass(frozen=True, slots=True)
class Found:
    """A page of rows, and how many there are in all."""

    rows: list[Row]
    total: int


def search(connection: sqlite3.Connection, level: Level, query: Query, header: Header) -> Found:
    """The rows that fit. Raises BadQuery where too many headers would have to be read."""
    conditions = _joined_moments(query.conditions)
    clauses, values = [], []
    rest: list[Condition] = []
    deepest = Level.STUDY
    for condition in conditions:
        compiled = _compiled(level, condition)
        if compiled is None:
            rest.append(condition)
        else:
            clause, more, at = compiled
            clauses.append(clause)
            values += more
            deepest = max(deepest, at)
    where = "".join(f" AND {clause}" for clause in clauses)
    limit = MOST_ROWS if query.limit is None else min(query.limit, MOST_ROWS)
    if rest:
        fitting = _fitting(connection, level, where, values, rest, header)
        return _page(list(fitting), query.offset, limit)
    narrow = bool(clauses) or level is Level.STUDY
    rows = _rows(connection, level, where, values, narrow, limit, query.offset)
    return Found(list(rows), _total(connection, level, where, values, deepest))


def _page(rows: Sequence[Row], offset: int, limit: int) -> Found:
    return Found(list(rows[offset : offset + limit]), len(rows))


def _rows(
    connection: sqlite3.Connection,
    level: Level,
    where: str,
    values: Sequence[str],
    narrow: bool,
    limit: int = -1,
    offset: int = 0,
) -> Iterator[Row]:
    order = _ORDER[level] if narrow or level is not Level.INSTANCE else _UNORDERED
    statement = (
        f"SELECT {_ROW[level]} FROM {_FROM[level]}{where} "  # noqa: S608 - parts of this module
        f"ORDER BY {order} LIMIT ? OFFSET ?"
    )
    for row in connection.execute(statement, (*values, limit, offset)):
        yield _row_of(row)


def _row_of(row: Sequence[Any]) -> Row:
    spool_id, study, series, instance, of_study, of_series, of_instance, *derived = row
    attributes = (of_study, of_series, of_instance)
    return Row(spool_id, study, series, instance, attributes, *derived)


def _total(
    connection: sqlite3.Connection, level: Level, where: str, values: Sequence[str], deepest: Level
) -> int:
    """How many rows there are; instances are not counted one by one where sums know them."""
    at = deepest if level is Level.INSTANCE else level
    counted = _COUNT[at] if level is Level.INSTANCE else "count(*)"
    statement = f"SELECT coalesce({counted}, 0) FROM {_FROM[at]}{where}"  # noqa: S608
    (total,) = connection.execute(statement, values).fetchone()
    return int(total)


def _fitting(
    connection: sqlite3.Connection,
    level: Level,
    where: str,
    values: Sequence[str],
    rest: Sequence[Condition],
    header: Header,
) -> Iterator[Row]:
    """The candidates whose headers fit what the database cannot tell."""
    for read, row in enumerate(_rows(connection, level, where, values, narrow=True)):
        if read >= MOST_HEADERS:
            names = ", ".join("".join(f"{tag:08X}" for tag in each.path) for each in rest)
            raise BadQuery(
                f"matching {names} would take reading more than {MOST_HEADERS} headers: narrow "
                "the query by study, patient, date, accession number or modality"
            )
        texts = header(row.spool_id)
        if all(fits(each, values_at(texts, each.path)) for each in rest):
            yield row


def _joined_moments(conditions: Sequence[Condition]) -> list[Condition]:
    """A range of dates and one of times of the same thing are one span (PS3.4 §C.2.2.2.5.1)."""
    left = list(conditions)
    for date_tag, time_tag in ((0x00080020, 0x00080030), (0x00400244, 0x00400245)):
        date = next((each for each in left if each.path == (date_tag,)), None)
        time = next((each for each in left if each.path == (time_tag,)), None)
        span = combined(date, time) if date is not None and time is not None else None
        if span is not None and date is not None and time is not None:
            left = [each for each in left if each not in (date, time)]
            left.append(Condition((date_tag, time_tag), "DT", (span,)))
    return left


def _compiled(level: Level, condition: Condition) -> tuple[str, list[str], Level] | None:
    """(clause, values, the level whose tables it needs); None for what SQL cannot tell."""
    path, vr = condition.path, condition.vr
    if path == (MODALITIES_IN_STUDY,):
        clause, values = _any(COLUMNS[MODALITY], "m", condition.wanted)
        return f"EXISTS ({_MODALITIES} AND {clause})", values, Level.STUDY
    if vr == "DT" and len(path) == 2 and path[0] in COLUMNS:
        return _moment(level, path, condition.wanted)
    if len(path) != 1 or path[0] not in COLUMNS:
        return None
    column = COLUMNS[path[0]]
    clause, values = _any(column, _ALIAS[column.level], condition.wanted)
    return _placed(level, column.level, clause), values, min(column.level, level)


def _placed(level: Level, of: Level, clause: str) -> str:
    """A clause on a deeper table asks whether anything there fits."""
    return clause if of <= level else f"EXISTS ({_BELOW[level, of]} AND {clause})"


def _moment(
    level: Level, path: Sequence[int], wanted: Sequence[Wanted]
) -> tuple[str, list[str], Level]:
    date, time = COLUMNS[path[0]], COLUMNS[path[1]]
    alias = _ALIAS[date.level]
    moment = (
        f"({alias}.{date.name} || CASE WHEN {alias}.{time.name} = '' THEN '000000000000' "
        f"ELSE {alias}.{time.name} END)"
    )
    (span,) = wanted
    assert isinstance(span, Between)  # noqa: S101 - made by _joined_moments
    clause = f"({alias}.{date.name} != '' AND {moment} BETWEEN ? AND ?)"
    return (
        _placed(level, date.level, clause),
        [span.low, span.high or "~"],
        min(date.level, level),
    )


def _any(column: Column, alias: str, wanted: Sequence[Wanted]) -> tuple[str, list[str]]:
    found = [_one(column, alias, each) for each in wanted]
    clause = " OR ".join(clause for clause, _ in found)
    return f"({clause})", [value for _, values in found for value in values]


def _one(column: Column, alias: str, wanted: Wanted) -> tuple[str, list[str]]:
    name = f"{alias}.{column.name}"
    match wanted:
        case Between(low, high):
            return f"({name} != '' AND {name} BETWEEN ? AND ?)", [low, high or "~"]
        case Words(patterns):
            clause = " AND ".join(f"{name}_words GLOB ?" for _ in patterns)
            return f"({clause})", [_glob(pattern) for pattern in patterns]
        case Groups(groups):
            asked = [(number, each) for number, each in enumerate(groups) if each is not None]
            found = [_is(f"{name}_{number}", each) for number, each in asked]
            return f"({' AND '.join(c for c, _ in found)})", [value for _, value in found]
        case Exactly("") if column.vr == "PN":
            return f"({name}_0 || {name}_1 || {name}_2 = '')", []
        case _ if column.vr == "PN":
            found = [_is(f"{name}_{number}", wanted) for number in range(3)]
            return f"({' OR '.join(c for c, _ in found)})", [value for _, value in found]
        case _:
            clause, value = _is(name, wanted)
            return clause, [value]


def _is(name: str, wanted: Exactly | Like) -> tuple[str, str]:
    if isinstance(wanted, Exactly):
        return f"{name} = ?", wanted.value
    return f"({name} != '' AND {name} GLOB ?)", _glob(wanted.pattern)


def _glob(pattern: str) -> str:
    """A pattern of ``*`` and ``?`` as SQLite reads it."""
    return pattern.replace("[", "[[]")
