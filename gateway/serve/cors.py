"""Cross-Origin Resource Sharing: which web pages may read what the gateway serves (Fetch §3.2)."""

from collections.abc import Callable, Collection
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

_METHODS: Final = "GET, HEAD, POST, OPTIONS"
_EXPOSED: Final = (
    "Content-Location, Content-Range, ETag, Last-Modified, Location, Retry-After, Warning, "
    "WWW-Authenticate, X-Total-Count"
)
_DAY: Final = "86400"
_VARIES: Final = {"Vary": "Origin"}
_SHARED: Final = web.RequestKey("cors", dict[str, str])


def sharing(origins_now: Callable[[], Collection[str]]) -> Middleware:
    """The middleware for pages from these origins (scheme, host, port); "*" is any page.

    A page of any origin gets no credentials along: those belong to the origins that are named.
    """

    @web.middleware
    async def share(request: web.Request, handler: Handler) -> web.StreamResponse:
        origins, origin = origins_now(), request.headers.get("Origin", "")
        allowed = origin if origin in origins else "*" if "*" in origins else ""
        asked = request.headers.get("Access-Control-Request-Method")
        if origin and allowed and request.method == "OPTIONS" and asked:
            response: web.StreamResponse = web.Response(status=204)
            response.headers["Access-Control-Allow-Methods"] = _METHODS
            response.headers["Access-Control-Allow-Headers"] = request.headers.get(
                "Access-Control-Request-Headers", "*"
            )
            response.headers["Access-Control-Max-Age"] = _DAY
            response.headers.update(_headers(allowed))
            return response
        request[_SHARED] = _headers(allowed) if origin and allowed else _VARIES if origins else {}
        return await handler(request)

    return share


def _headers(allowed: str) -> dict[str, str]:
    headers = {
        "Access-Control-Allow-Origin": allowed,
        "Access-Control-Expose-Headers": _EXPOSED,
        "Vary": "Origin",
    }
    if allowed != "*":
        headers["Access-Control-Allow-Credentials"] = "true"
    return headers


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Signal ``on_response_prepare``: streamed answers and errors are shared like any other."""
    shared = request.get(_SHARED, {})
    varies = response.headers.get("Vary", ""), shared.get("Vary", "")
    response.headers.update(shared)
    if any(varies):
        response.headers["Vary"] = ", ".join(filter(None, varies))
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers["Server"] = "dicom-gateway"
