"""What the rules have fetched, so that nothing is fetched again after retention removed it.

A small database beside the spool: by node and study (or series) how many instances the server had
when all of them were here, and their UIDs. What no search has shown for ``FORGET`` is dropped. If
the file is lost, the worst is that studies are fetched once more.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Self, TypeVar

from gateway import telemetry
from gateway.failures import TemporaryFailure
from gateway.model import UID
from gateway.retrieval import Scope

T = TypeVar("T")

FILE: Final = "fetched.sqlite3"
FORGET: Final = timedelta(days=30)
BELIEVED: Final = timedelta(hours=1)
"""How long an unchanged count stands for unchanged instances."""
_VERSION: Final = 1
_SCHEMA: Final = """
CREATE TABLE seen (
  node TEXT NOT NULL, study TEXT NOT NULL, series TEXT NOT NULL,
  count INTEGER, complete_at REAL NOT NULL, seen_at REAL NOT NULL,
  PRIMARY KEY (node, study, series)
) WITHOUT ROWID;
CREATE TABLE instance (
  node TEXT NOT NULL, study TEXT NOT NULL, sop TEXT NOT NULL,
  PRIMARY KEY (node, study, sop)
) WITHOUT ROWID;
"""


class Memory:
    """What was fetched from which node; failures are TemporaryFailure."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Use ``Memory.open``."""
        self._connection = connection
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="fetch-memory")

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open it in a folder, or begin anew where it is missing or damaged. Blocks."""
        path = folder / FILE
        try:
            try:
                return cls(_connect(path))
            except sqlite3.DatabaseError as error:
                telemetry.alarm(
                    "the memory of fetches begins anew", file=str(path), reason=str(error)
                )
                for name in (FILE, f"{FILE}-wal", f"{FILE}-shm"):
                    (folder / name).unlink(missing_ok=True)
                return cls(_connect(path))
        except (OSError, sqlite3.Error) as error:
            raise TemporaryFailure(f"cannot open {path}: {error}") from error

    async def due(
        self, node: str, found: Collection[tuple[Scope, int | None]], now: datetime
    ) -> list[tuple[Scope, int | None]]:
        """Those of what a search found whose instances have to be looked at.

        With each comes how many instances the server says there are, None where it does not.
        """
        return await self._do(lambda: self._due(node, found, now.timestamp()))

    async def instances(self, node: str, study: UID) -> set[UID]:
        """The SOP Instance UIDs that were here at some time."""
        query = "SELECT sop FROM instance WHERE node = ? AND study = ?"
        return await self._do(
            lambda: {row[0] for row in self._connection.execute(query, (node, study))}
        )

    async def remember(
        self,
        node: str,
        scope: Scope,
        instances: Iterable[UID],
        *,
        complete: int | None,
        now: datetime,
    ) -> None:
        """These instances have been here; ``complete`` is the count where it was all, or None."""
        rows = [(node, scope.study, sop) for sop in instances]

        moment = now.timestamp()
        seen = (node, scope.study, scope.series, complete, complete is not None, moment, moment)

        def write() -> None:
            self._connection.executemany("INSERT OR IGNORE INTO instance VALUES (?, ?, ?)", rows)
            self._connection.execute(
                "INSERT OR REPLACE INTO seen VALUES (?, ?, ?, ?, ? * ?, ?)", seen
            )

        await self._do(write)

    async def aclose(self) -> None:
        """Close the file."""
        await asyncio.to_thread(self._thread.shutdown)
        self._connection.close()

    def _due(
        self, node: str, found: Collection[tuple[Scope, int | None]], now: float
    ) -> list[tuple[Scope, int | None]]:
        due = []
        for scope, count in found:
            key = (node, scope.study, scope.series)
            row = self._connection.execute(
                "SELECT count, complete_at FROM seen WHERE node = ? AND study = ? AND series = ?",
                key,
            ).fetchone()
            fresh = row is not None and now - row[1] < BELIEVED.total_seconds()
            if count is None or not fresh or row[0] != count:
                due.append((scope, count))
            self._connection.execute(
                "UPDATE seen SET seen_at = ? WHERE node = ? AND study = ? AND series = ?",
                (now, *key),
            )
        self._forget(now)
        return due

    def _forget(self, now: float) -> None:
        before = now - FORGET.total_seconds()
        if self._connection.execute("DELETE FROM seen WHERE seen_at < ?", (before,)).rowcount:
            self._connection.execute(
                "DELETE FROM instance WHERE NOT EXISTS (SELECT 1 FROM seen WHERE "
                "seen.node = instance.node AND seen.study = instance.study)"
            )

    async def _do(self, work: Callable[[], T]) -> T:
        def within_a_transaction() -> T:
            with self._connection:
                return work()

        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._thread, within_a_transaction)
        except sqlite3.Error as error:
            raise TemporaryFailure(f"the memory of fetches cannot be used: {error}") from error


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, check_same_thread=False, timeout=10)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        with closing(connection.execute("PRAGMA user_version")) as cursor:
            version = cursor.fetchone()[0]
        if version != _VERSION:  # of another version, its tables are in the way: DatabaseError
            connection.executescript(f"BEGIN;{_SCHEMA}PRAGMA user_version = {_VERSION};COMMIT;")
        path.chmod(0o600)
    except BaseException:
        connection.close()
        raise
    return connection
