"""Records into the index, and out of it: one transaction a batch."""

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Final

from gateway.index.attributes import Level
from gateway.index.record import Record
from gateway.index.schema import columns_of


def _upsert(level: Level, table: str, more: Sequence[str], conflict: str) -> str:
    names = [*columns_of(level), *more]
    changes = ", ".join(f"{name} = excluded.{name}" for name in names)
    return (
        f"INSERT INTO {table} ({', '.join(names)}) "  # noqa: S608 - names of this package
        f"VALUES ({', '.join('?' * len(names))}) ON CONFLICT ({conflict}) DO UPDATE "
        f"SET {changes} WHERE excluded.latest >= {table}.latest"
    )


_STUDY: Final = _upsert(
    Level.STUDY, "study", ("latest", "series", "instances", "modalities", "attributes"), "uid"
)
_SERIES: Final = _upsert(
    Level.SERIES, "series", ("study", "latest", "instances", "attributes"), "study, uid"
)
_NAMES: Final = [*columns_of(Level.INSTANCE), "key", "series", "current", "transfer_syntax"]
_INSTANCE: Final = (
    f"INSERT OR REPLACE INTO instance ({', '.join(_NAMES)}, attributes) "  # noqa: S608
    f"VALUES ({', '.join('?' * len(_NAMES))}, ?)"
)
_MARK: Final = """UPDATE instance SET current =
    (key = (SELECT max(other.key) FROM instance other WHERE other.uid = instance.uid))
    WHERE uid = ?"""
_COUNT_SERIES: Final = """UPDATE series SET instances =
    (SELECT count(*) FROM instance i WHERE i.series = series.key AND i.current) WHERE key = ?"""
_COUNT_STUDY: Final = """UPDATE study SET
    series = (SELECT count(*) FROM series s WHERE s.study = study.key AND s.instances > 0),
    instances = (SELECT coalesce(sum(s.instances), 0) FROM series s WHERE s.study = study.key),
    modalities = (SELECT coalesce(group_concat(DISTINCT s.modality), '') FROM series s
        WHERE s.study = study.key AND s.instances > 0 AND s.modality != '')
    WHERE key = ?"""
_EMPTY_SERIES: Final = """DELETE FROM series WHERE key = ?
    AND NOT EXISTS (SELECT 1 FROM instance i WHERE i.series = series.key)"""
_EMPTY_STUDY: Final = """DELETE FROM study WHERE key = ?
    AND NOT EXISTS (SELECT 1 FROM series s WHERE s.study = study.key)"""


def write(connection: sqlite3.Connection, records: Iterable[Record]) -> None:
    """Put records in, latest ones last. Raises sqlite3.Error: nothing was."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        touched, uids = set(), set()
        for record in records:
            touched.update(_series_with(connection, _uid(record, Level.INSTANCE)))
            touched.add(_put(connection, record))
            uids.add(_uid(record, Level.INSTANCE))
        connection.executemany(_MARK, [(uid,) for uid in uids])
        _settle(connection, touched)
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def remove(connection: sqlite3.Connection, spool_ids: Sequence[int]) -> None:
    """Take instances out; of those with the same UID the one before serves again."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        touched, uids = set(), set()
        for spool_id in spool_ids:
            found = connection.execute(
                "SELECT uid FROM instance WHERE key = ?", (spool_id,)
            ).fetchone()
            if found:
                uids.add(found[0])
                touched.update(_series_with(connection, found[0]))
                connection.execute("DELETE FROM instance WHERE key = ?", (spool_id,))
        connection.executemany(_MARK, [(uid,) for uid in uids])
        _settle(connection, touched)
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _uid(record: Record, level: Level) -> str:
    return record.columns[level]["uid"]


def _put(connection: sqlite3.Connection, record: Record) -> int:
    """Write one record at its three levels; the key of its series."""
    latest = record.spool_id
    columns, attributes = record.columns, record.attributes
    study_values = [columns[Level.STUDY].get(name, "") for name in columns_of(Level.STUDY)]
    connection.execute(_STUDY, [*study_values, latest, 0, 0, "", attributes[Level.STUDY]])
    query = "SELECT key FROM study WHERE uid = ?"
    (study,) = connection.execute(query, (_uid(record, Level.STUDY),)).fetchone()
    series_values = [columns[Level.SERIES].get(name, "") for name in columns_of(Level.SERIES)]
    connection.execute(_SERIES, [*series_values, study, latest, 0, attributes[Level.SERIES]])
    query = "SELECT key FROM series WHERE study = ? AND uid = ?"
    (series,) = connection.execute(query, (study, _uid(record, Level.SERIES))).fetchone()
    values = [columns[Level.INSTANCE].get(name, "") for name in columns_of(Level.INSTANCE)]
    syntax = record.transfer_syntax
    connection.execute(_INSTANCE, [*values, latest, series, 1, syntax, attributes[Level.INSTANCE]])
    return int(series)


def _series_with(connection: sqlite3.Connection, uid: str) -> list[int]:
    """The series in which an instance of that UID is."""
    query = "SELECT DISTINCT series FROM instance WHERE uid = ?"
    return [row[0] for row in connection.execute(query, (uid,))]


def _settle(connection: sqlite3.Connection, series: Iterable[int]) -> None:
    """Count what was touched anew, and let go of what is empty."""
    keys = [(key,) for key in series]
    query = "SELECT study FROM series WHERE key = ?"
    studies = {
        row for key in keys if (row := connection.execute(query, key).fetchone()) is not None
    }
    connection.executemany(_COUNT_SERIES, keys)
    connection.executemany(_EMPTY_SERIES, keys)
    connection.executemany(_COUNT_STUDY, list(studies))
    connection.executemany(_EMPTY_STUDY, list(studies))
