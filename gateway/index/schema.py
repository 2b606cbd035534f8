"""The index's tables. All of it can be told from the spool: another version is made anew."""

import sqlite3
from pathlib import Path
from typing import Final

from gateway.index.attributes import COLUMNS, Level

INDEX: Final = "index.sqlite3"
VERSION: Final = 1


def columns_of(level: Level) -> list[str]:
    """The names of the columns that are matched at a level."""
    found: list[str] = []
    for column in COLUMNS.values():
        if column.level is level and column.vr == "PN":
            found += [f"{column.name}_{part}" for part in (0, 1, 2, "words")]
        elif column.level is level:
            found.append(column.name)
    return found


def _matched(level: Level) -> str:
    return ", ".join(f"{name} TEXT NOT NULL" for name in columns_of(level))


_TABLES: Final = (
    f"""CREATE TABLE study (
        key INTEGER NOT NULL PRIMARY KEY, {_matched(Level.STUDY)},
        latest INTEGER NOT NULL, series INTEGER NOT NULL, instances INTEGER NOT NULL,
        modalities TEXT NOT NULL, attributes TEXT NOT NULL)""",
    "CREATE UNIQUE INDEX study_by_uid ON study (uid)",
    "CREATE INDEX study_by_date ON study (date, time)",
    "CREATE INDEX study_by_patient ON study (patient_0)",
    "CREATE INDEX study_by_patient_id ON study (patient_id)",
    "CREATE INDEX study_by_accession ON study (accession)",
    f"""CREATE TABLE series (
        key INTEGER NOT NULL PRIMARY KEY, study INTEGER NOT NULL, {_matched(Level.SERIES)},
        latest INTEGER NOT NULL, instances INTEGER NOT NULL, attributes TEXT NOT NULL)""",
    "CREATE UNIQUE INDEX series_by_uid ON series (study, uid)",
    "CREATE INDEX series_alone ON series (uid)",
    "CREATE INDEX series_by_modality ON series (modality)",
    # ``current``: of those with the same UID the one that came last.
    f"""CREATE TABLE instance (
        key INTEGER NOT NULL PRIMARY KEY, series INTEGER NOT NULL, current INTEGER NOT NULL,
        transfer_syntax TEXT NOT NULL, {_matched(Level.INSTANCE)}, attributes TEXT NOT NULL)""",
    "CREATE INDEX instance_by_uid ON instance (uid, key)",
    "CREATE INDEX instance_by_series ON instance (series, current)",
)


def connect(folder: Path, mode: str = "rw") -> sqlite3.Connection:
    """Open the index in ``folder``; "ro" only reads. Raises sqlite3.Error."""
    uri = f"{(folder / INDEX).absolute().as_uri()}?mode={mode}"
    connection = sqlite3.connect(
        uri, uri=True, timeout=10, isolation_level=None, check_same_thread=False
    )
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA cache_size = -16384")
    return connection


def is_sound(folder: Path) -> bool:
    """Whether there is an index of this version that can be read."""
    if not (folder / INDEX).is_file():
        return False
    try:
        connection = connect(folder)
        try:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        finally:
            connection.close()
    except sqlite3.Error:
        return False
    return bool(version == VERSION and found == "ok")


def make(folder: Path) -> None:
    """Begin an empty index. Raises sqlite3.Error, OSError."""
    for suffix in ("", "-wal", "-shm"):
        (folder / f"{INDEX}{suffix}").unlink(missing_ok=True)
    connection = connect(folder, "rwc")
    try:
        (folder / INDEX).chmod(0o600)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("BEGIN")
        for statement in _TABLES:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    finally:
        connection.close()
