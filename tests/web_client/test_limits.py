"""How much is asked of a server, and how Retry-After and odd JSON are read."""

import asyncio
from datetime import UTC, datetime

import pytest
from aiohttp import web

from gateway.config import load_text
from gateway.dicomweb.multipart import PartData
from gateway.failures import PermanentFailure
from gateway.web_client import Limits, OriginServer
from gateway.web_client.configured import server_settings
from gateway.web_client.failures import Refused, Unwelcome, failure_of, seconds_until
from gateway.web_client.json_array import MOST, ArrayReader, MalformedJson
from gateway.web_client.rate import Rate
from tests.web_client.origin import STUDY, study

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


async def test_no_more_requests_run_than_the_node_allows(origin):
    origin.instances = study(1)
    running = most = 0
    usual = origin.search

    async def counted(request):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01)
        running -= 1
        return await usual(request)

    origin.search = counted
    async with OriginServer(origin.settings(limits=Limits(parallel=2))) as server:
        await asyncio.gather(*(server.listed(STUDY) for _ in range(6)))
    assert most == 2


def test_a_node_says_how_many_bits_a_second():
    text = "{ url: 'https://c.example', mbit_per_s: 8 }"
    node = load_text(f"version: 1\nnodes: {{ c: {{ dicomweb: {text} }} }}", "test").nodes["c"]
    assert server_settings("c", node.dicomweb, max_instance=1).limits.bytes == 1_000_000


async def test_an_answer_is_read_at_the_rate_that_the_node_allows(origin, monkeypatch):
    waits, pause = [], asyncio.sleep

    async def noted(seconds):
        waits.append(seconds)
        await pause(0)

    monkeypatch.setattr(asyncio, "sleep", noted)
    origin.instances = study(1, pixels=500_000)
    async with OriginServer(origin.settings(limits=Limits(bytes=100_000.0))) as server:
        events = [each async for each in server.retrieve(STUDY)]
    size = sum(len(each.data) for each in events if isinstance(each, PartData))
    assert size > 500_000
    assert max(waits) == pytest.approx(size / 100_000 - 1, abs=0.5)


def test_a_rate_lets_a_burst_go_and_spaces_the_rest():
    rate = Rate(10, slack=1.0)
    assert [rate.delay(1, 100.0) for _ in range(10)] == [0.0] * 10
    assert rate.delay(1, 100.0) == pytest.approx(0.1)
    assert rate.delay(1, 100.0) == pytest.approx(0.2)
    assert rate.delay(5, 200.0) == 0.0
    assert Rate(None).delay(10**9, 0.0) == 0.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120),
        (" 0 ", 0),
        ("Sun, 22 Nov 2026 12:01:00 GMT", 60),
        ("Sun, 22 Nov 2026 11:00:00 GMT", 0),
        ("soon", None),
        ("", None),
        ("-5", None),
        ("²", None),
    ],
)
def test_retry_after_in_seconds_or_as_a_date(text, seconds):
    assert seconds_until(text, NOW) == seconds


@pytest.mark.parametrize(
    ("status", "kind", "again"),
    [
        (400, Unwelcome, None),
        (401, Refused, False),
        (404, Unwelcome, None),
        (413, Unwelcome, None),
        (429, Refused, True),
        (500, Refused, True),
        (503, Refused, True),
        (507, Refused, False),
        (302, Refused, False),
        (599, Refused, False),
    ],
)
def test_a_status_is_a_failure_of_its_kind(status, kind, again):
    failure = failure_of("pacs", status)
    assert type(failure) is kind
    assert getattr(failure, "again", None) is again
    assert str(failure).startswith(f"pacs answered {status}")


def read(*pieces):
    reader = ArrayReader()
    found = [each for piece in pieces for each in reader.feed(piece)]
    reader.close()
    return found


def test_objects_come_out_however_the_bytes_are_cut():
    text = '\ufeff [ {"a": "ü]}{"}, {"b": [1, {"c": "\\""}]} ] '.encode()
    whole = [{"a": "ü]}{"}, {"b": [1, {"c": '"'}]}]
    assert read(text) == whole
    assert read(*(text[n : n + 1] for n in range(len(text)))) == whole
    assert read(b"[]") == read(b"") == []


@pytest.mark.parametrize(
    "text", [b"{}", b"[1]", b"<html>", b'[{"a":1}', b'[{"a":', b"\xff[", b"null", b"[[" * 9]
)
def test_what_is_no_array_of_objects_is_malformed(text):
    with pytest.raises(MalformedJson):
        read(text)


def test_an_object_without_end_is_not_held_for_ever():
    reader = ArrayReader()
    assert list(reader.feed(b'[{"a": "' + b"x" * (MOST - 100))) == []
    with pytest.raises(MalformedJson, match="longer"):
        list(reader.feed(b"x" * 200))


async def test_wado_uri_alone_serves_single_instances(origin):
    origin.instances = study(3)
    wanted = origin.instances[1]

    async def by_uri(request):
        assert request.query["requestType"] == "WADO"
        assert request.query["contentType"] == "application/dicom"
        if "transferSyntax" in request.query:
            return web.Response(status=400)
        found = next(each for each in origin.instances if each.sop == request.query["objectUID"])
        return web.Response(body=found.data, content_type="application/dicom")

    origin.retrieve = by_uri
    settings = origin.settings(url="", wado_uri=f"http://127.0.0.1:{origin.port}/wado")
    async with OriginServer(settings) as server:
        events = [each async for each in server.retrieve(STUDY, wanted.series, wanted.sop)]
        with pytest.raises(PermanentFailure, match="WADO-URI only"):
            [each async for each in server.retrieve(STUDY)]
    data = b"".join(bytes(each.data) for each in events if isinstance(each, PartData))
    assert data == wanted.data
