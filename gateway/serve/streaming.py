"""Bodies sent as streams: files read off the loop, work done ahead, a client that leaves noticed.

A file is opened and its beginning read while the one before it is being sent; nothing is held
whole. What waits for a client looks now and then whether it is still there.
"""

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final, TypeVar

from aiohttp import web

from gateway.failures import TemporaryFailure

_Item = TypeVar("_Item")
_Made = TypeVar("_Made")

PIECE: Final = 256 << 10
"""Bytes read and written at once: with twice as many, malloc asks the kernel for each anew."""
AHEAD: Final = 64 << 20
"""Bytes that are read ahead in all, for whatever many clients; beyond, files are only opened."""
STALLED_SECONDS: Final = 120.0
"""A client that takes no piece for so long (4 kB/s) is taken for gone."""
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
        raise _unreadable(file, error) from error
    return _filled(run, piece, file)


async def soon_opened(file: Path, offset: int = 0, size: int = -1) -> Opened:
    """As ``opened``: at once where the kernel has the bytes in memory, else in a thread."""
    run = _begun(file, offset, size)
    if Opened.ahead >= AHEAD:
        return run
    piece = _cached(run.descriptor, offset, min(PIECE, run.size))
    if piece is not None:
        return _filled(run, piece, file)
    run.close()
    return await asyncio.to_thread(opened, file, offset, size)


def _begun(file: Path, offset: int, size: int) -> Opened:
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise _unreadable(file, error) from error
    whole = os.fstat(descriptor).st_size
    return Opened(whole - offset if size < 0 else size, b"", descriptor, offset)


def _filled(run: Opened, piece: bytes | bytearray, file: Path) -> Opened:
    """With its first piece. Raises TemporaryFailure where there is none."""
    run.fill(piece)
    if run.size and not piece:
        run.close()
        raise TemporaryFailure(f"the spool's file {file.name} has become shorter")
    return run


def _cached(descriptor: int, offset: int, size: int) -> bytearray | None:
    """Bytes that the page cache has; None where reading them would wait for the disk."""
    piece = bytearray(size)
    try:
        done = os.preadv(descriptor, [piece], offset, os.RWF_NOWAIT)
    except OSError:
        return None
    return piece if done == size else None


def _unreadable(file: Path, error: OSError) -> TemporaryFailure:
    return TemporaryFailure(f"the spool's file {file.name} cannot be read: {error.strerror}")


async def send(response: web.StreamResponse, run: Opened, head: bytes = b"") -> None:
    """Write ``head`` and the whole run, the next piece read while one is sent; closes it."""
    piece = run.take()
    at = run.offset + len(piece)
    end = run.offset + run.size
    reading: asyncio.Future[bytes] | None = None
    try:
        while at < end:
            size = min(PIECE, end - at)
            following: bytes | bytearray | None = _cached(run.descriptor, at, size)
            if following is None:
                reading = asyncio.ensure_future(_read(run, at, size))
            await _write_both(response, head, piece)
            if reading is not None:
                following, reading = await reading, None
            head, piece = b"", following or b""
            at += len(piece)
        await _write_both(response, head, piece)
    finally:
        if reading is not None:
            with suppress(Exception):
                await reading  # its thread still has the descriptor
        run.close()


async def _write_both(response: web.StreamResponse, head: bytes, piece: bytes | bytearray) -> None:
    """At once, unless putting them together would cost more than a second write."""
    if head and len(piece) < PIECE:
        await write(response, b"".join((head, piece)))
        return
    for data in (head, piece):
        if data:
            await write(response, data)


async def write(response: web.StreamResponse, data: bytes | bytearray) -> None:
    """Some of a body. Raises ConnectionError where the client is gone, or takes nothing."""
    try:
        async with asyncio.timeout(STALLED_SECONDS):
            await response.write(data)
    except TimeoutError:
        raise ConnectionResetError("the client takes nothing") from None


async def _read(run: Opened, at: int, size: int) -> bytes:
    try:
        piece = await asyncio.to_thread(os.pread, run.descriptor, size, at)
    except OSError as error:
        raise TemporaryFailure(f"a file of the spool cannot be read: {error.strerror}") from error
    if not piece:
        raise TemporaryFailure("a file of the spool became shorter while it was sent")
    return piece


async def ahead(
    items: AsyncIterator[_Item],
    make: Callable[[_Item], Awaitable[_Made]],
    window: int,
    drop: Callable[[_Made], None],
) -> AsyncGenerator[tuple[_Item, _Made], None]:
    """Each item and what ``make`` makes of it, in order; the next ``window`` are made meanwhile.

    When the caller stops, what is being made is cancelled and what was made is dropped.
    """
    waiting: asyncio.Queue[tuple[_Item, asyncio.Future[_Made]] | None] = asyncio.Queue()
    begun: set[asyncio.Future[_Made]] = set()
    room = asyncio.Semaphore(window)

    async def feed() -> None:
        try:
            async for item in items:
                await room.acquire()
                making = asyncio.ensure_future(make(item))
                begun.add(making)
                waiting.put_nowait((item, making))
        finally:
            waiting.put_nowait(None)

    feeding = asyncio.create_task(feed())
    try:
        while (entry := await waiting.get()) is not None:
            item, making = entry
            made = await making
            begun.discard(making)
            room.release()
            yield item, made
        await feeding
    finally:
        await _stop([feeding, *begun], drop)


async def _stop(tasks: list[asyncio.Future[Any]], drop: Callable[[Any], None]) -> None:
    for task in tasks:
        task.cancel()
    for end in await asyncio.gather(*tasks, return_exceptions=True):
        if end is not None and not isinstance(end, BaseException):
            drop(end)


@contextmanager
def attended(request: web.Request) -> Iterator[None]:
    """What is awaited meanwhile ends soon after the client is gone. Raises ConnectionResetError.

    One timer for a whole body: with ``while_there``, each part of it would need a task.
    """
    loop, task, left = asyncio.get_running_loop(), asyncio.current_task(), False
    assert task is not None  # noqa: S101 - a handler runs in one
    cancelling = task.cancelling()
    timer: asyncio.TimerHandle | None = None

    def glance() -> None:
        nonlocal left, timer
        if _is_gone(request):
            left = task.cancel()
        else:
            timer = loop.call_later(_GLANCE_SECONDS, glance)

    glance()
    try:
        yield
    except asyncio.CancelledError:
        if left and task.uncancel() <= cancelling:
            raise ConnectionResetError("the client has left") from None
        raise
    finally:
        if timer is not None:
            timer.cancel()


def _is_gone(request: web.Request) -> bool:
    return request.transport is None or request.transport.is_closing()


async def while_there(request: web.Request, work: Awaitable[_Made]) -> _Made:
    """What ``work`` gives. Raises ConnectionResetError as soon as the client is gone."""
    task = asyncio.ensure_future(work)
    try:
        while not (await asyncio.wait((task,), timeout=_GLANCE_SECONDS))[0]:
            if _is_gone(request):
                raise ConnectionResetError("the client has left")
        return task.result()
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait((task,))  # a generator that still runs cannot be closed
            if not task.cancelled():
                task.exception()
