"""Worker processes for the event loop: each has one task at a time, and may die alone.

A worker is reached by a socket of its own: it reads a task, answers it, and ends when the socket
closes. The end of the socket, in turn, tells of the worker's.
"""

import asyncio
import pickle
import socket
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from struct import Struct
from traceback import format_exception
from typing import Any, Final

from gateway.failures import Failure

_HEAD: Final = Struct("!i")
"""What a ``Connection`` puts before a message of less than 2 GiB: its length."""
_SOON: Final = 5.0
"""Seconds in which a process that was killed is gone, or is left to the kernel."""


class Closed(Exception):
    """There are no workers any more."""


class NoWorker(Exception):
    """No worker can be started; the text says why."""


class Overdue(Exception):
    """A task took longer than it may; its worker was killed."""


class WorkerEnded(Exception):
    """The worker ended before its answer; the text says how."""


@dataclass(slots=True, eq=False)
class _Task:
    message: bytes
    seconds: float
    answer: asyncio.Future[Any]
    worker: "_Worker | None" = None


class Crew:
    """At most ``count`` processes, each replaced after ``tasks`` tasks; they come when needed.

    ``start`` begins one, whose main function is ``serve`` with the connection it is given.
    """

    def __init__(self, count: int, tasks: int, start: Callable[[Connection], BaseProcess]) -> None:
        self._count, self._tasks, self._start = count, tasks, start
        self._waiting: deque[_Task] = deque()
        self._workers: set[_Worker] = set()
        self._idle: list[_Worker] = []
        self._coming = 0
        self._beside: set[asyncio.Task[None]] = set()
        self._closed = False

    async def fill(self) -> None:
        """Have all workers there may be, with their libraries loaded."""
        self._call(self._count)
        while self._expected():
            await asyncio.wait(self._beside, return_when=asyncio.FIRST_COMPLETED)

    async def run(self, function: Callable[..., Any], *arguments: Any, seconds: float) -> Any:
        """What ``function`` gives, or raises, in a worker that has so many seconds for it.

        Raises Overdue, WorkerEnded, NoWorker, Closed. A worker whose caller is cancelled is
        killed before the caller goes on.
        """
        if self._closed:
            raise Closed
        future = asyncio.get_running_loop().create_future()
        task = _Task(pickle.dumps((function, arguments)), seconds, future)
        self._waiting.append(task)
        self._hand_out()
        try:
            return await future
        except asyncio.CancelledError:
            if task.worker is not None and task.worker.task is task:
                await task.worker.end()
            raise

    async def aclose(self) -> None:
        """Kill what runs, give up what waits: their callers meet Closed."""
        self._closed = True
        self._refuse(Closed())
        await asyncio.gather(*(worker.end() for worker in self._workers))
        while self._beside:
            await asyncio.wait(self._beside)

    def met(self, worker: "_Worker") -> None:
        """This worker has come; it is not ready yet."""
        self._coming -= 1
        self._workers.add(worker)

    def free(self, worker: "_Worker") -> None:
        """This worker has nothing to do."""
        if worker.done < self._tasks:
            self._idle.append(worker)
        else:
            self._workers.discard(worker)
            worker.dismiss()
        self._hand_out()

    def lost(self, worker: "_Worker") -> None:
        """This worker has ended."""
        self._workers.discard(worker)
        if worker in self._idle:
            self._idle.remove(worker)
        if worker.task is not None:
            self._do_beside(worker.bring_the_news(self._closed))
        if worker.ready.exception() is None:  # no other one is called for one that never was
            self._hand_out()

    def _hand_out(self) -> None:
        """Give idle workers what waits, and call more where there are too few."""
        while self._waiting and self._idle:
            if self._waiting[0].answer.done():
                self._waiting.popleft()
            elif (worker := self._idle.pop()).is_there():
                worker.do(self._waiting.popleft())
        self._call(len(self._waiting))

    def _call(self, wanted: int) -> None:
        """Have ``wanted`` workers on their way, if there is room for so many."""
        room = 0 if self._closed else self._count - len(self._workers) - self._coming
        for _ in range(min(room, wanted - self._expected())):
            self._coming += 1
            self._do_beside(self._hire())

    def _expected(self) -> int:
        """How many workers are on their way, or not ready yet."""
        return self._coming + sum(not worker.ready.done() for worker in self._workers)

    async def _hire(self) -> None:
        try:
            worker = await self._hired()
        except (OSError, EOFError, RuntimeError) as error:  # no process, no fork server, no thread
            self._coming -= 1
            self._none_came(error)
            return
        if self._closed:
            await worker.end()
        try:
            await worker.ready
        except WorkerEnded as error:
            self._none_came(error)

    def _none_came(self, error: Exception) -> None:
        if not self._workers and not self._coming:
            self._refuse(NoWorker(str(error)))

    async def _hired(self) -> "_Worker":
        ours, theirs = socket.socketpair()
        try:
            with Connection(theirs.detach()) as connection:
                process = await asyncio.to_thread(self._start, connection)
        except BaseException:
            ours.close()
            raise
        loop = asyncio.get_running_loop()
        _, worker = await loop.create_unix_connection(
            lambda: _Worker(self, process, ours), sock=ours
        )
        return worker

    def _refuse(self, why: Exception) -> None:
        """Tell all who wait that no worker will do what they want."""
        while self._waiting:
            task = self._waiting.popleft()
            if not task.answer.done():
                task.answer.set_exception(why)

    def _do_beside(self, what: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(what)
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)


class _Worker(asyncio.Protocol):
    """One process, as the event loop sees it.

    ``task`` is what it does, ``done`` how many it did.
    """

    def __init__(self, crew: Crew, process: BaseProcess, reached_by: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        self.process = process
        self.task: _Task | None = None
        self.done = 0
        self.ready: asyncio.Future[None] = loop.create_future()
        self._gone: asyncio.Future[None] = loop.create_future()
        self._crew, self._socket = crew, reached_by
        self._received = bytearray()
        self._limit: asyncio.TimerHandle | None = None
        self._overdue = self._killed = False
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It can be reached."""
        self._transport = transport
        self._crew.met(self)

    def is_there(self) -> bool:
        """Whether an idle one still lives: its end may not have been noticed yet."""
        try:
            return self._socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) != b""
        except BlockingIOError:
            return True
        except OSError:
            return False

    def do(self, task: _Task) -> None:
        """Give it a task."""
        task.worker, self.task = self, task
        loop = asyncio.get_running_loop()
        self._limit = loop.call_later(task.seconds, self._kill_overdue)
        self._transport.writelines((_HEAD.pack(len(task.message)), task.message))

    def _kill_overdue(self) -> None:
        self._overdue = True
        self._kill()

    def _kill(self) -> None:
        """Its last answer may be on its way: it is not free for another task after it."""
        self._killed = True
        self.process.kill()

    def data_received(self, data: bytes) -> None:
        """An answer, or a part of one. The first, which is empty, says that it is ready."""
        self._received += data
        if len(self._received) < _HEAD.size:
            return
        if len(self._received) < _HEAD.size + _HEAD.unpack_from(self._received)[0]:
            return
        message = bytes(self._received[_HEAD.size :])
        self._received.clear()
        if self.ready.done():
            self._answered(message)
        else:
            self.ready.set_result(None)
        if not self._killed:
            self._crew.free(self)

    def _answered(self, message: bytes) -> None:
        task, self.task = self.task, None
        self.done += 1
        self._no_limit()
        if task is None or task.answer.done():
            return
        result, error = pickle.loads(message)  # noqa: S301 - of a process of ours
        if error is None:
            task.answer.set_result(result)
        else:
            task.answer.set_exception(error)

    def _no_limit(self) -> None:
        if self._limit is not None:
            self._limit.cancel()

    def connection_lost(self, exc: Exception | None) -> None:
        """It has ended, or was dismissed."""
        self._no_limit()
        self._gone.set_result(None)
        if not self.ready.done():
            self.ready.set_exception(WorkerEnded("a worker ended before it was ready"))
        self._crew.lost(self)

    async def bring_the_news(self, closed: bool) -> None:
        """Tell who waits for its answer that there is none, and why."""
        await asyncio.to_thread(self.process.join, _SOON)
        ended = WorkerEnded(_ending(self.process.exitcode))
        why = Closed() if closed else Overdue() if self._overdue else ended
        if self.task is not None and not self.task.answer.done():
            self.task.answer.set_exception(why)

    async def end(self) -> None:
        """Kill it, and wait until it is gone."""
        self._kill()
        await asyncio.wait([self._gone], timeout=_SOON)
        self._transport.abort()
        await asyncio.to_thread(self.process.join, _SOON)

    def dismiss(self) -> None:
        """Let it end by itself."""
        self._transport.close()


def _ending(code: int | None) -> str:
    code = code or 0
    return f"signal {-code}" if code < 0 else f"exit status {code}"


def serve(
    connection: Connection, prepare: Callable[..., None], arguments: tuple[Any, ...]
) -> None:
    """A worker's main function: ``prepare``, then tasks until the socket closes."""
    prepare(*arguments)
    connection.send_bytes(b"")
    while True:
        try:
            message = connection.recv_bytes()
        except (EOFError, ConnectionResetError):
            return
        connection.send_bytes(_answer(message))


def _answer(message: bytes) -> bytes:
    """(result, None) or (None, exception), pickled."""
    try:
        function, arguments = pickle.loads(message)  # noqa: S301 - of our own gateway
        return pickle.dumps((function(*arguments), None))
    except BaseException as error:  # noqa: BLE001 - a Rust library's panic is no Exception
        return _failure(error)


def _failure(error: BaseException) -> bytes:
    """No future can hold a StopIteration, and not every exception can be sent."""
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        if not isinstance(error, Failure):
            error.add_note("".join(format_exception(error)))
        with suppress(Exception):
            told = pickle.dumps((None, error))
            pickle.loads(told)  # noqa: S301
            return told
    return pickle.dumps((None, RuntimeError("".join(format_exception(error)))))
