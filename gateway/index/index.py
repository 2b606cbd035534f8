"""The index: what is kept, findable; told of new instances at once, at work on them when asked.

It is derived from the spool: it is not synced for each instance, and one that is missing, damaged
or of another version is made anew from the files. Indexing never stands in the way of taking in:
what came is noted in memory, read and written in batches by a thread of its own, at the latest
when somebody queries. What was not written when the gateway ended is found by ``reconcile``.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from gateway import telemetry
from gateway.dataset.heads import MalformedDataSet
from gateway.dataset.json_model import JsonModel
from gateway.dicomweb.query import Query
from gateway.failures import TemporaryFailure
from gateway.index import schema, writer
from gateway.index.attributes import Level
from gateway.index.record import Record, header_of, record_of
from gateway.index.search import Found, search
from gateway.model import UID, Instance

T = TypeVar("T")

BATCH: Final = 500
"""Instances in one transaction."""
REST: Final = timedelta(seconds=1)
"""How long new instances wait for company, unless somebody asks."""


class Index:
    """What is kept by study, series and instance. Failures are TemporaryFailure."""

    def __init__(self, folder: Path, file_of: Callable[[int], Path]) -> None:
        """Use ``Index.open``."""
        self._file_of = file_of
        self._waiting: list[Instance] = []
        self._gone: list[int] = []
        self._writing = asyncio.Lock()
        self._model = JsonModel()
        self._query_model = JsonModel()
        self._write_connection = schema.connect(folder)
        self._read_connection = schema.connect(folder, "ro")
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="index-write")
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="index-read")

    @classmethod
    def open(cls, folder: Path, file_of: Callable[[int], Path]) -> Self:
        """Open the index in the spool's ``folder``, or begin a new one. Blocks.

        ``file_of`` says where the file of a spool id is. Raises TemporaryFailure.
        """
        try:
            if not schema.is_sound(folder):
                if (folder / schema.INDEX).exists():
                    telemetry.alarm("the index is made anew", index=str(folder / schema.INDEX))
                schema.make(folder)
            return cls(folder, file_of)
        except (OSError, sqlite3.Error) as error:
            raise TemporaryFailure(f"cannot open {folder / schema.INDEX}: {error}") from error

    def kept(self, instance: Instance) -> None:
        """Note an instance that has become durable."""
        self._waiting.append(instance)

    def removed(self, spool_ids: Sequence[int]) -> None:
        """Note instances that are gone from the spool."""
        self._gone += spool_ids

    async def run(self, held: AsyncIterator[Sequence[Instance]]) -> None:
        """Agree with what is ``held``, then index what comes, in batches, until cancelled."""
        added, removed = await self.reconcile(held)
        if added or removed:
            telemetry.note("the index was behind the spool", added=added, removed=removed)
        while True:
            await asyncio.sleep(REST.total_seconds())
            try:
                await self.caught_up()
            except TemporaryFailure as failure:
                telemetry.alarm("cannot index what is kept", reason=str(failure))

    async def caught_up(self) -> None:
        """Return when all that was kept before can be found."""
        if not self._waiting and not self._gone and not self._writing.locked():
            return
        async with self._writing:
            while batch := self._waiting[:BATCH]:
                await self._write(self._index, batch)
                del self._waiting[: len(batch)]
            while gone := self._gone[:BATCH]:
                await self._write(writer.remove, self._write_connection, gone)
                del self._gone[: len(gone)]

    async def reconcile(self, held: AsyncIterator[Sequence[Instance]]) -> tuple[int, int]:
        """Make the index agree with what is held, given in ascending order of spool ids.

        Returns how many instances were added, and how many removed.
        """
        added = removed = last = 0
        async for instances in held:
            ids = {instance.spool_id for instance in instances}
            end = max(ids)
            known = await self._write(_ids_between, self._write_connection, last, end)
            missing = [each for each in instances if each.spool_id not in known]
            for start in range(0, len(missing), BATCH):
                async with self._writing:
                    await self._write(self._index, missing[start : start + BATCH])
            gone = sorted(known - ids)
            self.removed(gone)
            await self.caught_up()
            added, removed, last = added + len(missing), removed + len(gone), end
        return added, removed

    async def spool_ids(self, study: UID, series: UID = "", instance: UID = "") -> list[int]:
        """Those of a study, of a series, or the one; by series, number, and arrival."""
        await self.caught_up()
        return await self._read(_spool_ids, study, series, instance)

    async def search(self, level: Level, query: Query) -> Found:
        """The studies, series or instances that fit. Raises BadQuery where it is too wide."""
        await self.caught_up()
        return await self._read(search, level, query, self._header)

    async def headers(self, spool_ids: Sequence[int]) -> list[Mapping[int, str]]:
        """All attributes of instances as DICOM JSON by tag, without long values."""
        return await self._read(lambda _, ids: [self._header(each) for each in ids], spool_ids)

    async def aclose(self) -> None:
        """Write what waits, and close."""
        try:
            await self.caught_up()
        except TemporaryFailure as failure:
            telemetry.alarm("the index was left behind", reason=str(failure))
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._writer.shutdown(wait=True)
        self._reader.shutdown(wait=True)
        self._write_connection.close()
        self._read_connection.close()

    def _index(self, instances: Sequence[Instance]) -> None:
        records: list[Record] = []
        for instance in instances:
            try:
                records.append(record_of(instance, self._model))
            except FileNotFoundError:
                continue  # retention was faster
            except Exception as error:  # noqa: BLE001 - one odd header must not stop the others
                uid = instance.sop_instance_uid
                telemetry.bug(f"instance {uid} could not be indexed", error)
        writer.write(self._write_connection, records)

    def _header(self, spool_id: int) -> Mapping[int, str]:
        try:
            return header_of(self._file_of(spool_id), self._query_model, None)
        except (OSError, MalformedDataSet):
            return {}

    async def _write(self, work: Callable[..., T], *facts: Any) -> T:
        return await _in(self._writer, work, *facts)

    async def _read(self, question: Callable[..., T], *facts: Any) -> T:
        return await _in(self._reader, question, self._read_connection, *facts)


async def _in(thread: ThreadPoolExecutor, work: Callable[..., T], *facts: Any) -> T:
    try:
        return await asyncio.get_running_loop().run_in_executor(thread, work, *facts)
    except (sqlite3.Error, OSError) as error:
        raise TemporaryFailure(f"the index cannot be used: {error}") from error


def _ids_between(connection: sqlite3.Connection, after: int, end: int) -> set[int]:
    """The spool ids in (after, end] that are indexed."""
    query = "SELECT key FROM instance WHERE key > ? AND key <= ?"
    return {row[0] for row in connection.execute(query, (after, end))}


def _spool_ids(
    connection: sqlite3.Connection, study: UID, series: UID, instance: UID
) -> list[int]:
    clauses, values = ["st.uid = ?", "i.current"], [study]
    for clause, uid in (("se.uid = ?", series), ("i.uid = ?", instance)):
        if uid:
            clauses.append(clause)
            values.append(uid)
    statement = (
        "SELECT i.key FROM study st JOIN series se ON se.study = st.key "  # noqa: S608 - constants
        f"JOIN instance i ON i.series = se.key WHERE {' AND '.join(clauses)} "
        "ORDER BY CAST(se.number AS INTEGER), se.key, CAST(i.number AS INTEGER), i.key"
    )
    return [row[0] for row in connection.execute(statement, values)]
