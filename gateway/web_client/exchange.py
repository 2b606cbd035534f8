"""One HTTP request and its answer: authenticated, within limits, bounded in time, streamed.

Whatever goes wrong is one of the node's failures. Texts name the node and what it did, never a
query (it may hold a patient's name) and never a secret.
"""

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Final

import aiohttp

from gateway import __version__
from gateway.failures import TemporaryFailure
from gateway.web_client.auth import Authorization, authorization
from gateway.web_client.failures import (
    Refused,
    TimedOut,
    Unanswered,
    Unwelcome,
    failure_of,
)
from gateway.web_client.rate import Rate
from gateway.web_client.settings import ServerSettings, Tls
from gateway.web_client.tls import context

_READ: Final = 1 << 18
_REMARK: Final = 2048
_TOKEN: Final = 64 << 10
_LONGEST_STEP: Final = 1.0
"""Seconds' worth of bytes that go in one piece where their rate is limited."""
_SHORTEST_STEP: Final = 1024

Body = Callable[[], AsyncIterator[bytes]]
"""Begins a request's body anew, each time it is called."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A request. ``body`` is sent with ``length`` bytes; ``query`` is not yet percent-encoded."""

    url: str
    accept: str = "*/*"
    query: Sequence[tuple[str, str]] = ()
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body | None = None
    length: int = 0


class Answer:
    """An answer whose body is still to come."""

    def __init__(self, exchange: "Exchange", response: aiohttp.ClientResponse) -> None:
        self._exchange = exchange
        self._response = response

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self._response.status

    @property
    def headers(self) -> Mapping[str, str]:
        """The header fields, whatever the case of their names."""
        return self._response.headers

    @property
    def framed(self) -> bool:
        """Whether the connection would tell an end from a break (RFC 9112 §6.3)."""
        headers = self._response.headers
        return "Content-Length" in headers or "chunked" in headers.get("Transfer-Encoding", "")

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes. Raises Unanswered where it breaks off or stands still."""
        content = self._response.content
        while True:
            with self._exchange.told("its answer"):
                async with asyncio.timeout(self._exchange.settings.patience.between_bytes):
                    data = await content.readany()
            if not data:
                return
            await self._exchange.spent(len(data))
            yield data

    async def text(self, most: int) -> bytes:
        """The whole body, at most so many bytes of it; raises Unanswered."""
        found = bytearray()
        async for data in self.chunks():
            found += data
            if len(found) >= most:
                break
        return bytes(found[:most])

    def failure(self, remark: str = "") -> Refused | Unwelcome:
        """The failure that the status stands for."""
        name = self._exchange.settings.name
        failure = failure_of(name, self.status, self.headers.get("Retry-After", ""))
        failure.remark = remark
        return failure

    async def refusal(self) -> Refused | Unwelcome:
        """The same, with the first of what the server said of it."""
        try:
            said = await self.text(_REMARK)
        except Unanswered:
            said = b""
        return self.failure(said.decode("utf-8", "replace"))


class Exchange:
    """The connections to one origin server, opened when they are needed."""

    def __init__(self, settings: ServerSettings) -> None:
        self.settings = settings
        limits = settings.limits
        self._slots = asyncio.Semaphore(limits.parallel)
        self._requests = Rate(limits.requests)
        self._bytes = Rate(limits.bytes)
        self._session: aiohttp.ClientSession | None = None
        self._opening = asyncio.Lock()
        self._authorization: Authorization = authorization(
            settings.name, settings.credentials, self._post_form
        )

    async def aclose(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    @asynccontextmanager
    async def answer(self, ask: Ask) -> AsyncIterator[Answer]:
        """Send a request; one of the node's connections is ours until the block is left.

        Raises Unanswered, and TemporaryFailure where a secret or a TLS file cannot be read or the
        node's URL cannot be used: somebody will mend it.
        """
        async with self._slots:
            response = await self._authorized(ask)
            try:
                yield Answer(self, response)
            finally:
                response.release()

    async def spent(self, count: int) -> None:
        """So many bytes have passed: wait until more may."""
        delay = self._bytes.delay(count, asyncio.get_running_loop().time())
        if delay:
            await asyncio.sleep(delay)

    @contextmanager
    def told(self, what: str) -> Iterator[None]:
        """Turn what aiohttp and the system raise into a failure that names the node."""
        name = self.settings.name
        try:
            yield
        except TimeoutError:
            raise TimedOut(f"{name}: {what} stands still or did not come in time") from None
        except (aiohttp.ClientSSLError, ssl.SSLError) as error:
            reason = _tls_reason(error)
            raise Unanswered(
                f"{name}: no TLS connection: {reason}; see tls: of the node"
            ) from None
        except (aiohttp.InvalidURL, UnicodeError):  # of a name that is none in the DNS
            raise TemporaryFailure(f"{name}: its URL cannot be used; see dicomweb:") from None
        except aiohttp.ClientConnectorError as error:
            reason = _system_reason(error.os_error)
            raise Unanswered(f"{name}: no connection: {reason}; is the node up?") from None
        except (aiohttp.ClientError, OSError) as error:
            raise Unanswered(f"{name}: {what} broke off ({type(error).__name__})") from None

    async def _authorized(self, ask: Ask) -> aiohttp.ClientResponse:
        """The answer; after a 401 once more, where other credentials can be had."""
        header = await self._authorization.header()
        response = await self._send(ask, header)
        if response.status == 401 and self._authorization.refused(header):
            response.close()
            response = await self._send(ask, await self._authorization.header())
        return response

    async def _send(self, ask: Ask, authorization: str) -> aiohttp.ClientResponse:
        loop, patience = asyncio.get_running_loop(), self.settings.patience
        if delay := self._requests.delay(1, loop.time()):
            await asyncio.sleep(delay)
        session = await self._opened()
        headers = {"Accept": ask.accept, **ask.headers}
        if authorization:
            headers["Authorization"] = authorization
        with self.told("the answer"):
            limit = asyncio.timeout(patience.connect + patience.first_byte)
            async with limit:
                data = self._timed(ask.body, limit) if ask.body is not None else None
                if data is not None:
                    headers["Content-Length"] = str(ask.length)
                return await session.request(
                    ask.method,
                    ask.url,
                    params=list(ask.query) or None,
                    headers=headers,
                    data=data,
                    allow_redirects=data is None,
                    max_redirects=5,
                )

    async def _timed(self, body: Body, limit: asyncio.Timeout) -> AsyncIterator[bytes]:
        """The body, each piece of which gives the next one time."""
        loop, patience = asyncio.get_running_loop(), self.settings.patience
        rate = self.settings.limits.bytes
        most = max(int(rate * _LONGEST_STEP), _SHORTEST_STEP) if rate else 0
        async for piece in body():
            for start in range(0, len(piece), most or len(piece)):
                part = piece[start : start + most] if most else piece
                delay = self._bytes.delay(len(part), loop.time())
                _put_off(limit, loop.time() + delay + patience.between_bytes)
                if delay:
                    await asyncio.sleep(delay)
                yield part
        _put_off(limit, loop.time() + patience.first_byte)

    async def _opened(self) -> aiohttp.ClientSession:
        async with self._opening:
            if self._session is None:
                settings = self.settings
                plain = settings.tls == Tls()  # then no file is read
                read = (settings.name, settings.tls)
                trust = context(*read) if plain else await asyncio.to_thread(context, *read)
                self._session = aiohttp.ClientSession(
                    connector=aiohttp.TCPConnector(limit=0, ssl=trust),
                    cookie_jar=aiohttp.DummyCookieJar(),
                    headers={"User-Agent": f"dicom-gateway/{__version__}"},
                    timeout=aiohttp.ClientTimeout(
                        total=None, sock_connect=settings.patience.connect
                    ),
                    read_bufsize=_READ,
                )
            return self._session

    async def _post_form(self, url: str, form: dict[str, str], headers: dict[str, str]) -> bytes:
        """Ask the token endpoint; its refusals are the node's."""
        session, patience = await self._opened(), self.settings.patience
        with self.told("the token endpoint's answer"):
            async with (
                asyncio.timeout(patience.connect + patience.first_byte),
                session.post(url, data=form, headers=headers, allow_redirects=False) as response,
            ):
                body = await response.content.read(_TOKEN)
        if response.status != 200:
            where = f"{self.settings.name}: the token endpoint"
            if response.status == 400:
                raise Refused(f"{where} answered 400: see client_id, secret and scope", 401)
            raise failure_of(where, response.status, response.headers.get("Retry-After", ""))
        return body


def _put_off(limit: asyncio.Timeout, moment: float) -> None:
    """Give more time, unless the answer has come already."""
    if limit.when() is not None and not limit.expired():
        try:
            limit.reschedule(moment)
        except RuntimeError:  # an early answer: the body is still on its way
            return


def _tls_reason(error: BaseException) -> str:
    inner = getattr(error, "certificate_error", None) or getattr(error, "os_error", None) or error
    return str(getattr(inner, "verify_message", "") or getattr(inner, "reason", "") or inner)


def _system_reason(error: OSError) -> str:
    if error.errno and error.errno > 0:
        return os.strerror(error.errno)
    return error.strerror or type(error).__name__
