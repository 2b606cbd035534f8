"""The web listener: how many connections it holds, and what becomes of those that take nothing.

Where all connections are in use, the oldest that no request is running on makes way for a new
one, so that clients which keep theirs open, or open them and say nothing, shut nobody out. Only
where all of them are at work is a new one told 503.
"""

import asyncio
import logging
import socket
import ssl
from typing import Final, cast

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from gateway import telemetry

STALLED_MILLISECONDS: Final = 120_000
"""How long a peer may leave what is sent unacknowledged, or its receive window shut."""
HANDSHAKE_SECONDS: Final = 10.0
LINGER_SECONDS: Final = 2.0
"""How long the rest of a body is read that was refused: a client that is still sending would lose
the answer to a reset."""
_TEXT: Final = b'{"error": "all connections are in use; come again"}'
_REFUSAL: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 10\r\n"
    b"Connection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(_TEXT), _TEXT)
)


class Site(web.BaseSite):
    """What a runner listens on, for ``most`` connections at once."""

    __slots__ = ("_host", "_most", "_port")

    def __init__(
        self,
        runner: web.AppRunner,
        host: str,
        port: int,
        *,
        most: int,
        context: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(runner, ssl_context=context)
        self._host, self._port, self._most = host, port, most

    @property
    def name(self) -> str:
        """Where it listens."""
        return f"{self._host}:{self._port}"

    async def start(self) -> None:
        """Listen. Raises OSError where the port cannot be had."""
        await super().start()
        server = cast(web.Server, self._runner.server)
        self._server = listening = await asyncio.get_running_loop().create_server(
            lambda: _entering(server, self._most),
            self._host,
            self._port,
            ssl=self._ssl_context,
            ssl_handshake_timeout=HANDSHAKE_SECONDS if self._ssl_context else None,
        )
        for each in listening.sockets:  # connections inherit it
            if hasattr(socket, "TCP_USER_TIMEOUT"):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, STALLED_MILLISECONDS)


def _entering(server: web.Server, most: int) -> asyncio.Protocol:
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
    return server()


def _at_work(connection: web.RequestHandler) -> bool:
    return bool(getattr(connection, "_request_in_progress", True))


class _Refusal(asyncio.Protocol):
    """Says 503 and leaves, whatever is asked."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop."""
        cast(asyncio.Transport, transport).write(_REFUSAL)
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
