"""The index's database as threads use it: one writes, a few read.

A database that turns out to be damaged is deleted and begun anew; what it held is found again by
comparing it with the ledger, page by page.
"""

import errno
import sqlite3
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final, TypeAlias, TypeVar

from gateway import telemetry
from gateway.dataset.json_model import JsonModel
from gateway.failures import TemporaryFailure
from gateway.index.entry import Entry, Reception, entry_of, read_entry
from gateway.index.schema import connect, is_damage, prepare, remove
from gateway.index.write import add, forget
from gateway.model import UID

T = TypeVar("T")

PAGE: Final = 256
"""Rows that are compared, read or forgotten at once."""

Counts: TypeAlias = dict[tuple[str, tuple[str | int, ...]], int]
"""How many rows were counted, by SQL and its parameters."""

# The ledger's table ``instance``, as far as it has to be known here.
_MISSING: Final = (
    "SELECT spool_id, sop_instance_uid, sop_class_uid, "
    "CASE WHEN mislabelled THEN '1.2.840.10008.1.2.1' ELSE transfer_syntax END, "
    "study_uid, series_uid FROM ledger.instance l "
    "WHERE spool_id > ? AND NOT EXISTS (SELECT 1 FROM main.instance i "
    "WHERE i.spool_id = l.spool_id AND i.uid = l.sop_instance_uid) ORDER BY spool_id LIMIT ?"
)
_GONE: Final = (
    "SELECT spool_id FROM main.instance i WHERE spool_id > ? AND NOT EXISTS "
    "(SELECT 1 FROM ledger.instance l WHERE l.spool_id = i.spool_id "
    "AND l.sop_instance_uid = i.uid) ORDER BY spool_id LIMIT ?"
)
_ONE: Final = (
    "SELECT i.spool_id, i.uid, i.sop_class, i.transfer_syntax, st.uid, se.uid FROM instance i "
    "JOIN series se ON se.series_id = i.series_id JOIN study st ON st.study_id = se.study_id "
    "WHERE i.spool_id = ?"
)

_LATEST: Final = (
    "SELECT spool_id FROM instance l WHERE (:study = study_uid AND :series IN ('', series_uid) "
    "AND series_uid <> '') AND NOT EXISTS "
    "(SELECT 1 FROM instance n WHERE n.sop_instance_uid = l.sop_instance_uid "
    "AND n.spool_id > l.spool_id) ORDER BY series_uid, spool_id"
)


class Store:
    """The database at ``file``, derived from the ledger and the files that ``file_of`` names.

    ``counts`` are those since the last change: whoever counts takes it before looking, and a
    change begins another one, so that no count outlives what it counted.
    """

    def __init__(self, file: Path, ledger: Path, file_of: Callable[[int], Path]) -> None:
        self.file, self._ledger, self.file_of = file, ledger, file_of
        self.model = JsonModel()
        self.counts: Counts = {}
        self._idle: SimpleQueue[sqlite3.Connection] = SimpleQueue()
        self._connection: sqlite3.Connection | None = None

    def prepare(self) -> sqlite3.Connection:
        """The connection that writes, to a database that is made where there is none.

        For one thread at a time. Raises OSError, sqlite3.Error where the disk refuses.
        """
        if self._connection is None:
            prepare(self.file)
            self._connection = connect(self.file, "rw")
        return self._connection

    def add(self, receptions: Sequence[Reception]) -> None:
        """Read the headers of instances and put them in. Raises TemporaryFailure."""
        self._write(lambda connection: self._add(connection, receptions))

    def forget(self, spool_ids: Sequence[int]) -> int:
        """Take instances out. Raises TemporaryFailure."""
        return self._write(lambda connection: forget(connection, spool_ids, self._read_again))

    def forget_strangers(self, after: int) -> tuple[int, int]:
        """Take out a page of what the ledger does not know: (last id looked at, how many).

        The first is 0 at the end. Raises TemporaryFailure.
        """
        with self._beside_the_ledger() as connection:
            rows = connection.execute(_GONE, (after, PAGE)).fetchall()
        ids = [spool_id for (spool_id,) in rows]
        return (ids[-1], self.forget(ids)) if ids else (0, 0)

    def add_missing(self, after: int) -> int:
        """Put in a page of what only the ledger has; the last id looked at, 0 at the end.

        Raises TemporaryFailure.
        """
        with self._beside_the_ledger() as connection:
            rows = connection.execute(_MISSING, (after, PAGE)).fetchall()
        if rows:
            self.add([Reception(*row) for row in rows])
        return rows[-1][0] if rows else 0

    def count_missing(self) -> int:
        """How many instances only the ledger has."""
        query = f"SELECT count(*) FROM ({_MISSING})"  # noqa: S608
        with self._beside_the_ledger() as connection:
            (count,) = connection.execute(query, (0, -1)).fetchone()
        return int(count)

    def ask(self, question: Callable[..., T], *facts: Any) -> T:
        """``question(connection, *facts)`` with a reading connection. Raises TemporaryFailure."""
        idle = self._idle
        try:
            connection = self._reader(idle)
        except sqlite3.Error as error:
            raise self._failed(error, "read") from error
        try:
            answer = question(connection, *facts)
        except sqlite3.Error as error:
            connection.close()
            raise self._failed(error, "read") from error
        if idle is self._idle:
            idle.put(connection)
        else:  # the database was made anew meanwhile
            connection.close()
        return answer

    def _reader(self, idle: SimpleQueue[sqlite3.Connection]) -> sqlite3.Connection:
        try:
            return idle.get_nowait()
        except Empty:
            return connect(self.file, "ro")

    def in_ledger(self, study: UID, series: UID) -> "array[int]":
        """As the index would find them, by series and arrival: for when it cannot be trusted.

        Raises TemporaryFailure.
        """
        uri = f"{self._ledger.absolute().as_uri()}?mode=ro"
        try:
            with closing(sqlite3.connect(uri, uri=True)) as connection:
                rows = connection.execute(_LATEST, {"study": study, "series": series})
                return array("q", (spool_id for (spool_id,) in rows))
        except sqlite3.Error as error:
            raise TemporaryFailure(f"the ledger cannot be read: {error}") from error

    def close(self) -> None:
        """Close all connections; nothing may be under way."""
        self._let_readers_go()
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    def begin_anew(self, reason: str) -> None:
        """Delete the database and make an empty one. Raises OSError, sqlite3.Error."""
        telemetry.alarm("the index is made anew", index=str(self.file), reason=reason)
        self.close()
        remove(self.file)
        self.counts = {}
        self.prepare()

    def _write(self, change: Callable[[sqlite3.Connection], T]) -> T:
        try:
            connection = self.prepare()
        except (sqlite3.Error, OSError) as error:
            raise self._failed(error) from error
        try:
            connection.execute("BEGIN IMMEDIATE")
            result = change(connection)
            connection.execute("COMMIT")
            self.counts = {}
        except (sqlite3.Error, OSError) as error:
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise self._failed(error) from error
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        return result

    def _failed(self, error: Exception, done: str = "written") -> TemporaryFailure:
        if isinstance(error, sqlite3.Error) and is_damage(error):
            return DamagedIndex(f"the index {self.file} is damaged: {error}")
        return TemporaryFailure(f"the index {self.file} cannot be {done}: {error}")

    @contextmanager
    def _beside_the_ledger(self) -> Iterator[sqlite3.Connection]:
        """A connection that sees both databases, and writes neither."""
        try:
            self.prepare()
            with closing(connect(self.file, "ro")) as connection:
                ledger = f"{self._ledger.absolute().as_uri()}?mode=ro"
                connection.execute("ATTACH ? AS ledger", (ledger,))
                yield connection
        except (sqlite3.Error, OSError) as error:
            raise self._failed(error) from error

    def _add(self, connection: sqlite3.Connection, receptions: Sequence[Reception]) -> None:
        entries = map(self._read, receptions)
        add(connection, (entry for entry in entries if entry is not None), self._read_again)

    def _read(self, reception: Reception) -> Entry | None:
        """What no reader foresaw of one instance must not keep all others from being found."""
        try:
            return read_entry(self.model, reception, self.file_of(reception.spool_id))
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            telemetry.alarm(
                "an instance is indexed by its UIDs alone",
                instance=reception.uid,
                spool_id=reception.spool_id,
                reason=str(error),
            )
            return entry_of(reception, {})
        except Exception as error:  # noqa: BLE001 - known by its UIDs alone it does no harm
            telemetry.bug(f"the header of spool id {reception.spool_id} cannot be indexed", error)
            return entry_of(reception, {})

    def _read_again(self, spool_id: int) -> Entry | None:
        row = self.prepare().execute(_ONE, (spool_id,)).fetchone()
        try:
            return self._read(Reception(*row)) if row else None
        except OSError:
            return None

    def _let_readers_go(self) -> None:
        """Close those that are idle; those in use are closed when they are done."""
        idle, self._idle = self._idle, SimpleQueue()
        with suppress(Empty):
            while True:
                idle.get_nowait().close()


class DamagedIndex(TemporaryFailure):
    """The database has to be made anew."""
