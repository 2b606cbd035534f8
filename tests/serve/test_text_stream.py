"""Text in the coding that the client takes, as it reads it."""

import zlib

import aiohttp
import pytest
from aiohttp import web
from backports import zstd

from gateway.serve.text_stream import TextStream, coding_of
from tests.serve.test_auth import running

TEXT = b'{"00080018":{"vr":"UI"}}' * 500


@pytest.mark.parametrize(
    ("said", "coding"),
    [
        ("", ""),
        ("identity", ""),
        ("gzip", "gzip"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("zstd;q=0.5, gzip;q=0.8", "gzip"),
        ("zstd;q=0, gzip;q=0", ""),
        ("*", "zstd"),
        ("zstd;q=0, *", "gzip"),
        ("GZIP;q=nonsense", ""),
        ("br", ""),
    ],
)
async def test_the_best_coding_that_both_know_is_taken(said: str, coding: str) -> None:
    assert coding_of(said) == coding

    async def handler(request: web.Request) -> web.StreamResponse:
        response = TextStream(request, {"Content-Type": "application/json", "ETag": '"one"'})
        await response.prepare(request)
        for start in range(0, len(TEXT), 1000):
            await response.write(TEXT[start : start + 1000])
        return response

    application = web.Application()
    application.router.add_get("/", handler)
    async with (
        running(application) as url,
        aiohttp.ClientSession(auto_decompress=False) as session,
        session.get(url, headers={"Accept-Encoding": said}) as response,
    ):
        body = await response.read()
        assert response.headers.get("Content-Encoding", "") == coding
        assert response.headers["Vary"] == "Accept-Encoding"
        assert response.headers["ETag"] == ('W/"one"' if coding else '"one"')
    plain = {"": bytes, "gzip": lambda data: zlib.decompress(data, 31), "zstd": zstd.decompress}
    assert plain[coding](body) == TEXT
    assert bool(coding) == (len(body) < len(TEXT) / 4)
