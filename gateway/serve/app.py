"""The web application of DICOMweb: PS3.18 resources under /dicom-web, WADO-URI at /wado."""

from collections.abc import Iterable, Sequence
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Middleware

from gateway.serve.addresses import MOUNTED_AT
from gateway.serve.problems import problems

WADO_URI_AT: Final = "/wado"


def application(
    resources: Iterable[Iterable[web.RouteDef]],
    wado_uri: Iterable[web.RouteDef] = (),
    *,
    outer: Sequence[Middleware] = (),
    inner: Sequence[Middleware] = (),
) -> web.Application:
    """An application of its own; ``mount`` puts the same into one that has more to offer."""
    app = web.Application()
    mount(app, resources, wado_uri, outer=outer, inner=inner)
    return app


def mount(
    app: web.Application,
    resources: Iterable[Iterable[web.RouteDef]],
    wado_uri: Iterable[web.RouteDef] = (),
    *,
    outer: Sequence[Middleware] = (),
    inner: Sequence[Middleware] = (),
) -> None:
    """Add what the resource modules offer, their paths below /dicom-web, and WADO-URI.

    ``outer`` middlewares see answers as they go out, refusals too (CORS, compression); what
    ``inner`` ones raise is answered like what a resource raises (authentication).
    """
    for place, routes in (
        (MOUNTED_AT, [route for table in resources for route in table]),
        (WADO_URI_AT, list(wado_uri)),
    ):
        if routes:
            part = web.Application(middlewares=[*outer, problems, *inner])
            part.add_routes(routes)
            app.add_subapp(place, part)
