"""An answer of long runs of files, which go to the connection without a copy.

aiohttp copies what it writes to put a chunk and its frame together (RFC 9112 7.1). What was read
goes out as it was read here, and where nothing is encrypted, the kernel sends a file unread.
"""

import asyncio
import os
import socket
from asyncio.trsock import TransportSocket
from collections.abc import Awaitable
from contextlib import suppress
from typing import ClassVar, Final

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

STALLED_SECONDS: Final = 120.0
"""A client that takes no piece for so long (2 kB/s) is taken for gone."""
LEFT: Final = "the client has left"
TURN: Final = 1 << 20
"""Bytes that one client takes at most before the others have their turn."""
PIECE: Final = 272 << 10
"""Bytes read and written at once, half of a CT of 512 x 512 with its header: with twice as many,
malloc asks the kernel for each anew.
"""
CHUNK: Final = 64 << 20
"""Bytes of a file in one chunk at most: many a client counts those of a chunk in 31 bits."""
_SPARE: Final = PIECE + (4 << 10)
"""Bytes of memory that is kept: a piece with part headers and the frame of a chunk."""


class Body(web.StreamResponse):
    """What ends a chunk or a run goes with what comes next, so that a piece is one segment.

    The header waits for the first piece, and of an answer whose length is known, the last piece
    for the end (``TCP_CORK``): a client that is woken for each would stop who writes the next.
    """

    _way: asyncio.WriteTransport | None = None
    _writer: AbstractStreamWriter | None = None
    _in_chunks = False
    _plain: TransportSocket | None = None
    """The connection's own, unless encrypted: nothing may be done with it before ``_there``."""
    _corked = False
    _owed = b""
    _turn = 0
    _spare: ClassVar[memoryview | None] = None

    @property
    def is_plain(self) -> bool:
        """Whether the kernel can be given files: the connection is not encrypted."""
        return self._plain is not None

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Have the header go out with what is written next, within about 0.2 s."""
        self._way = request.transport
        if self._way is not None and self._way.get_extra_info("sslcontext") is None:
            self._plain = self._way.get_extra_info("socket")
            self._cork()
        try:
            self._writer = await super().prepare(request)
        except BaseException:
            self._cork(False)
            raise
        self._in_chunks = self.headers.get("Transfer-Encoding") == "chunked"
        return self._writer

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """Some of the body."""
        self._settle()
        await super().write(data)
        self._let_out()

    async def write_eof(self, data: bytes = b"") -> None:
        """The end of the body."""
        with suppress(ConnectionResetError):  # the client has left: there is nobody to tell
            self._settle()
        await super().write_eof(data)
        self._cork(False)

    def framed(self, head: bytes, size: int, tail: bytes) -> bytes:
        """What goes before so many bytes, ``head`` included; ``tail`` is owed from now on."""
        start, self._owed = self._owed, tail
        if self._in_chunks:
            start += b"%x\r\n" % (len(head) + size + len(tail))
            self._owed += b"\r\n"
        return start + head

    def owed(self) -> bytes:
        """What has to go out before anything else, for who writes it."""
        owed, self._owed = self._owed, b""
        return owed

    def _settle(self) -> None:
        if self._owed:
            self._there().write(self.owed())

    @staticmethod
    def memory(size: int) -> memoryview:
        """So many bytes at least: those written last, if they have gone; new ones are cleared."""
        spare, Body._spare = Body._spare, None
        if spare is None or len(spare) < size:
            spare = memoryview(bytearray(max(size, _SPARE)))
        return spare

    async def pass_on(self, memory: memoryview, size: int) -> None:
        """Write so many bytes of ``memory``, framed. Raises ConnectionError as ``write``."""
        way, writer = self._there(), self._writer
        way.write(memory[:size])
        self._let_out()
        if way.get_write_buffer_size() and writer is not None:
            self._turn = 0
            await _in_time(writer.drain())
            return
        Body._spare = memory
        await self._went(size)

    async def hand_over(self, head: bytes, descriptor: int, at: int, size: int) -> int:
        """Write ``head``, and have the kernel send ``size`` bytes of a file from ``at`` on.

        The answer is how many of them it has taken; 0: they have to be read and passed on, the
        head has gone all the same. Raises ConnectionError as ``write``.
        """
        if head:
            self._cork()
            self._there().write(head)
        if self._there().get_write_buffer_size() or self._plain is None:
            return 0
        try:
            taken = os.sendfile(self._plain.fileno(), descriptor, at, size)
        except ConnectionError:
            raise
        except OSError:  # EAGAIN, or it says more when it is read
            return 0
        self._let_out()
        await self._went(taken)
        return taken

    def _let_out(self) -> None:
        """Where the length is not known, what follows may have to be made first."""
        if self.content_length is None:
            self._cork(False)

    def _cork(self, on: bool = True) -> None:
        if self._plain is None or on == self._corked:
            return
        self._corked = on
        with suppress(OSError):  # it is more segments, or the client has left
            self._plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, on)

    async def _went(self, size: int) -> None:
        """So many bytes went out at once: others have their turn now and then."""
        self._turn += size
        if self._turn >= TURN:
            self._turn = 0
            await asyncio.sleep(0)

    def _there(self) -> asyncio.WriteTransport:
        if self._way is None or self._way.is_closing():
            raise ConnectionResetError(LEFT)
        return self._way


async def write(response: web.StreamResponse, data: bytes | bytearray | memoryview) -> None:
    """Some of a body. Raises ConnectionError where the client is gone, or takes nothing."""
    if data:
        await _in_time(response.write(data))


async def _in_time(writing: Awaitable[None]) -> None:
    try:
        async with asyncio.timeout(STALLED_SECONDS):
            await writing
    except TimeoutError:
        raise ConnectionResetError("the client takes nothing") from None
