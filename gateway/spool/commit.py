"""The committer: one thread that makes instances durable, many at a time.

Whatever waits when the thread is free forms one batch. The steps and their order are the package's
correctness argument (see ``gateway.spool``); each step passes on only what has survived it.
"""

import asyncio
import os
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Final

from gateway import telemetry
from gateway.failures import Failure, TemporaryFailure
from gateway.model import Owed
from gateway.spool.disk import Disk, describe, sync_folder
from gateway.spool.files import Part
from gateway.spool.ledger import Ledger, Step
from gateway.spool.rows import Values

_MOST: Final = 256
"""The longest batch, so that nobody's answer waits for more than these."""

_LARGE: Final = 4 << 20
"""Files from this size on are synced before they queue, so that small ones need not wait."""

_SYNC_THREADS: Final = 4
_MOST_RIDERS: Final = 1024
"""Steps nobody waits for that wait for a transaction: where all is read and nothing comes in."""
_TRIES: Final = 100
"""Transactions that a step nobody waits for may fail with."""


class _Request:
    """One thing to do, and the future of whoever waits for it on a running event loop.

    ``done`` is called there once it is done, whether or not somebody still waits.
    """

    __slots__ = ("done", "failure", "future", "loop", "result")

    def __init__(self, done: Callable[[], None] | None = None) -> None:
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[int] = self.loop.create_future()
        self.result = 0
        self.failure: Failure | None = None
        self.done = done

    def resolve(self) -> None:
        """On the loop: hand over what came out, unless nobody waits any more."""
        if self.failure is None and self.done is not None:
            self.done()
        if self.future.done():
            return
        if self.failure is None:
            self.future.set_result(self.result)
        else:
            self.future.set_exception(self.failure)


class _Keep(_Request):
    """An instance to be kept: its open part, the name it gets, and its rows."""

    __slots__ = ("descriptor", "file", "folder", "owed", "part", "synced", "values")

    def __init__(
        self,
        part: Part,
        file: str,
        values: Values,
        owed: Sequence[Owed],
        done: Callable[[], None] | None,
    ) -> None:
        super().__init__(done)
        self.descriptor = part.hand_over()
        self.part = os.fspath(part.path)
        self.file = file
        self.folder = file.rpartition("/")[0]
        self.values = values
        self.owed = owed
        self.synced = False

    def close(self) -> None:
        """Close the part's descriptor, once. Raises OSError."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def give_up(self, failure: Failure) -> None:
        """Not kept: delete the file, by whichever name it has come to."""
        self.failure = failure
        with suppress(OSError):
            self.close()
        for name in (self.part, self.file):
            _remove(name)


class _Change(_Request):
    """A step that only touches the ledger."""

    __slots__ = ("step",)

    def __init__(self, step: Step, done: Callable[[], None] | None = None) -> None:
        super().__init__(done)
        self.step = step


class _Rider(_Change):
    """A step that nobody waits for: it goes with the next transaction, and starts none."""

    __slots__ = ("tries",)

    def __init__(self, step: Step) -> None:
        super().__init__(step)
        self.tries = 0

    def resolve(self) -> None:
        """On the loop: nobody waits."""


class _Probe(_Request):
    """Find out whether the disk can be believed; the result is 1 or 0."""

    __slots__ = ()


class Committer:
    """Runs the durable order in its own thread, from ``start`` until ``close``."""

    def __init__(self, ledger: Ledger, disk: Disk) -> None:
        self._ledger = ledger
        self._disk = disk
        self._waiting: SimpleQueue[_Request | None] = SimpleQueue()
        self._syncers = ThreadPoolExecutor(_SYNC_THREADS, thread_name_prefix="spool-sync")
        self._thread = threading.Thread(target=self._run, name="spool-commit", daemon=True)
        self._closed = False
        self._probing: asyncio.Future[int] | None = None
        self._doubtful: list[str] = []
        self._riders: deque[_Rider] = deque()

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def check_open(self) -> None:
        """Raise TemporaryFailure once ``close`` was called."""
        if self._closed:
            raise TemporaryFailure("the spool is closed: the gateway is stopping")

    def keep(
        self,
        part: Part,
        file: str,
        values: Values,
        owed: Sequence[Owed],
        done: Callable[[], None] | None = None,
    ) -> asyncio.Future[int]:
        """Make a part durable under the name ``file``, with its rows. Consumes the part.

        ``done`` is called on the loop once it is, also where nobody waits for it any more.
        """
        self.check_open()
        request = _Keep(part, file, values, owed, done)
        if part.size >= _LARGE:
            self._syncers.submit(self._sync_then_queue, request)
        else:
            self._waiting.put(request)
        return request.future

    def change(self, step: Step, done: Callable[[], None] | None = None) -> asyncio.Future[int]:
        """Do a step in the next transaction; the future has the number of rows changed.

        ``done`` as in ``keep``.
        """
        self.check_open()
        request = _Change(step, done)
        self._waiting.put(request)
        return request.future

    def ride(self, step: Step) -> None:
        """Have a step done in whatever transaction comes next, at the latest that of ``close``.

        One is begun for so many that wait that they would fill the memory.
        """
        self.check_open()
        self._riders.append(_Rider(step))
        if len(self._riders) % _MOST_RIDERS == 0:
            self._waiting.put(_Change(lambda _: 0))

    def probe(self) -> asyncio.Future[int]:
        """Ask whether the disk can be believed; those who ask meanwhile share the answer."""
        self.check_open()
        if self._probing is None or self._probing.done():
            request = _Probe()
            self._probing = request.future
            self._waiting.put(request)
        return self._probing

    def close(self) -> None:
        """Finish what waits, then end the thread. Blocks."""
        self._closed = True
        self._syncers.shutdown(wait=True)
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        syncers = ThreadPoolExecutor(_SYNC_THREADS, thread_name_prefix="spool-sync-batch")
        with syncers:
            more = True
            while more:
                batch, more = self._take()
                batch += self._taken_along()
                try:
                    self._commit(batch, syncers)
                except Exception as error:  # noqa: BLE001 - this thread must outlive any bug
                    telemetry.bug("the committer failed", error)
                    _fail(batch, TemporaryFailure(f"the spool failed: {error!r}"))
                self._keep_riders(batch)
                _answer(batch)

    def _taken_along(self) -> list[_Request]:
        riders: list[_Request] = []
        while self._riders:
            riders.append(self._riders.popleft())
        return riders

    def _keep_riders(self, batch: Sequence[_Request]) -> None:
        """Those whose transaction failed try the next ones; one that never can is let go."""
        for rider in batch:
            if not isinstance(rider, _Rider) or rider.failure is None:
                continue
            rider.tries += 1
            if rider.tries < _TRIES:
                self._riders.append(rider)
            else:
                telemetry.alarm("passport not written", reason=str(rider.failure))
            rider.failure = None

    def _take(self) -> tuple[list[_Request], bool]:
        batch: list[_Request] = []
        first = self._waiting.get()
        while first is not None:
            batch.append(first)
            if len(batch) == _MOST:
                return batch, True
            try:
                first = self._waiting.get_nowait()
            except Empty:
                return batch, True
        return batch, False

    def _commit(self, batch: Sequence[_Request], syncers: ThreadPoolExecutor) -> None:
        keeps = [request for request in batch if isinstance(request, _Keep)]
        self._probe_where_asked(batch)
        self._give_up_unless_sound(keeps)
        self._sync_files(keeps, syncers)
        self._give_up_unless_sound(keeps)
        for keep in keeps:
            self._name_file(keep)
        for folder in {keep.folder for keep in keeps if keep.failure is None}:
            self._sync_folder(folder, keeps)
        self._give_up_unless_sound(keeps)
        self._write_ledger([r for r in batch if r.failure is None and not isinstance(r, _Probe)])

    def _probe_where_asked(self, batch: Sequence[_Request]) -> None:
        asked = [request for request in batch if isinstance(request, _Probe)]
        sound = bool(asked) and self._disk.probe()
        for probe in asked:
            probe.result = int(sound)

    def _give_up_unless_sound(self, keeps: Sequence[_Keep]) -> None:
        """After any failure nothing goes on before a probe has succeeded."""
        if not keeps or not self._disk.broken or self._disk.probe():
            return
        for keep in keeps:
            if keep.failure is None:
                keep.give_up(TemporaryFailure(f"the spool's disk has failed: {self._disk.broken}"))

    def _sync_files(self, keeps: Sequence[_Keep], syncers: ThreadPoolExecutor) -> None:
        if len(keeps) == 1:
            self._sync_file(keeps[0])
        elif keeps:
            list(syncers.map(self._sync_file, keeps))

    def _sync_then_queue(self, request: _Keep) -> None:
        self._sync_file(request)
        request.synced = True
        self._waiting.put(request)

    def _sync_file(self, keep: _Keep) -> None:
        if keep.synced or keep.failure is not None:
            return
        try:
            os.fdatasync(keep.descriptor)
        except OSError as error:
            keep.give_up(self._disk.failed("sync", keep.part, error))

    def _name_file(self, keep: _Keep) -> None:
        if keep.failure is not None:
            return
        try:
            keep.close()
            os.rename(keep.part, keep.file)  # noqa: PTH104 - texts, on the way to every answer
        except OSError as error:
            keep.give_up(self._disk.failed("rename", keep.part, error))

    def _sync_folder(self, folder: str, keeps: Sequence[_Keep]) -> None:
        try:
            sync_folder(folder)
        except OSError as error:
            failure = self._disk.failed("sync", folder, error)
            for keep in keeps:
                if keep.failure is None and keep.folder == folder:
                    keep.give_up(failure)

    def _write_ledger(self, requests: Sequence[_Request]) -> None:
        if not requests:
            return
        try:
            results = self._ledger.run([self._step_of(request) for request in requests])
        except sqlite3.OperationalError as error:
            self._ledger_failed(requests, error)
        except Exception as error:  # noqa: BLE001 - one row that cannot be written fails alone
            if len(requests) == 1:
                telemetry.bug("a row cannot be written", error)
                self._ledger_failed(requests, error)
            else:
                for request in requests:
                    self._write_ledger([request])
        else:
            for request, result in zip(requests, results, strict=True):
                request.result = result
            self._remove_doubtful()

    def _step_of(self, request: _Request) -> Step:
        if isinstance(request, _Keep):
            keep = request
            return lambda connection: self._ledger.keep(connection, keep.values, keep.owed)
        assert isinstance(request, _Change)  # noqa: S101 - probes never come here
        return request.step

    def _ledger_failed(self, requests: Sequence[_Request], error: Exception) -> None:
        reason = f"cannot write the ledger: {_describe(error)}"
        if not _is_busy(error):
            self._disk.distrust(reason)
        _fail(requests, TemporaryFailure(reason))
        self._doubtful += [request.file for request in requests if isinstance(request, _Keep)]

    def _remove_doubtful(self) -> None:
        """A later transaction has overwritten the frames of the one that failed."""
        for file in self._doubtful:
            _remove(file)
        self._doubtful.clear()


def _fail(requests: Sequence[_Request], failure: Failure) -> None:
    for request in requests:
        if request.failure is None:
            request.failure = failure


def _answer(batch: Sequence[_Request]) -> None:
    """Wake each event loop once."""
    for loop in {request.loop for request in batch}:
        mine = [request for request in batch if request.loop is loop]
        with suppress(RuntimeError):  # the loop is closed: nobody waits
            loop.call_soon_threadsafe(_resolve, mine)


def _resolve(requests: Sequence[_Request]) -> None:
    for request in requests:
        request.resolve()


def _remove(file: str) -> None:
    with suppress(OSError):
        os.unlink(file)  # noqa: PTH108 - a text, as everywhere in this module


def _is_busy(error: Exception) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
    )


def _describe(error: Exception) -> str:
    if isinstance(error, OSError):
        return describe(error)
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    return f"{error} ({name})"
