"""OHIF as a hospital serves it: its files and the gateway's DICOMweb under one origin.

The viewer comes from the npm package ``@ohif/app``, unpacked by ``.ci/run`` into ``FOLDER``; a
headless Chromium shows it.
"""

import json
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import pytest
from aiohttp import web

from gateway.config import load_text
from gateway.service import Service
from tests.serve.test_stow_rs import MULTIPART, multipart

if TYPE_CHECKING:
    from playwright.async_api import Browser

VERSION = "3.13.2"
FOLDER = Path(os.environ.get("OHIF_FOLDER", "~/.cache/dicom-gateway-ohif")).expanduser() / VERSION
CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
]
CONFIG = {
    "routerBasename": "/",
    "extensions": [],
    "modes": [],
    "showStudyList": True,
    "investigationalUseDialog": {"option": "never"},
    "defaultDataSourceName": "dicomweb",
    "dataSources": [
        {
            "namespace": "@ohif/extension-default.dataSourcesModule.dicomweb",
            "sourceName": "dicomweb",
            "configuration": {
                "friendlyName": "gateway",
                "name": "gateway",
                "qidoRoot": "/dicom-web",
                "wadoRoot": "/dicom-web",
                "imageRendering": "wadors",
                "thumbnailRendering": "wadors",
                "enableStudyLazyLoad": True,
                "supportsFuzzyMatching": True,
                "supportsWildcard": True,
                "dicomUploadEnabled": True,
                "omitQuotationForMultipartRequest": True,
                "bulkDataURI": {"enabled": True},
            },
        }
    ],
}

GATEWAY = """
version: 1
gateway:
  dicom: {{ listen: "127.0.0.1:0" }}
  web: {{ listen: "127.0.0.1:0" }}
  spool: {{ path: {spool}, refuse_below_free: 1MiB }}
"""

needs_ohif = pytest.mark.skipif(
    not (FOLDER / "dist/index.html").is_file() or not CHROMIUM.is_file(),
    reason=f"OHIF {VERSION} (npm pack @ohif/app) in {FOLDER} and {CHROMIUM} are needed",
)


@asynccontextmanager
async def hospital(gateway: str, asked: list[tuple[str, str, int]]) -> AsyncIterator[str]:
    """The viewer's address, before a gateway; ``asked`` gets (path, Accept, status).

    Paths of the gateway are passed on as they come and go, streamed.
    """
    async with aiohttp.ClientSession(auto_decompress=False) as session:

        async def forward(request: web.Request) -> web.StreamResponse:
            headers = {name: value for name, value in request.headers.items() if name != "Host"}
            body = request.content if request.body_exists else None
            url = gateway + request.raw_path
            async with session.request(
                request.method, url, headers=headers, data=body, allow_redirects=False
            ) as found:
                asked.append((request.raw_path, headers.get("Accept", ""), found.status))
                kept = {
                    name: value
                    for name, value in found.headers.items()
                    if name not in ("Transfer-Encoding", "Connection", "Date", "Server")
                }
                response = web.StreamResponse(status=found.status, headers=kept)
                await response.prepare(request)
                async for piece in found.content.iter_any():
                    await response.write(piece)
                return response

        application = web.Application()
        for place in ("/dicom-web", "/wado"):
            application.router.add_route("*", place + "{rest:.*}", forward)
        application.router.add_get("/app-config.js", _configuration)
        application.router.add_get("/{path:.*}", _static)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()


@asynccontextmanager
async def opened(
    folder: Path, files: Sequence[bytes]
) -> AsyncIterator[tuple[str, "Browser", list[tuple[str, str, int]]]]:
    """A gateway that holds ``files``: (the viewer's address, a browser, what was asked for)."""
    from playwright.async_api import async_playwright

    config = load_text(GATEWAY.format(spool=folder / "spool"), "test")
    asked: list[tuple[str, str, int]] = []
    async with (
        Service(config, clock=lambda: datetime.now(UTC)) as service,
        aiohttp.ClientSession() as session,
        hospital(f"http://127.0.0.1:{service.web_port}", asked) as address,
        async_playwright() as playwright,
    ):
        url = f"http://127.0.0.1:{service.web_port}/dicom-web/studies"
        headers = {"Content-Type": MULTIPART}
        async with session.post(url, data=multipart(*files), headers=headers) as stored:
            assert stored.status == 200
        browser = await playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        try:
            yield address, browser, asked
        finally:
            await browser.close()


async def _configuration(_: web.Request) -> web.Response:
    text = f"window.config = {json.dumps(CONFIG)};"
    return web.Response(text=text, content_type="text/javascript")


async def _static(request: web.Request) -> web.StreamResponse:
    file = (FOLDER / "dist" / request.match_info["path"]).resolve()
    if not file.is_file() or not file.is_relative_to(FOLDER.resolve()):
        file = FOLDER / "dist/index.html"
    headers = {
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Embedder-Policy": "require-corp",
    }
    if file.suffix == ".wasm":
        headers["Content-Type"] = "application/wasm"
    return web.FileResponse(file, headers=headers)
