"""Health and metrics over HTTP: /healthz, /readyz, /metrics (Prometheus text format)."""

from collections.abc import Callable, Iterable
from datetime import datetime

from aiohttp import web
from aiohttp.typedefs import Middleware
from prometheus_client import CONTENT_TYPE_LATEST, Gauge, generate_latest

from gateway import __version__, telemetry
from gateway.failures import Failure
from gateway.spool import Spool

OWED = Gauge("gateway_queue_depth", "Deliveries owed", ["destination"])
WAITING = Gauge("gateway_queue_deferred", "Deliveries that wait for another try", ["destination"])
HELD_NOW = Gauge("gateway_queue_held", "Deliveries held for a person", ["destination"])
OLDEST = Gauge("gateway_queue_oldest_seconds", "Age of the oldest delivery owed", ["destination"])


def application(
    spool: Spool,
    ready: Callable[[], str],
    clock: Callable[[], datetime],
    middlewares: Iterable[Middleware] = (),
) -> web.Application:
    """The HTTP application. ``ready`` returns "" or why the gateway takes nothing at present.

    ``middlewares`` see every request.
    """

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text=f"ok dicom-gateway {__version__}\n")

    async def readyz(_: web.Request) -> web.Response:
        reason = ready()
        return web.Response(text=f"{reason or 'ready'}\n", status=503 if reason else 200)

    async def metrics(_: web.Request) -> web.Response:
        try:
            await _refresh(spool, clock())
        except Failure as failure:
            telemetry.alarm("the ledger could not be read for metrics", reason=str(failure))
            return web.Response(text=f"{failure}\n", status=503)
        response = web.Response(body=generate_latest())
        response.headers["Content-Type"] = CONTENT_TYPE_LATEST
        return response

    app = web.Application(middlewares=middlewares)
    app.add_routes(
        [
            web.get("/healthz", healthz),
            web.get("/readyz", readyz),
            web.get("/metrics", metrics),
        ]
    )
    return app


async def _refresh(spool: Spool, now: datetime) -> None:
    """Set the queue gauges from the ledger, which is the queue."""
    counts = await spool.counts()
    for gauge in (OWED, WAITING, HELD_NOW, OLDEST):
        gauge.clear()
    for name, queue in counts.destinations.items():
        OWED.labels(name).set(queue.owed)
        WAITING.labels(name).set(queue.deferred)
        HELD_NOW.labels(name).set(queue.held)
        OLDEST.labels(name).set((now - queue.oldest).total_seconds() if queue.oldest else 0)
