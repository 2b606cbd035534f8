"""One worker process as the event loop sees it, and as the process sees itself.

It does one task at a time; a second one may wait in its socket, so that it need not wait for the
event loop. It begins none without a permit, a byte in another socket, which is taken back for a
task that is not to be begun: so what it died of is known to be the task that it had begun.
"""

import asyncio
import os
import pickle
import socket
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from struct import Struct
from traceback import format_exception
from typing import Any, BinaryIO, Final, Protocol

from gateway.failures import Failure

_HEAD: Final = Struct("!i")
"""What a ``Connection`` puts before a message of less than 2 GiB: its length."""
_SOON: Final = 5.0
"""Seconds in which a process that was killed is gone, or is left to the kernel."""
_SHORT: Final = 0.05
"""Seconds of a task behind which none waits that another worker could do."""
_NOW: Final = int(socket.MSG_DONTWAIT)
_GLANCE: Final = int(socket.MSG_PEEK | socket.MSG_DONTWAIT)
_one_thread: Final = threading.Lock()
"""The status of a process can be read once, and each start of another one looks for it too: a
thread that comes second would believe that there is none."""
_BEGIN: Final = b"b"
_PASS_OVER: Final = b"p"


class Closed(Exception):
    """There are no workers any more."""


class Overdue(Exception):
    """A task took longer than it may; its worker was killed."""


class WorkerEnded(Exception):
    """The worker ended before its answer; the text says how."""


@dataclass(slots=True, eq=False)
class Task:
    message: bytes
    seconds: float
    answer: asyncio.Future[Any]
    worker: "Member | None" = None


class Chief(Protocol):
    """Who is told of a worker; ``crew.Crew`` is."""

    def met(self, worker: "Member") -> None:
        """It has come; it is not ready yet."""
        ...

    def heard(self, worker: "Member") -> None:
        """It has done a task, or is ready for its first."""
        ...

    def lost(self, worker: "Member", undone: Sequence[Task]) -> None:
        """It has ended, and these tasks are another one's."""
        ...


class Member(asyncio.Protocol):
    """One process, as the event loop sees it; ``done`` is how many tasks it did.

    ``given`` is what it has to do, or is doing. ``sent`` are the tasks that it has not answered,
    in order, None for what it passes over. So many permits as lie unread are those of the last
    ones.
    """

    def __init__(
        self,
        crew: "Chief",
        process: BaseProcess,
        reached_by: socket.socket,
        permits: tuple[socket.socket, socket.socket],
    ) -> None:
        loop = asyncio.get_running_loop()
        self.process = process
        self.done = 0
        self.given: list[Task] = []
        self.ready: asyncio.Future[None] = loop.create_future()
        self._sent: deque[Task | None] = deque()
        self._gone: asyncio.Future[None] = loop.create_future()
        self._crew, self._socket, self._permits = crew, reached_by, permits
        self._received = bytearray()
        self._limit: asyncio.TimerHandle | None = None
        self._timed: Task | None = None
        self._since = 0.0
        self._killed = self._overdue = False
        self._killed_for: Task | None = None
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It can be reached."""
        self._transport = transport
        self._crew.met(self)

    def is_there(self) -> bool:
        """Whether it can be given a task: it lives, and has told all that it had to tell."""
        if self._killed or not self.ready.done():
            return False
        try:
            self._socket.recv(1, _GLANCE)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def is_at_a_long_one(self) -> bool:
        """Whether what it does takes so long that nothing should wait behind it."""
        at_one = self._timed is not None
        return at_one and asyncio.get_running_loop().time() - self._since > _SHORT

    def do(self, task: Task) -> None:
        """Give it a task, which it does after those that it has."""
        task.worker = self
        self.given.append(task)
        self._sent.append(task)
        self._time()
        self._permits[0].send(_BEGIN)  # first, so that it need not wait for that as well
        self._transport.write(_HEAD.pack(len(task.message)) + task.message)

    def take_back(self, tasks: Sequence[Task]) -> list[Task]:
        """Those of the tasks that it has not begun, and never will."""
        unbegun, taken = self._unread_permits(), []
        for place in range(len(self._sent) - unbegun, len(self._sent)):
            task = self._sent[place]
            if task is not None and task in tasks:
                taken.append(task)
                self.given.remove(task)
                self._sent[place] = task.worker = None
            self._permits[0].send(_PASS_OVER if self._sent[place] is None else _BEGIN)
        self._time()
        return taken

    def _unread_permits(self) -> int:
        """How many it has not read; they are taken from it."""
        if self._gone.done():
            return 0
        try:
            return len(self._permits[1].recv(len(self._sent) + 1, _NOW))
        except BlockingIOError:
            return 0

    def _left_undone(self) -> list[Task]:
        """What it has not begun, or was not killed for."""
        left = self.take_back(self.given)
        if self._killed and self._killed_for not in self.given:
            left = self.given + left
            self.given = []
            self._sent.clear()
        return left

    def _time(self) -> None:
        """The time of a task runs from when it is the first."""
        first = self.given[0] if self.given else None
        if first is self._timed:
            return
        self._timed = first
        if first is not None:
            self._since = asyncio.get_running_loop().time()
            self._watch(self._since + first.seconds)

    def _watch(self, until: float) -> None:
        """One timer serves many tasks: what it finds too early it looks at again."""
        if self._limit is not None and self._limit.when() > until:
            self._limit.cancel()
            self._limit = None
        if self._limit is None:
            self._limit = asyncio.get_running_loop().call_at(until, self._kill_overdue)

    def _kill_overdue(self) -> None:
        self._limit, task = None, self._timed
        if task is None:
            return
        until = self._since + task.seconds
        if asyncio.get_running_loop().time() < until:
            self._watch(until)
        else:
            self._overdue = True
            self._kill(task)

    def _kill(self, task: Task | None) -> None:
        """Its last answer may be on its way: it is not free for another task after it."""
        if not self._killed:
            self._killed, self._killed_for = True, task
        self.process.kill()

    def data_received(self, data: bytes) -> None:
        """Answers, or a part of one. The first, which is empty, says that it is ready."""
        self._received += data
        while (message := self._next_message()) is not None:
            if self.ready.done():
                self._answered(message)
            else:
                self.ready.set_result(None)
            if not self._killed:
                self._crew.heard(self)

    def _next_message(self) -> bytes | None:
        if len(self._received) < _HEAD.size:
            return None
        end = _HEAD.size + _HEAD.unpack_from(self._received)[0]
        if len(self._received) < end:
            return None
        message = bytes(self._received[_HEAD.size : end])
        del self._received[:end]
        return message

    def _answered(self, message: bytes) -> None:
        while (task := self._sent.popleft()) is None:
            pass
        self.given.remove(task)
        self.done += 1
        self._time()
        if task.answer.done():
            return
        result, error = pickle.loads(message)  # noqa: S301 - of a process of ours
        if error is None:
            task.answer.set_result(result)
        else:
            task.answer.set_exception(error)

    def connection_lost(self, exc: Exception | None) -> None:
        """It has ended, or was dismissed."""
        if not self.ready.done():
            self.ready.set_exception(WorkerEnded("a worker ended before it was ready"))
        left = self._left_undone()
        self._gone.set_result(None)
        for each in self._permits:
            each.close()
        if self._limit is not None:
            self._limit.cancel()
        self._crew.lost(self, left)

    async def bring_the_news(self, closed: bool) -> None:
        """Tell who waits for its answer that there is none, and why."""
        ended = WorkerEnded(_ending(await asyncio.to_thread(_status, self.process)))
        why = Closed() if closed else Overdue() if self._overdue else ended
        for task in self.given:
            if not task.answer.done():
                task.answer.set_exception(why)

    async def end(self, task: Task | None = None) -> None:
        """Kill it, because of one task or for good, and wait until it is gone."""
        self._kill(task)
        await asyncio.wait([self._gone], timeout=_SOON)
        self._transport.abort()
        await asyncio.to_thread(_status, self.process)

    def dismiss(self) -> None:
        """Let it end by itself."""
        self._transport.close()


def begun(start: Callable[..., BaseProcess], *arguments: Connection) -> BaseProcess:
    """The process that ``start`` begins; while it does, no status is read elsewhere."""
    with _one_thread:
        return start(*arguments)


def _status(process: BaseProcess) -> int | None:
    """How a process ended that is about to; None if it does not soon."""
    wait([process.sentinel], _SOON)
    with _one_thread:
        process.join(0)
        return process.exitcode


def _ending(code: int | None) -> str:
    code = code or 0
    return f"signal {-code}" if code < 0 else f"exit status {code}"


def serve(
    connection: Connection,
    permits: Connection,
    prepare: Callable[..., None],
    arguments: tuple[Any, ...],
) -> None:
    """A worker's main function: ``prepare``, then tasks until the socket closes."""
    prepare(*arguments)
    with (
        open(connection.fileno(), "rb", closefd=False) as tasks,
        open(connection.fileno(), "wb", closefd=False) as answers,
        suppress(ConnectionResetError),
    ):
        _send(answers, b"")
        while (message := _next(tasks)) is not None:
            permit = os.read(permits.fileno(), 1)
            if not permit:
                return
            if permit == _BEGIN:
                _send(answers, _answer(message))


def _next(tasks: BinaryIO) -> bytes | None:
    """A message, None where the socket was closed before its end."""
    head = tasks.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return None
    size = _HEAD.unpack(head)[0]
    message = tasks.read(size)
    return message if len(message) == size else None


def _send(answers: BinaryIO, message: bytes) -> None:
    answers.write(_HEAD.pack(len(message)))
    answers.write(message)
    answers.flush()


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
