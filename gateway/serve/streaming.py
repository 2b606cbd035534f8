"""Bodies sent as streams: files read off the loop, a client that leaves noticed.

A file is opened while the one before it is being sent, and its beginning read where that takes
the disk; nothing is held whole. What waits for a client looks now and then whether it is still
there.
"""

import asyncio
import os
import threading
from collections.abc import Awaitable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Final, TypeVar

from aiohttp import web

from gateway.failures import TemporaryFailure
from gateway.serve.body import CHUNK, LEFT, PIECE, TURN, Body, write

_Made = TypeVar("_Made")

AHEAD: Final = 64 << 20
"""Bytes that are read ahead in all, for whatever many clients; beyond, files are only opened."""
_WORTH: Final = 64 << 10
"""Bytes from which on the kernel is given a file to send: fewer are read sooner."""
_STRIDE: Final = 128 << 10
"""What lies between two bytes that are looked for in the page cache: the kernel reads ahead and
lets go of about so much at once.
"""
_GLANCED_AT: Final = memoryview(bytearray(1))
_GLANCE_SECONDS: Final = 0.2


@dataclass(slots=True)
class Opened:
    """A run of bytes of a file, its first piece read where there is room; to be closed."""

    size: int
    first: bytes | bytearray
    descriptor: int
    offset: int
    ahead: ClassVar[int] = 0

    def __post_init__(self) -> None:
        if self.first:
            _count(len(self.first))

    def fill(self, piece: bytes | bytearray) -> None:
        """The first piece is read; what that is all of needs no descriptor any more."""
        self.first = piece
        _count(len(piece))
        if len(piece) == self.size:
            self._let_go()

    def take(self) -> bytes | bytearray:
        """The first piece, which is no longer ahead."""
        piece, self.first = self.first, b""
        if piece:
            _count(-len(piece))
        return piece

    def close(self) -> None:
        """Give back what it has. May be called again."""
        self.take()
        self._let_go()

    def _let_go(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def __del__(self) -> None:
        """What a thread opened for somebody who was cancelled meanwhile is nobody's to close."""
        self.close()


_COUNTING: Final = threading.Lock()


def _count(more: int) -> None:
    with _COUNTING:
        Opened.ahead += more


def opened(file: Path, offset: int = 0, size: int = -1) -> Opened:
    """``size`` bytes of a file from ``offset`` on, -1 for the rest; for a thread.

    Raises TemporaryFailure where it cannot be read, or ends before.
    """
    run = _begun(file, offset, size)
    if Opened.ahead >= AHEAD:
        return run
    try:
        piece = os.pread(run.descriptor, min(PIECE, run.size), offset)
    except OSError as error:
        run.close()
        raise unreadable(file, error) from error
    return _filled(run, piece, file)


async def soon_opened(file: Path, offset: int = 0, size: int = -1) -> Opened:
    """As ``opened``, without a thread where the kernel has the bytes in memory."""
    run = cached(file, offset, size)
    return await asyncio.to_thread(opened, file, offset, size) if run is None else run


def cached(file: Path, offset: int = 0, size: int = -1) -> Opened | None:
    """As ``opened``, but that it is read when it is sent; None where that would take the disk."""
    run = _begun(file, offset, size)
    if run.size and _are_cached(run, offset, min(PIECE, run.size)):
        return run
    run.close()
    return None


def _begun(file: Path, offset: int, size: int) -> Opened:
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise unreadable(file, error) from error
    whole = os.fstat(descriptor).st_size
    return Opened(whole - offset if size < 0 else size, b"", descriptor, offset)


def _filled(run: Opened, piece: bytes | bytearray, file: Path) -> Opened:
    """With its first piece. Raises TemporaryFailure where there is none."""
    run.fill(piece)
    if run.size and not piece:
        run.close()
        raise TemporaryFailure(f"the spool's file {file.name} has become shorter")
    return run


def _are_cached(run: Opened, at: int, size: int) -> bool:
    """Whether the page cache has these bytes, as far as some of them tell."""
    last = at + size - 1
    return all(_reads(run, _GLANCED_AT, each) for each in (last, *range(at, last, _STRIDE)))


def _reads(run: Opened, into: memoryview, at: int) -> bool:
    """Read what the page cache has; False where reading all of it would wait for the disk."""
    try:
        return os.preadv(run.descriptor, [into], at, os.RWF_NOWAIT) == len(into)
    except OSError:
        return False


def unreadable(file: Path, error: OSError) -> TemporaryFailure:
    """What to say of a file of the spool that cannot be read."""
    return TemporaryFailure(f"the spool's file {file.name} cannot be read: {error.strerror}")


async def send(response: Body, run: Opened, head: bytes = b"", tail: bytes = b"") -> None:
    """Write ``head``, the whole run and ``tail``, which may wait for what is written next.

    Closes the run. Raises TemporaryFailure where it cannot be read, ConnectionError as ``write``.
    """
    first = run.take()
    at, end = run.offset + len(first), run.offset + run.size
    try:
        if first or not run.size:
            await write(response, b"".join((head, first, tail if at == end else b"")))
            head = b""
        while at < end:
            stop = min(at + CHUNK, end)
            head = response.framed(head, stop - at, tail if stop == end else b"")
            while at < stop:
                at += await _some(response, run, at, stop, head)
                head = b""
    finally:
        run.close()


async def _some(response: Body, run: Opened, at: int, end: int, head: bytes) -> int:
    """Send ``head`` and some of what is left of a run; how much of it that was."""
    size = min(TURN, end - at)
    if response.is_plain and size >= _WORTH and _are_cached(run, at, size):
        if taken := await response.hand_over(head, run.descriptor, at, size):
            return taken
        head = b""
    size = min(PIECE, size)
    tail = response.owed() if at + size == end else b""
    whole = len(head) + size + len(tail)
    memory = Body.memory(whole)
    content = memory[len(head) : len(head) + size]
    memory[: len(head)], memory[len(head) + size : whole] = head, tail
    if not _reads(run, content, at):
        await _read(run, content, at)
    await response.pass_on(memory, whole)
    return size


async def _read(run: Opened, into: memoryview, at: int) -> None:
    reading = asyncio.ensure_future(asyncio.to_thread(_read_all, run, into, at))
    try:
        await asyncio.shield(reading)
    finally:
        with suppress(Exception):
            await reading  # its thread still has the descriptor


def _read_all(run: Opened, into: memoryview, at: int) -> None:
    done = 0
    try:
        while done < len(into):
            read = os.preadv(run.descriptor, [into[done:]], at + done)
            if not read:
                raise TemporaryFailure("a file of the spool became shorter while it was sent")
            done += read
    except OSError as error:
        raise TemporaryFailure(f"a file of the spool cannot be read: {error.strerror}") from error


def attended(request: web.Request) -> AbstractContextManager[None]:
    """What is awaited meanwhile ends soon after the client is gone. Raises ConnectionResetError.

    One timer for a whole body: with ``while_there``, each part of it would need a task.
    """
    return _Attention(request)


class _Attention:
    """Looks now and then whether a client is there, and cancels the task that serves it."""

    __slots__ = ("_cancelling", "_left", "_loop", "_request", "_task", "_timer")

    def __init__(self, request: web.Request) -> None:
        self._request, self._loop, self._left = request, asyncio.get_running_loop(), False

    def __enter__(self) -> None:
        if _is_gone(self._request):
            raise ConnectionResetError(LEFT)
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a handler runs in one
        self._task, self._cancelling = task, task.cancelling()
        self._timer = self._loop.call_later(_GLANCE_SECONDS, self._glance)

    def _glance(self) -> None:
        if _is_gone(self._request):
            self._left = self._task.cancel()
        else:
            self._timer = self._loop.call_later(_GLANCE_SECONDS, self._glance)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._timer.cancel()  # which also lets go of what it would have called
        if not isinstance(error, asyncio.CancelledError) or not self._left:
            return
        if self._task.uncancel() <= self._cancelling:
            raise ConnectionResetError(LEFT) from None


def _is_gone(request: web.Request) -> bool:
    return request.transport is None or request.transport.is_closing()


async def while_there(request: web.Request, work: Awaitable[_Made]) -> _Made:
    """What ``work`` gives. Raises ConnectionResetError as soon as the client is gone."""
    task = asyncio.ensure_future(work)
    try:
        while not (await asyncio.wait((task,), timeout=_GLANCE_SECONDS))[0]:
            if _is_gone(request):
                raise ConnectionResetError(LEFT)
        return task.result()
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait((task,))  # a generator that still runs cannot be closed
            if not task.cancelled():
                task.exception()
