"""The ledger's tables, and how one version of them becomes the next.

Plain SQL, times as integer microseconds since 1970 in UTC. The version is SQLite's
``user_version``; every migration runs in one transaction, so a killed one has not happened.
"""

import os
import sqlite3
from pathlib import Path
from typing import Final

from gateway.failures import PermanentFailure

LEDGER: Final = "ledger.sqlite3"

_VERSION_1: Final = (
    """CREATE TABLE instance (
        spool_id         INTEGER NOT NULL PRIMARY KEY,
        sop_instance_uid TEXT NOT NULL,
        sop_class_uid    TEXT NOT NULL,
        transfer_syntax  TEXT NOT NULL,
        study_uid        TEXT NOT NULL,
        series_uid       TEXT NOT NULL,
        arrival          TEXT NOT NULL,
        calling          TEXT NOT NULL,
        called           TEXT NOT NULL,
        address          TEXT NOT NULL,
        size             BIGINT NOT NULL,
        received_at      BIGINT NOT NULL,
        header           TEXT NOT NULL)""",
    "CREATE INDEX instance_by_uid ON instance (sop_instance_uid)",
    """CREATE TABLE delivery (
        delivery_id     INTEGER NOT NULL PRIMARY KEY,
        spool_id        BIGINT NOT NULL REFERENCES instance (spool_id),
        destination     TEXT NOT NULL,
        route           TEXT NOT NULL,
        state           TEXT NOT NULL CHECK (state IN ('owed', 'held', 'delivered', 'dropped')),
        attempts        INTEGER NOT NULL DEFAULT 0,
        due_at          BIGINT NOT NULL,
        reason          TEXT NOT NULL DEFAULT '',
        transfer_syntax TEXT NOT NULL DEFAULT '',
        decoder         TEXT NOT NULL DEFAULT '',
        warning         TEXT NOT NULL DEFAULT '',
        settled_at      BIGINT,
        CHECK ((settled_at IS NULL) = (state IN ('owed', 'held'))))""",
    "CREATE INDEX delivery_by_instance ON delivery (spool_id)",
    # Serves due() in its order, and counts() without touching the table.
    """CREATE INDEX delivery_by_state
        ON delivery (state, destination, due_at, spool_id, attempts)""",
    # What retention has removed, so that the sums stay whole.
    """CREATE TABLE tally (
        destination TEXT NOT NULL PRIMARY KEY,
        delivered   BIGINT NOT NULL,
        dropped     BIGINT NOT NULL)""",
    # Numbers that must never be used again: next_spool_id, next_delivery_id.
    "CREATE TABLE meta (name TEXT NOT NULL PRIMARY KEY, value BIGINT NOT NULL)",
)

_LESS: Final = """UPDATE standing
        SET deliveries = deliveries - 1, tried = tried - (old.attempts > 0)
        WHERE destination = old.destination AND state = old.state;"""
_MORE: Final = """INSERT INTO standing (destination, state, deliveries, tried)
        VALUES (new.destination, new.state, 1, new.attempts > 0)
        ON CONFLICT (destination, state) DO UPDATE
        SET deliveries = deliveries + 1, tried = tried + excluded.tried;"""

# Sums that run along in the transaction of each change, whoever makes it, so that counts() need
# not look at every row.
_VERSION_2: Final = (
    """CREATE TABLE standing (
        destination TEXT NOT NULL,
        state       TEXT NOT NULL,
        deliveries  BIGINT NOT NULL,
        tried       BIGINT NOT NULL,
        PRIMARY KEY (destination, state)) WITHOUT ROWID""",
    """INSERT INTO standing (destination, state, deliveries, tried)
        SELECT destination, state, count(*), sum(attempts > 0)
        FROM delivery GROUP BY destination, state""",
    f"CREATE TRIGGER delivery_made AFTER INSERT ON delivery BEGIN {_MORE} END",
    "CREATE TRIGGER delivery_changed AFTER UPDATE OF state, attempts ON delivery "
    f"BEGIN {_LESS} {_MORE} END",
    f"CREATE TRIGGER delivery_gone AFTER DELETE ON delivery BEGIN {_LESS} END",
    "CREATE TABLE volume (instances BIGINT NOT NULL, size BIGINT NOT NULL)",
    "INSERT INTO volume SELECT count(*), coalesce(sum(size), 0) FROM instance",
    """CREATE TRIGGER instance_made AFTER INSERT ON instance BEGIN
        UPDATE volume SET instances = instances + 1, size = size + new.size; END""",
    """CREATE TRIGGER instance_gone AFTER DELETE ON instance BEGIN
        UPDATE volume SET instances = instances - 1, size = size - old.size; END""",
    # Serves the oldest that is owed.
    "CREATE INDEX delivery_owed ON delivery (destination, spool_id) WHERE state = 'owed'",
)

_VERSION_3: Final = (
    # How derived pixels were made, one row per instance and form; ``record`` is JSON.
    """CREATE TABLE passport (
        spool_id BIGINT NOT NULL REFERENCES instance (spool_id),
        form     TEXT NOT NULL,
        made_at  BIGINT NOT NULL,
        decoder  TEXT NOT NULL,
        verified TEXT NOT NULL,
        record   TEXT NOT NULL,
        PRIMARY KEY (spool_id, form))""",
    # Decodes that were under way when the gateway ended without a word.
    """CREATE TABLE interrupted (
        spool_id BIGINT NOT NULL REFERENCES instance (spool_id),
        form     TEXT NOT NULL,
        tries    INTEGER NOT NULL,
        PRIMARY KEY (spool_id, form))""",
)

_VERSION_4: Final = (
    "ALTER TABLE delivery ADD COLUMN priority INTEGER NOT NULL DEFAULT 0",
    # What is still being gathered; the delivery itself falls due at the deadline anyway.
    "ALTER TABLE delivery ADD COLUMN gathering BIGINT",
    "CREATE INDEX delivery_gathered ON delivery (gathering) WHERE gathering IS NOT NULL",
    # Serves due() in its order, one priority after the other.
    "DROP INDEX delivery_by_state",
    """CREATE INDEX delivery_by_state
        ON delivery (state, destination, priority, due_at, spool_id, attempts)""",
    # Series and studies that may not be complete: released when nothing came until ``due_at``.
    """CREATE TABLE gathering (
        gathering   INTEGER NOT NULL PRIMARY KEY,
        destination TEXT NOT NULL,
        route       TEXT NOT NULL,
        uid         TEXT NOT NULL,
        first_at    BIGINT NOT NULL,
        due_at      BIGINT NOT NULL,
        UNIQUE (destination, route, uid))""",
)

_VERSION_5: Final = (
    # Serves due() where a series or study is kept together.
    "CREATE INDEX instance_by_study ON instance (study_uid, series_uid)",
)

_VERSION_6: Final = (
    # 1 where Pixel Data is known not to be as the transfer syntax says; nobody has looked at what
    # came before.
    "ALTER TABLE instance ADD COLUMN mislabelled INTEGER NOT NULL DEFAULT 0",
)

_VERSION_7: Final = (
    # Of the stored file (``spool.digest``); NULL for what came before there was one.
    "ALTER TABLE instance ADD COLUMN digest BIGINT",
)

MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (
    _VERSION_1, _VERSION_2, _VERSION_3, _VERSION_4, _VERSION_5, _VERSION_6, _VERSION_7,
)  # fmt: skip
"""The statements that lead from version n to n + 1."""


def connect(ledger: Path, mode: str = "rw") -> sqlite3.Connection:
    """Open a ledger that exists; ``mode`` is "rw" or "ro". Raises sqlite3.Error.

    The connection is in autocommit mode: transactions are begun explicitly. It may be used from
    any one thread at a time.
    """
    connection = sqlite3.connect(
        f"{ledger.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=10,
        isolation_level=None,
        check_same_thread=False,
    )
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def is_new(root: Path) -> bool:
    """Whether no gateway has ever written a ledger under ``root``. Raises sqlite3.Error.

    A missing or empty file is not opened: SQLite would throw away the log that may lie beside it.
    """
    ledger = root / LEDGER
    if not ledger.is_file() or ledger.stat().st_size == 0:
        return True
    connection = connect(ledger)
    try:
        return _version(connection) == 0
    finally:
        connection.close()


def prepare(root: Path) -> None:
    """Create the ledger under ``root``, or bring it to the present version.

    Raises PermanentFailure when a newer gateway has written it, OSError and sqlite3.Error.
    """
    ledger = root / LEDGER
    os.close(os.open(ledger, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    connection = connect(ledger)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        if _version(connection) != len(MIGRATIONS):
            _migrate(connection, ledger)
    finally:
        connection.close()


def check_version(connection: sqlite3.Connection, ledger: Path) -> None:
    """Raise PermanentFailure unless the ledger has the version that this gateway knows."""
    version = _version(connection)
    if version > len(MIGRATIONS):
        raise PermanentFailure(
            f"{ledger} was written by a newer gateway (version {version}, this one knows "
            f"{len(MIGRATIONS)}): install that version again, or use another spool.path"
        )
    if version < len(MIGRATIONS):
        raise PermanentFailure(
            f"{ledger} has version {version}, this gateway knows {len(MIGRATIONS)}: start the "
            "gateway once, it brings the ledger up to date"
        )


def _migrate(connection: sqlite3.Connection, ledger: Path) -> None:
    connection.execute("BEGIN IMMEDIATE")
    for statements in MIGRATIONS[_version(connection) :]:
        for statement in statements:
            connection.execute(statement)
    if _version(connection) < len(MIGRATIONS):
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
    connection.execute("COMMIT")
    check_version(connection, ledger)


def _version(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version
