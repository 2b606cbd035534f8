"""The index's own database: derived data, made anew where it is missing, damaged or of another
version.

A study has series, a series has instances; an instance here is one reception, and of those with
one SOP Instance UID the latest is ``shown``. ``series_id`` is 0 for what no URL could name.
``attributes`` are those that a search returns, one DICOM JSON member a line in the order of tags
(PS3.18 Annex F). ``source`` is the reception that the attributes of a study or series were read
from: its latest. ``modalities`` are separated by backslashes.
"""

import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from gateway import telemetry
from gateway.index.keys import FROM_HEADER, name_columns

INDEX: Final = "index.sqlite3"
VERSION: Final = 1
_APPLICATION: Final = 0x44474958


def key_columns(level: int) -> tuple[str, ...]:
    """The columns of a level's table that are filled from the header."""
    found: list[str] = []
    for key in FROM_HEADER[level].values():
        found += name_columns(key.column) if key.form == "name" else [key.column]
    return tuple(found)


def _declared(level: int) -> str:
    numbers = {key.column for key in FROM_HEADER[level].values() if key.form == "number"}
    return ", ".join(
        f"{column} INTEGER" if column in numbers else f"{column} TEXT NOT NULL DEFAULT ''"
        for column in key_columns(level)
    )


_TABLES: Final = (
    f"""CREATE TABLE study (
        study_id   INTEGER NOT NULL PRIMARY KEY,
        uid        TEXT NOT NULL UNIQUE,
        source     INTEGER NOT NULL DEFAULT 0,
        series     INTEGER NOT NULL DEFAULT 0,
        instances  INTEGER NOT NULL DEFAULT 0,
        modalities TEXT NOT NULL DEFAULT '',
        attributes TEXT NOT NULL DEFAULT '',
        {_declared(0)})""",
    f"""CREATE TABLE series (
        series_id  INTEGER NOT NULL PRIMARY KEY,
        study_id   INTEGER NOT NULL,
        uid        TEXT NOT NULL,
        source     INTEGER NOT NULL DEFAULT 0,
        instances  INTEGER NOT NULL DEFAULT 0,
        attributes TEXT NOT NULL DEFAULT '',
        {_declared(1)})""",
    f"""CREATE TABLE instance (
        spool_id        INTEGER NOT NULL PRIMARY KEY,
        series_id       INTEGER NOT NULL,
        uid             TEXT NOT NULL,
        sop_class       TEXT NOT NULL,
        transfer_syntax TEXT NOT NULL,
        shown           INTEGER NOT NULL,
        attributes      TEXT NOT NULL,
        {_declared(2)})""",
    """CREATE TABLE request (
        series_id    INTEGER NOT NULL,
        step_id      TEXT NOT NULL,
        procedure_id TEXT NOT NULL)""",
    # Serves the order of results, and holds what lists of studies are filtered by, so that those
    # that do not match are passed over and counted without a look at their rows.
    """CREATE INDEX study_by_date ON study (study_date, study_time, study_id, series, instances,
        modalities, patient, patient_ideographic, patient_phonetic, patient_words, patient_id,
        accession, description)""",
    "CREATE INDEX study_by_patient ON study (patient)",
    "CREATE INDEX study_by_patient_ideographic ON study (patient_ideographic)",
    "CREATE INDEX study_by_patient_phonetic ON study (patient_phonetic)",
    "CREATE INDEX study_by_patient_id ON study (patient_id)",
    "CREATE INDEX study_by_accession ON study (accession)",
    "CREATE INDEX series_by_study ON series (study_id, number, series_id)",
    "CREATE INDEX series_by_uid ON series (uid)",
    "CREATE INDEX series_by_modality ON series (modality, study_id)",
    "CREATE INDEX instance_by_series ON instance (series_id, shown, number, spool_id)",
    "CREATE INDEX instance_by_uid ON instance (uid, spool_id)",
    "CREATE INDEX request_by_series ON request (series_id)",
    "CREATE INDEX request_by_step ON request (step_id)",
    "CREATE INDEX request_by_procedure ON request (procedure_id)",
)


def prepare(file: Path) -> bool:
    """Have a sound index of this version at ``file``; True where it was made anew.

    Blocks. Raises OSError and sqlite3.Error where the disk refuses.
    """
    if file.exists():
        reason = _unusable(file)
        if not reason:
            return False
        telemetry.note("the index is made anew", index=str(file), reason=reason)
    remove(file)
    os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
    with closing(connect(file, "rw")) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("BEGIN IMMEDIATE")
        for statement in _TABLES:
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {_APPLICATION}")
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    return True


def remove(file: Path) -> None:
    """Delete an index with its log."""
    for suffix in ("", "-wal", "-shm"):
        with suppress(FileNotFoundError):
            file.with_name(file.name + suffix).unlink()


def connect(file: Path, mode: str) -> sqlite3.Connection:
    """A connection in autocommit mode; ``mode`` is "rw" or "ro". Raises sqlite3.Error."""
    connection = sqlite3.connect(
        f"{file.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=10,
        isolation_level=None,
        check_same_thread=False,
    )
    connection.execute("PRAGMA synchronous = NORMAL")
    return connection


def is_damage(error: sqlite3.Error) -> bool:
    """Whether the database itself is what is wrong, and not the disk or a lock."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _unusable(file: Path) -> str:
    """Why an existing file cannot serve; "" where it can."""
    try:
        with closing(connect(file, "rw")) as connection:
            (application,) = connection.execute("PRAGMA application_id").fetchone()
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if (application, version) != (_APPLICATION, VERSION):
                return f"it is of version {version}, this gateway writes {VERSION}"
            for table in ("study", "series", "instance", "request"):
                connection.execute(f"SELECT * FROM {table} LIMIT 1").fetchall()  # noqa: S608
    except sqlite3.DatabaseError as error:
        if not is_damage(error) and error.sqlite_errorcode != sqlite3.SQLITE_ERROR:
            raise
        return f"it is damaged: {error}"
    return ""
