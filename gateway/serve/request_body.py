"""The body of a request as it comes: bounded in length, and in how slowly it may come.

Nothing of it is asked for before the request has been looked at: who waits for ``100 Continue``
(RFC 9110 10.1.1) is refused without having sent it.
"""

import asyncio
from collections.abc import AsyncGenerator
from typing import Final

import aiohttp
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from gateway.serve.problems import BadRequest, Problem, TooLarge, UnsupportedMedia

SILENCE: Final = 75.0
"""Seconds that a body may stand still."""
SLOWEST: Final = 10 << 10
"""Bytes a second that have to come in the mean."""
FREE: Final = 1 << 20
"""Bytes that a compressed body may come to however small it is."""
_ENCODINGS: Final = ("", "identity", "gzip", "deflate")


class TooSlow(Problem):
    """The body stood still."""

    status = 408


class BadBody(BadRequest):
    """The body is not in its encoding."""


async def wait_to_continue(request: web.Request) -> None:
    """The ``expect_handler`` of routes whose body is read by ``pieces``, which says 100."""
    if request.headers.get("Expect", "").lower() != "100-continue":
        raise web.HTTPExpectationFailed(text="the only Expect that is known is 100-continue")


def check(request: web.Request, most: int) -> None:
    """Raise TooLarge or UnsupportedMedia for a body that need not come."""
    length = request.content_length or 0
    if length > most:
        raise TooLarge(f"a body of {length} bytes is longer than {most} (web.max_body)")
    encoding = request.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in _ENCODINGS:
        raise UnsupportedMedia(
            f"the Content-Encoding is {encoding[:60]!r}: what is taken is gzip, deflate or none"
        )


async def pieces(request: web.Request, most: int, expansion: int) -> AsyncGenerator[bytes, None]:
    """What comes, with its Content-Encoding undone. Raises TooLarge beyond ``most`` bytes.

    Raises TooLarge also for what comes to more than ``expansion`` times its compressed size,
    TooSlow, BadBody where it is not in its encoding, ConnectionError where the client
    has left.
    """
    if "Expect" in request.headers and request.version >= aiohttp.HttpVersion11:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0
    came, waited, clock = 0, 0.0, asyncio.get_running_loop().time
    while True:
        began = clock()
        piece = await _next(request)
        waited += clock() - began
        if not piece:
            return
        came += len(piece)
        if came > most:
            raise TooLarge(f"the body is longer than {most} bytes (web.max_body)")
        check_expansion(came, request.content.total_compressed_bytes, expansion)
        check_pace(came, waited)
        yield piece


def check_expansion(came: int, compressed: int | None, most: int) -> None:
    """Raise TooLarge where so many ``compressed`` bytes came to more than ``most`` times as many.

    ``compressed`` is None for what is not compressed.
    """
    if compressed is not None and came > FREE and came > most * compressed:
        raise TooLarge(
            f"the body comes to more than {most} times its compressed size (web.max_expansion)"
        )


def check_pace(came: int, waited: float) -> None:
    """Raise TooSlow where ``came`` bytes are too few for the seconds that were waited."""
    if waited > SILENCE + came / SLOWEST:
        raise TooSlow(f"{came} bytes came in {waited:.0f} s: less than {SLOWEST} a second")


async def _next(request: web.Request) -> bytes:
    try:
        async with asyncio.timeout(SILENCE):
            return await request.content.readany()
    except TimeoutError:
        raise TooSlow(f"nothing came for {SILENCE:g} s") from None
    except (HttpProcessingError, web.RequestPayloadError) as error:
        raise BadBody(
            "the body is not in the encoding that Content-Encoding or Transfer-Encoding names"
        ) from error
