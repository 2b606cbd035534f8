"""What this origin server can do, for programs and people (PS3.18 §8.9, WADL)."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final
from xml.sax.saxutils import quoteattr

from aiohttp import web

from gateway import __version__
from gateway.dicomweb.accept import best_of, parse_accept
from gateway.dicomweb.media_types import JSON

WADL: Final = "application/vnd.sun.wadl+xml"


def routes(offered: Sequence[web.RouteDef]) -> list[web.RouteDef]:
    """``OPTIONS /`` and ``GET /`` over the resources that are ``offered``."""
    resources = _resources(offered)

    async def capabilities(request: web.Request) -> web.Response:
        ranges = parse_accept(request.headers.getall("Accept", ()), request.query.get("accept"))
        if best_of(ranges, (WADL, JSON)) == JSON:
            return web.json_response(
                {
                    "server": f"dicom-gateway {__version__}",
                    "resources": [
                        {"path": path, "methods": methods} for path, methods in resources.items()
                    ],
                }
            )
        return web.Response(text=_wadl(resources), content_type=WADL)

    return [web.route("OPTIONS", "/", capabilities), web.get("/", capabilities)]


def _resources(offered: Iterable[web.RouteDef]) -> Mapping[str, list[str]]:
    found: dict[str, list[str]] = {}
    for route in offered:
        found.setdefault(route.path, []).append(route.method)
    return dict(sorted(found.items()))


def _wadl(resources: Mapping[str, Sequence[str]]) -> str:
    """The Web Application Description that PS3.18 §8.9.2 asks for."""
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        '<application xmlns="http://wadl.dev.java.net/2009/02">',
        ' <resources base="">',
    ]
    for path, methods in resources.items():
        lines.append(f"  <resource path={quoteattr(path.lstrip('/'))}>")
        lines += [f'   <method name="{method}"/>' for method in methods]
        lines.append("  </resource>")
    return "\n".join((*lines, " </resources>", "</application>", ""))
