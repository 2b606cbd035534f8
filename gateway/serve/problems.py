"""Failures as HTTP statuses (PS3.18 8.5): the one place where it is decided what a client hears.

Handlers raise; the middleware answers with ``{"error": text}``. A failure after the first byte of
a body cannot be said any more: the connection is cut, so that nobody takes a part for the whole.
"""

from collections.abc import Awaitable, Callable
from typing import ClassVar, Final

from aiohttp import web

from gateway import telemetry
from gateway.dicomweb.multipart import MalformedMultipart
from gateway.failures import Failure, PermanentFailure, TemporaryFailure

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_RETRY_AFTER_SECONDS: Final = 10
_BUG: Final = "the gateway met an error that nobody expected; its log has it"


class Problem(PermanentFailure):
    """A request that cannot be fulfilled; the subclass says with which status."""

    status: ClassVar[int] = 400


class BadRequest(Problem):
    """The request is not one that PS3.18 defines: a UID that is none, a broken parameter."""


class NotHere(Problem):
    """No such study, series, instance or frame is held."""

    status = 404


class NotAcceptable(Problem):
    """None of what the client takes can be made; the text lists what can."""

    status = 406


class TooLarge(Problem):
    """The body is longer than the limit that the text names."""

    status = 413


class UnsupportedMedia(Problem):
    """The body is of a media type that is not taken here."""

    status = 415


class NotSupported(Problem):
    """PS3.18 defines it, and this gateway does not do it."""

    status = 501


STATUSES: Final[tuple[tuple[type[Failure], int], ...]] = (
    (MalformedMultipart, 400),
    (TemporaryFailure, 503),
    (PermanentFailure, 409),
)
"""What is raised by those who know no HTTP. What is held and cannot be used is a conflict with
the state of the resource, which no other request will mend."""


def status_of(failure: Failure) -> int:
    """The HTTP status that says it truthfully."""
    if isinstance(failure, Problem):
        return failure.status
    return next(status for kind, status in STATUSES if isinstance(failure, kind))


def answer(status: int, text: str) -> web.Response:
    """A refusal with its reason; 503 says when to come again."""
    response = web.json_response({"error": text}, status=status)
    if status == web.HTTPServiceUnavailable.status_code:
        response.headers["Retry-After"] = str(_RETRY_AFTER_SECONDS)
    return response


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn what a handler raises into an answer."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        return _said(error)
    except Failure as failure:
        if not _begun(request):
            return answer(status_of(failure), str(failure))
        telemetry.alarm("an answer was cut off", resource=request.path, reason=str(failure))
    except ConnectionError:
        pass  # the client is gone
    except Exception as error:  # noqa: BLE001 - a bug in one answer is no end of the service
        telemetry.bug(f"{request.method} {request.path} failed", error)
        if not _begun(request):
            return answer(500, _BUG)
    return _cut(request)


def _said(error: web.HTTPException) -> web.StreamResponse:
    """aiohttp's own statuses with the same kind of body; redirects as they are."""
    if error.status < 400:
        raise error
    response = answer(error.status, error.text or error.reason)
    for name, value in error.headers.items():
        if name.lower() not in ("content-type", "content-length"):
            response.headers[name] = value
    return response


def _begun(request: web.Request) -> bool:
    """Whether some of an answer has gone out."""
    return request.writer.output_size > 0


def _cut(request: web.Request) -> web.StreamResponse:
    """Close the connection without the end that the body should have; what is returned is lost."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=503)
