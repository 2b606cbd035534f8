"""The web listener: how many connections it holds, and what becomes of those that take nothing.

Where all connections are in use, the oldest that no request is running on makes way for a new
one, so that clients which keep theirs open, or open them and say nothing, shut nobody out. Only
where all of them are at work is a new one told 503. The header of a request has to come in time,
so that nobody holds a connection by sending a byte now and then.
"""

import asyncio
import json
import logging
import socket
import ssl
from typing import Final, cast

import aiohttp
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from gateway import telemetry

STALLED_MILLISECONDS: Final = 120_000
"""How long a peer may leave what is sent unacknowledged, or its receive window shut."""
HANDSHAKE_SECONDS: Final = 10.0
LINGER_SECONDS: Final = 2.0
"""How long the rest of a body is read that was refused: a client that is still sending would lose
the answer to a reset."""
HEADER_SECONDS: Final = 10.0
"""How long the header of a request may take from its first byte on."""


def _refusal(status: bytes, text: str) -> bytes:
    body = json.dumps({"error": text}).encode()
    return (
        b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nRetry-After: 10\r\n"
        b"Connection: close\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)
    )


class Site(web.BaseSite):
    """What a runner listens on, for ``most`` connections at once.

    ``header_seconds`` is how long the header of a request may take.
    """

    __slots__ = ("_header_seconds", "_host", "_most", "_port")

    def __init__(
        self,
        runner: web.AppRunner,
        host: str,
        port: int,
        *,
        most: int,
        header_seconds: float = HEADER_SECONDS,
        context: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(runner, ssl_context=context)
        self._host, self._port, self._most = host, port, most
        self._header_seconds = header_seconds

    @property
    def name(self) -> str:
        """Where it listens."""
        return f"{self._host}:{self._port}"

    async def start(self) -> None:
        """Listen. Raises OSError where the port cannot be had."""
        await super().start()
        server = cast(web.Server, self._runner.server)
        self._server = listening = await asyncio.get_running_loop().create_server(
            lambda: _entering(server, self._most, self._header_seconds),
            self._host,
            self._port,
            ssl=self._ssl_context,
            ssl_handshake_timeout=HANDSHAKE_SECONDS if self._ssl_context else None,
        )
        for each in listening.sockets:  # connections inherit it
            if hasattr(socket, "TCP_USER_TIMEOUT"):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, STALLED_MILLISECONDS)


def _entering(server: web.Server, most: int, header_seconds: float) -> asyncio.Protocol:
    """What serves a new connection: the server, or a refusal where there is no room."""
    held = server.connections
    if len(held) >= most:
        held = [each for each in held if each.transport and not each.transport.is_closing()]
    if len(held) >= most:
        idle = next((each for each in held if not _at_work(each)), None)
        if idle is None:
            telemetry.note("connection refused: all are in use", connections=len(held))
            return _Refusal()
        idle.force_close()
    return _Connection(server, header_seconds)


def _at_work(connection: web.RequestHandler) -> bool:
    return bool(getattr(connection, "_request_in_progress", True))


class _Connection(web.RequestHandler):
    """One connection: aiohttp's own, but for what it lets a client do slowly or by halves."""

    __slots__ = ("_header_seconds", "_header_timer")

    def __init__(self, server: web.Server, header_seconds: float) -> None:
        super().__init__(server, loop=asyncio.get_running_loop(), **server._kwargs)
        self._header_seconds = header_seconds
        self._header_timer: asyncio.TimerHandle | None = None

    def data_received(self, data: bytes) -> None:
        """Called by the loop."""
        super().data_received(data)
        if self._waiter is not None and not self._waiter.done():  # no request is there as yet
            if self._header_timer is None:
                later = asyncio.get_running_loop().call_later
                self._header_timer = later(self._header_seconds, self._too_slow)
        elif self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None
        if self._current_request is not None and self._messages:
            self._tell_of_broken_body(self._current_request.content)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Called by the loop."""
        if self._header_timer is not None:
            self._header_timer.cancel()
        super().connection_lost(exc)

    def _too_slow(self) -> None:
        transport = self.transport
        if transport is not None:
            text = f"the header of the request did not come within {self._header_seconds:g} s"
            telemetry.note("connection given up: its request's header comes too slowly")
            transport.write(_refusal(b"408 Request Timeout", f"{text} (web.header_timeout)"))
            self.force_close()

    def _tell_of_broken_body(self, body: aiohttp.StreamReader) -> None:
        """Who reads a body whose chunks are none would wait for it: aiohttp answers it later."""
        error = getattr(self._messages[-1][0], "exc", None)
        if error is not None and not body.is_eof() and body.exception() is None:
            body.set_exception(error)


class _Refusal(asyncio.Protocol):
    """Says 503 and leaves, whatever is asked."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop."""
        refusal = _refusal(b"503 Service Unavailable", "all connections are in use; come again")
        cast(asyncio.Transport, transport).write(refusal)
        transport.close()


class _InOneLine(logging.Filter):
    """Says of what is no HTTP only that it came: the text may quote a URL, and so a patient."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Called by the logging module."""
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, HttpProcessingError | web.RequestPayloadError):
            telemetry.note("what is no HTTP was refused")
            return False
        return True


def quiet_logger() -> logging.Logger:
    """The logger for an ``AppRunner``."""
    logger = logging.getLogger("gateway.web")
    if not logger.filters:
        logger.addFilter(_InOneLine())
    return logger
