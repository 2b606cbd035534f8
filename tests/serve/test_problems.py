"""Failures as statuses: said in words before the first byte, a cut connection after it."""

from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from structlog.testing import capture_logs

from gateway.dicomweb.multipart import MalformedMultipart
from gateway.failures import AlreadyThere, PermanentFailure, TemporaryFailure
from gateway.serve.app import application
from gateway.serve.problems import (
    BadRequest,
    NotAcceptable,
    NotHere,
    NotSupported,
    TooLarge,
    UnsupportedMedia,
)

RAISED: dict[str, tuple[Exception, int]] = {
    "bad": (BadRequest("no UID"), 400),
    "multipart": (MalformedMultipart("cut at 7"), 400),
    "here": (NotHere("no such study"), 404),
    "acceptable": (NotAcceptable("Possible: all"), 406),
    "permanent": (PermanentFailure("no codestream"), 409),
    "there": (AlreadyThere("twice"), 409),
    "large": (TooLarge("more than max_body"), 413),
    "media": (UnsupportedMedia("text/plain"), 415),
    "supported": (NotSupported("anonymize"), 501),
    "temporary": (TemporaryFailure("the disk is full"), 503),
    "forbidden": (web.HTTPForbidden(reason="not you"), 403),
    "bug": (KeyError("patient's name"), 500),
}


async def raising(request: web.Request) -> web.StreamResponse:
    raise RAISED[request.match_info["kind"]][0]


async def begun(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b"some of it")
    raise RAISED[request.match_info["kind"]][0]


@pytest.fixture
async def url() -> AsyncIterator[str]:
    routes = [web.get("/raise/{kind}", raising), web.get("/begin/{kind}", begun)]
    server = TestServer(application([routes]))
    await server.start_server()
    yield f"http://127.0.0.1:{server.port}/dicom-web"
    await server.close()


@pytest.mark.parametrize("kind", RAISED)
async def test_a_failure_has_its_status_and_its_words(url: str, kind: str) -> None:
    failure, status = RAISED[kind]
    with capture_logs() as lines:
        async with aiohttp.ClientSession() as client, client.get(f"{url}/raise/{kind}") as answer:
            assert answer.status == status
            said = (await answer.json())["error"]
    assert ("Retry-After" in answer.headers) == (status == 503)
    if kind == "bug":
        assert "patient" not in said
        assert [line["log_level"] for line in lines] == ["error"]
    else:
        assert said in (str(failure), "403: not you")
        assert lines == []


@pytest.mark.parametrize("kind", ["permanent", "temporary", "bug"])
async def test_after_the_first_byte_the_connection_is_cut(url: str, kind: str) -> None:
    with capture_logs() as lines:
        async with aiohttp.ClientSession() as client, client.get(f"{url}/begin/{kind}") as answer:
            assert answer.status == 200
            with pytest.raises(aiohttp.ClientPayloadError):
                await answer.read()
    assert len(lines) == 1


async def test_a_path_that_nobody_serves_is_said_in_the_same_way(url: str) -> None:
    async with aiohttp.ClientSession() as client, client.get(f"{url}/elsewhere") as answer:
        assert (answer.status, answer.content_type) == (404, "application/json")
