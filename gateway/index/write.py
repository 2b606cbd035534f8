"""What changes in the index: receptions added, receptions forgotten, and what follows from them.

Each function works inside the caller's transaction. Counters are counted anew for every series
and study that is touched, never carried along, so that they are right whatever happened before.
"""

import sqlite3
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from gateway.index.entry import Column, Entry, Facts
from gateway.index.schema import key_columns
from gateway.model import UID

Read = Callable[[int], Entry | None]
"""The entry of a spool id in the index, read from its file; None where that cannot be."""

_TABLES: Final = ("study", "series", "instance")


def _places(count: int) -> str:
    return ", ".join("?" * count)


# Names of tables and columns are constants of this package; every value is a parameter.
_COLUMNS: Final = (
    "spool_id, series_id, uid, sop_class, transfer_syntax, shown, "
    f"attributes, {', '.join(key_columns(2))}"
)
_INSERT: Final = (
    f"INSERT OR IGNORE INTO instance ({_COLUMNS}) "  # noqa: S608
    f"VALUES ({_places(_COLUMNS.count(',') + 1)})"
)
_SHOW: Final = (
    "UPDATE instance SET shown = (spool_id = (SELECT coalesce(max(spool_id), 0) FROM instance "
    "WHERE uid = :uid AND series_id > 0)) WHERE uid = :uid"
)
_COUNT_SERIES: Final = (
    "SELECT count(*), coalesce(max(spool_id), 0) FROM instance WHERE series_id = ? AND shown = 1"
)
_COUNT_STUDY: Final = (
    "SELECT count(*), coalesce(sum(instances), 0), coalesce(max(source), 0) FROM series "
    "WHERE study_id = ? AND instances > 0"
)
_MODALITIES: Final = (
    "SELECT DISTINCT modality FROM series WHERE study_id = ? AND instances > 0 "
    "AND modality <> '' ORDER BY modality"
)


def add(connection: sqlite3.Connection, entries: Iterable[Entry], read: Read) -> None:
    """Put receptions in; those that are in already are passed over."""
    touched: dict[int, None] = {}
    known: dict[int, Entry] = {}
    for entry in entries:
        one = entry.reception
        series_id = _series_id(connection, one.study, one.series)
        inserted = connection.execute(_INSERT, (one.spool_id, series_id, *_own(entry)))
        if inserted.rowcount:
            known[one.spool_id] = entry
            touched |= _show(connection, one.uid)
    _refresh(connection, touched, lambda spool_id: known.get(spool_id) or read(spool_id))


def forget(connection: sqlite3.Connection, spool_ids: Iterable[int], read: Read) -> int:
    """Take receptions out; how many were in. What they hid is shown again."""
    touched: dict[int, None] = {}
    gone = 0
    for spool_id in spool_ids:
        row = connection.execute(
            "DELETE FROM instance WHERE spool_id = ? RETURNING uid, series_id", (spool_id,)
        ).fetchone()
        if row is not None:
            gone += 1
            touched |= {row[1]: None, **_show(connection, row[0])}
    _refresh(connection, touched, read)
    return gone


def _own(entry: Entry) -> tuple[Column, ...]:
    one = entry.reception
    return one.uid, one.sop_class, one.transfer_syntax, 0, entry.own.attributes, *entry.own.columns


def _series_id(connection: sqlite3.Connection, study: UID, series: UID) -> int:
    """The series' number, made where it is new; 0 for what no URL could name."""
    if not study or not series:
        return 0
    study_id = _get_or_make(connection, "study", "uid = ?", (study,), "uid")
    where = "uid = ? AND study_id = ?"
    return _get_or_make(connection, "series", where, (series, study_id), "uid, study_id")


def _get_or_make(
    connection: sqlite3.Connection,
    table: str,
    where: str,
    values: tuple[Column, ...],
    columns: str,
) -> int:
    query = f"SELECT {table}_id FROM {table} WHERE {where}"  # noqa: S608
    row = connection.execute(query, values).fetchone()
    if row is not None:
        return int(row[0])
    insert = f"INSERT INTO {table} ({columns}) VALUES ({_places(len(values))})"  # noqa: S608
    return connection.execute(insert, values).lastrowid or 0


def _show(connection: sqlite3.Connection, uid: str) -> dict[int, None]:
    """Show the latest reception of a SOP Instance alone; all series that have had one."""
    connection.execute(_SHOW, {"uid": uid})
    rows = connection.execute("SELECT DISTINCT series_id FROM instance WHERE uid = ?", (uid,))
    return {series_id: None for (series_id,) in rows.fetchall()}


def _refresh(connection: sqlite3.Connection, series_ids: Mapping[int, None], read: Read) -> None:
    """Count anew, and read anew what was read from a reception that no longer serves."""
    studies: dict[int, None] = {}
    for series_id in filter(None, series_ids):
        row = connection.execute(
            "SELECT study_id, source FROM series WHERE series_id = ?", (series_id,)
        ).fetchone()
        studies[row[0]] = None
        _refresh_series(connection, series_id, row[1], read)
    for study_id in studies:
        _refresh_study(connection, study_id, read)


def _refresh_series(
    connection: sqlite3.Connection, series_id: int, known: int, read: Read
) -> None:
    instances, source = connection.execute(_COUNT_SERIES, (series_id,)).fetchone()
    if not instances and not _has_rows(connection, "instance", "series_id", series_id):
        connection.execute("DELETE FROM series WHERE series_id = ?", (series_id,))
        connection.execute("DELETE FROM request WHERE series_id = ?", (series_id,))
        return
    entry = read(source) if source not in (0, known) else None
    if entry is not None:
        _describe(connection, 1, series_id, entry.series)
        connection.execute("DELETE FROM request WHERE series_id = ?", (series_id,))
        rows = [(series_id, step, procedure) for step, procedure in entry.requests]
        connection.executemany("INSERT INTO request VALUES (?, ?, ?)", rows)
    connection.execute(
        "UPDATE series SET instances = ?, source = ? WHERE series_id = ?",
        (instances, source, series_id),
    )


def _refresh_study(connection: sqlite3.Connection, study_id: int, read: Read) -> None:
    series, instances, source = connection.execute(_COUNT_STUDY, (study_id,)).fetchone()
    if not series and not _has_rows(connection, "series", "study_id", study_id):
        connection.execute("DELETE FROM study WHERE study_id = ?", (study_id,))
        return
    (known,) = connection.execute(
        "SELECT source FROM study WHERE study_id = ?", (study_id,)
    ).fetchone()
    entry = read(source) if source not in (0, known) else None
    if entry is not None:
        _describe(connection, 0, study_id, entry.study)
    modalities = [row[0] for row in connection.execute(_MODALITIES, (study_id,)).fetchall()]
    connection.execute(
        "UPDATE study SET series = ?, instances = ?, modalities = ?, source = ? "
        "WHERE study_id = ?",
        (series, instances, "\\".join(modalities), source, study_id),
    )


def _describe(connection: sqlite3.Connection, level: int, key: int, facts: Facts) -> None:
    table = _TABLES[level]
    columns = ", ".join(f"{column} = ?" for column in key_columns(level))
    connection.execute(
        f"UPDATE {table} SET {columns}, attributes = ? WHERE {table}_id = ?",  # noqa: S608
        (*facts.columns, facts.attributes, key),
    )


def _has_rows(connection: sqlite3.Connection, table: str, column: str, value: int) -> bool:
    query = f"SELECT 1 FROM {table} WHERE {column} = ? LIMIT 1"  # noqa: S608
    return connection.execute(query, (value,)).fetchone() is not None
