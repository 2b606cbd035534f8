"""All that is served under /dicom-web and /wado, and what guards it."""

from collections.abc import Iterable

from aiohttp import web

from gateway.index import Index
from gateway.serve import (
    app,
    bulkdata,
    capabilities,
    cors,
    frames,
    metadata,
    qido_rs,
    rendered,
    stow_rs,
    wado_rs,
    wado_uri,
)
from gateway.serve.serving import Serving
from gateway.serve.upstream_search import UpstreamSearch


def mount(
    root: web.Application,
    serving: Serving,
    index: Index,
    more: Iterable[web.RouteDef] = (),
    upstream: UpstreamSearch | None = None,
) -> None:
    """Add DICOMweb to the gateway's web application; ``more`` are resources beside.

    What is searched is also looked for ``upstream``, where that is given.
    """
    resources = [
        *frames.routes(serving),  # asked for most often: one is tried after the other
        *qido_rs.routes(index, serving.settings, upstream),
        *stow_rs.routes(serving),
        *wado_rs.routes(serving),
        *metadata.routes(serving),
        *bulkdata.routes(serving),
        *rendered.routes(serving),
        *more,
    ]
    app.mount(
        root,
        [resources, capabilities.routes(resources)],
        wado_uri.routes(serving, rendered.rendered_by_uri),
    )
    root.on_response_prepare.append(cors.add_headers)
