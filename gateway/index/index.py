"""The index: what is held, by study, series and instance, for searches and retrieval.

It is derived from the ledger and the files, and never in the way of receiving: ``kept`` takes a
note, the rest happens in a thread once arrivals pause, unless somebody waits for it. After a
crash, and where the database was lost, ``reconcile`` finds what is missing.
"""

import asyncio
import sqlite3
from array import array
from collections import Counter, deque
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from gateway import telemetry
from gateway.dataset.json_model import JsonModel
from gateway.dicomweb.query import Level, Query
from gateway.failures import TemporaryFailure
from gateway.index import answer
from gateway.index.answer import Asked, Page
from gateway.index.entry import Reception, reception_of
from gateway.index.find import Maker, found_at_once, ids_of
from gateway.index.results import Answer, TooBroad
from gateway.index.sample import sample
from gateway.index.schema import INDEX
from gateway.index.select import Selection, selection
from gateway.index.store import PAGE, DamagedIndex, Store
from gateway.model import UID, Instance

T = TypeVar("T")

_READERS: Final = 3
_PAUSE: Final = 1.0
"""Seconds without arrivals before a batch that nobody waits for."""
_MOST_PAUSES: Final = 5
"""How often a batch waits for what is still coming in."""
_AFTER_FAILURE: Final = 10.0
"""Seconds until what has failed is tried again, unless somebody asks."""
_MOST_WAITING: Final = 20_000
"""Notes that are held; beyond it the ledger is asked what is missing."""
_PATIENCE: Final = 5.0
"""Seconds that a search waits for an index that is being made anew."""
_MOST_MISSING: Final = 2_000
"""Instances that a retrieval waits for to be indexed; with more the ledger is the quicker one."""
_FILES: Final = 3000
"""Headers that are read for one search at most."""
_FILES_AT_ONCE: Final = 50
_BEHIND: Final = "the index cannot be written at present: what was received lately may be missing"
_RESULTS_AT_ONCE: Final = 500


class _BeingMade(TemporaryFailure):
    """The index misses so much that searches would mislead."""


class Index:
    """All instances that are held. Everything is called from one event loop.

    Failures are TemporaryFailure unless said otherwise.
    """

    def __init__(self, store: Store) -> None:
        """Use ``Index.open``."""
        self._store = store
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="index-write")
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="index-read")
        self._lock = asyncio.Lock()
        self._waiting: deque[Reception] = deque()
        self._waiting_of: Counter[UID] = Counter()
        self._gone: list[int] = []
        self._something = asyncio.Event()
        self._arrived = self._done = 0
        self._compared = self._behind = False
        self._comparing = asyncio.Lock()
        self._after = 0
        self._missing = 0
        self._refusal, self._try_again = "", 0.0

    @classmethod
    def open(cls, folder: Path, *, ledger: Path, file_of: Callable[[int], Path]) -> Self:
        """Open or create the index in a spool's folder. Blocks.

        ``ledger`` is the spool's ledger, ``file_of`` names the file of a spool id. Where the disk
        refuses it is tried again later: what is received does not depend on it.
        """
        store = Store(folder / INDEX, ledger, file_of)
        try:
            store.prepare()
        except (OSError, sqlite3.Error) as error:
            telemetry.alarm("the index cannot be opened", folder=str(folder), reason=str(error))
        return cls(store)

    def kept(self, instance: Instance) -> None:
        """Take a note of an instance that has become durable."""
        if len(self._waiting) >= _MOST_WAITING:
            self._waiting.clear()
            self._waiting_of.clear()
            self._done = self._arrived
            self._compare()
        self._waiting.append(reception_of(instance))
        self._waiting_of[instance.study_uid] += 1
        self._arrived += 1
        self._something.set()

    async def run(self) -> None:
        """Agree with the ledger, then index what comes, gently, until cancelled."""
        try:
            await self._compare_once()
            await self._read(sample, "", "", 1)  # the first search finds a thread and a connection
        except TemporaryFailure as failure:
            self._stands(str(failure))
            self._something.set()
        while True:
            await self._something.wait()
            await self._round()

    async def _round(self) -> None:
        """After a pause in what comes, or a while, index what waits by then."""
        for _ in range(_MOST_PAUSES):
            wanted = self._arrived
            await asyncio.sleep(_PAUSE)
            if self._arrived == wanted:
                break
        wanted = self._arrived
        try:
            await self._compare_once()
            while self._done < wanted or self._gone or self._behind:
                await self._step()
            self._rest()
            self._stands("")
        except DamagedIndex:
            pass  # it is made anew
        except TemporaryFailure as failure:
            self._stands(str(failure))
            await asyncio.sleep(_AFTER_FAILURE)

    async def caught_up(self) -> str:
        """Wait until all that was kept before is indexed: "", or why it cannot be at present.

        Raises TemporaryFailure where the index is being made anew and that takes long.
        """
        if asyncio.get_running_loop().time() >= self._try_again:
            try:
                await self._catch_up()
                self._stands("")
            except (DamagedIndex, _BeingMade):
                raise
            except TemporaryFailure as failure:
                self._stands(str(failure))
        behind = self._waiting or self._gone or self._behind or not self._compared
        return self._refusal if behind else ""

    def _stands(self, refusal: str) -> None:
        """Remember and tell why the index cannot be written, "" where it can."""
        if refusal and not self._refusal:
            telemetry.alarm(
                "the index cannot be written: searches miss what is kept from now on",
                reason=refusal,
            )
        elif self._refusal and not refusal:
            telemetry.note("the index is written again")
        telemetry.INDEX_REFUSED.set(bool(refusal))
        self._refusal = refusal
        now = asyncio.get_running_loop().time()
        self._try_again = now + _AFTER_FAILURE if refusal else 0.0

    async def _catch_up(self) -> None:
        await self._compare_once()
        wanted, loop = self._arrived, asyncio.get_running_loop()
        end = loop.time() + _PATIENCE
        while self._done < wanted or self._gone or self._behind:
            await self._step()
            if loop.time() > end:
                raise _BeingMade(
                    f"the index is being made anew, {self._missing} instances are not in it yet: "
                    "ask again later"
                )

    async def _compare_once(self) -> None:
        """Know what is missing since the last run, before anybody is told that it is not held."""
        async with self._comparing:
            if not self._compared:
                await self.reconcile()
                self._compared = True

    def removed(self, spool_ids: Sequence[int]) -> None:
        """Take a note of instances that are gone from the ledger."""
        self._gone += spool_ids
        self._something.set()

    async def reconcile(self) -> None:
        """Compare with the ledger: what is gone is taken out, what is missing put in by ``run``.

        To be called at start, and whenever the ledger may have changed unseen.
        """
        removed = last = 0
        async with self._lock:
            while True:
                last, count = await self._in_writer(self._store.forget_strangers, last)
                removed += count
                if not last:
                    break
            missing = await self._in_writer(self._store.count_missing)
        if missing:
            self._compare(missing)
        if missing or removed:
            telemetry.note("the index is compared with the ledger", missing=missing, gone=removed)

    async def spool_ids(self, study: UID, series: UID = "") -> Sequence[int]:
        """Of a study or a series: the latest reception of each instance; none of "".

        Ordered by series, Instance Number, arrival. What the index cannot tell now, the ledger
        does: more slowly, and by arrival.
        """
        if not study:
            return ()
        query = Query().within(StudyInstanceUID=study, SeriesInstanceUID=series)
        with suppress(TemporaryFailure):
            if self._missing <= _MOST_MISSING and await self._knows(study):
                return await self._read(ids_of, selection(query, Level.INSTANCE), None, 0)
        loop, in_ledger = asyncio.get_running_loop(), self._store.in_ledger
        return await loop.run_in_executor(self._readers, in_ledger, study, series)

    async def _knows(self, study: UID) -> bool:
        """Wait until all of a study that was kept before is indexed; False where it cannot be."""
        agrees = self._compared and not self._gone and not self._behind
        return (agrees and study not in self._waiting_of) or not await self.caught_up()

    async def sample(self, study: UID, series: UID, most: int) -> Sequence[int]:
        """Some of what ``spool_ids`` gives: those in the middle of each series, which may stand
        for it; ``most`` in all, and one of each series at least.
        """
        with suppress(TemporaryFailure):
            if not await self.caught_up():
                return await self._read(sample, study, series, most)
        ids = await self.spool_ids(study, series)
        first = max(len(ids) - most, 0) // 2
        return ids[first : first + most]

    async def search(self, asked: Asked) -> Answer:
        """What matches a query. Raises TooBroad where it would take reading too many files.

        Where the index cannot be written, what was kept lately is missing, and the answer says so.
        """
        remarks = (_BEHIND,) if await self.caught_up() else ()
        query, found = asked.query, selection(asked.query, asked.level)
        make = self._maker(asked)
        if found.rest:
            ids, more = await self._by_files(found, query)
            matches, first = None if more else query.offset + len(ids), None
        else:  # in one turn of a thread: waiting for another may take longer than the search
            counts = self._store.counts
            ids, matches, first = await self._read(
                found_at_once, found, query, make, counts, _RESULTS_AT_ONCE
            )
            more = matches is None or query.offset + len(ids) < matches
        return Answer(self._pages(make, ids, first), len(ids), matches, more, remarks)

    async def aclose(self) -> None:
        """End what runs, and close."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._writer.shutdown(wait=True)
        self._readers.shutdown(wait=True)
        self._store.close()

    def _compare(self, missing: int = 0) -> None:
        self._behind, self._after, self._missing = True, 0, missing
        self._something.set()

    def _rest(self) -> None:
        if not self._waiting and not self._gone and not self._behind:
            self._something.clear()

    async def _step(self) -> None:
        """Index a batch of what waits, let go of what is gone, or look for what is missing.

        What is gone had come before: it is in, or was passed over since its file is gone too.
        """
        async with self._lock:
            if self._waiting:
                batch = list(islice(self._waiting, PAGE))
                await self._in_writer(self._store.add, batch)
                for one in batch:  # those that wait now may be others, where they were too many
                    if self._waiting and self._waiting[0] is one:
                        self._waiting.popleft()
                        self._done += 1
                        self._indexed(one.study)
            elif self._gone:
                some = self._gone[:PAGE]
                await self._in_writer(self._store.forget, some)
                del self._gone[: len(some)]
            elif self._behind:
                self._after = await self._in_writer(self._store.add_missing, self._after)
                self._missing = max(self._missing - PAGE, 0)
                self._behind = self._after > 0
                if not self._behind:
                    self._missing = 0

    def _indexed(self, study: UID) -> None:
        self._waiting_of[study] -= 1
        if not self._waiting_of[study]:
            del self._waiting_of[study]

    async def _in_writer(self, task: Callable[..., T], *facts: Any) -> T:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._writer, task, *facts)
        except DamagedIndex as failure:
            await self._begin_anew(str(failure))
            raise

    async def _read(self, question: Callable[..., T], *facts: Any) -> T:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._readers, self._store.ask, question, *facts)
        except DamagedIndex as failure:
            async with self._lock:
                await self._begin_anew(str(failure))
            raise

    async def _begin_anew(self, reason: str) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._writer, self._store.begin_anew, reason)
        except (OSError, sqlite3.Error) as error:
            raise TemporaryFailure(f"the index cannot be made anew: {error}") from error
        self._compare()

    async def _by_files(self, found: Selection, query: Query) -> tuple["array[int]", bool]:
        """The ids of what also matches in the headers, and whether there may be more."""
        candidates = await self._read(ids_of, found, _FILES + 1, 0)
        wanted = None if query.limit is None else query.offset + query.limit
        ids = array("q")
        for at in range(0, len(candidates), _FILES_AT_ONCE):
            if wanted is not None and len(ids) > wanted:
                break
            if at >= _FILES:
                raise TooBroad(
                    f"more than {_FILES} files would have to be read for this search: name also a "
                    "study, a patient or a range of dates, or set a limit"
                )
            some = candidates[at : at + _FILES_AT_ONCE]
            ids.extend(await self._read(self._matching, found, some))
        more = wanted is not None and len(ids) > wanted
        return ids[query.offset : wanted], more

    def _matching(
        self, connection: sqlite3.Connection, found: Selection, ids: "array[int]"
    ) -> list[int]:
        file_of = self._store.file_of
        return answer.matching(connection, JsonModel(), file_of, found.level, ids, found.rest)

    def _maker(self, asked: Asked) -> Maker:
        """What makes results of ids, each time by itself: memory does not grow with them."""
        model = JsonModel()

        def page(connection: sqlite3.Connection, ids: "array[int]") -> list[bytes]:
            return Page(connection, asked, self._store.file_of, model).results(ids)

        return page

    async def _pages(
        self, make: Maker, ids: "array[int]", first: list[bytes] | None
    ) -> AsyncGenerator[list[bytes], None]:
        """The results, the first of which may have been made already."""
        if first is not None:
            yield first
        for at in range(0 if first is None else _RESULTS_AT_ONCE, len(ids), _RESULTS_AT_ONCE):
            yield await self._read(make, ids[at : at + _RESULTS_AT_ONCE])
