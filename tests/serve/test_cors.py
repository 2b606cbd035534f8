"""Web pages of other origins: who may read, over real HTTP."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web
from multidict import CIMultiDictProxy

from gateway.serve import cors
from gateway.serve.problems import NotHere, problems
from tests.serve.test_auth import running

VIEWER = "https://viewer.example"


async def _streamed(request: web.Request) -> web.StreamResponse:
    if request.path == "/missing":
        raise NotHere("nothing of that name")
    response = web.StreamResponse(headers={"Vary": "Accept"} if request.path == "/varies" else {})
    await response.prepare(request)
    await response.write(b"pixels")
    return response


@asynccontextmanager
async def sharing(*origins: str) -> AsyncIterator[str]:
    application = web.Application(middlewares=[cors.sharing(lambda: origins), problems])
    application.on_response_prepare.append(cors.add_headers)
    application.router.add_get("/{path:.*}", _streamed)
    async with running(application) as url:
        yield url


async def ask(
    url: str, origin: str, method: str = "GET", **headers: str
) -> tuple[int, CIMultiDictProxy[str]]:
    sent = {"Origin": origin, **{name.replace("_", "-"): value for name, value in headers.items()}}
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, url, headers=sent) as response,
    ):
        return response.status, response.headers


@pytest.mark.parametrize("path", ["/studies", "/missing"])
async def test_a_named_page_may_read_answers_and_refusals(path: str) -> None:
    async with sharing(VIEWER) as url:
        _, headers = await ask(url + path, VIEWER)
    assert headers["Access-Control-Allow-Origin"] == VIEWER
    assert headers["Access-Control-Allow-Credentials"] == "true"
    assert "Content-Location" in headers["Access-Control-Expose-Headers"]
    assert headers["Vary"] == "Origin"
    assert headers["X-Content-Type-Options"] == "nosniff"


async def test_a_page_that_is_not_named_may_not() -> None:
    async with sharing(VIEWER) as url:
        _, headers = await ask(f"{url}/studies", "https://evil.example")
    assert "Access-Control-Allow-Origin" not in headers


async def test_any_page_may_read_without_credentials_where_all_may() -> None:
    async with sharing("*") as url:
        _, headers = await ask(f"{url}/studies", "https://anyone.example")
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Credentials" not in headers


async def test_a_preflight_is_answered_for_a_named_page_only() -> None:
    asked = {
        "Access_Control_Request_Method": "POST",
        "Access_Control_Request_Headers": "authorization, content-type",
    }
    async with sharing(VIEWER) as url:
        status, headers = await ask(f"{url}/studies", VIEWER, "OPTIONS", **asked)
        assert (status, headers["Access-Control-Allow-Headers"]) == (
            204,
            "authorization, content-type",
        )
        assert "POST" in headers["Access-Control-Allow-Methods"]
        status, headers = await ask(f"{url}/studies", "https://evil.example", "OPTIONS", **asked)
        assert status == 405
        assert "Access-Control-Allow-Origin" not in headers


async def test_a_cache_is_told_all_that_an_answer_depends_on() -> None:
    async with sharing(VIEWER) as url:
        for origin in (VIEWER, "https://evil.example", ""):
            _, headers = await ask(f"{url}/varies", origin)
            assert headers["Vary"] == "Accept, Origin", origin
