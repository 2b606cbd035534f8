"""Requests made of odd pieces: every one is answered in words, none with 500, none by a bug."""

import random
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from structlog.testing import capture_logs
from yarl import URL

from gateway.serve import bulkdata, frames, metadata, rendered, wado_rs, wado_uri
from tests.serve import objects
from tests.serve.gallery import SERIES, STUDY, Gateway, opened_gateway
from tests.transcode.objects import header, save

UIDS = [
    "1.2.3",
    "1.2.3.4",
    "2.25.1",
    "2.25.9",
    "",
    "x",
    "..",
    "%2e%2e",
    "%00",
    "1" * 65,
    "%C3%A9",
    "*",
]
LEAVES = [
    "",
    "/metadata",
    "/rendered",
    "/thumbnail",
    "/bulkdata/7FE00010",
    "/bulkdata/x",
    "/frames",
]
NUMBERS = ["1", "2", "0", "-1", "1,2", "1,,", "9" * 30, "a", "%31", "1%2C2", "%20", "1.0"]
NAMES = ["accept", "window", "viewport", "quality", "annotation", "charset", "contentType"]
NAMES += ["transferSyntax", "frameNumber", "requestType", "studyUID", "seriesUID", "objectUID"]
NAMES += ["windowCenter", "windowWidth", "rows", "columns", "region", "imageQuality", "anonymize"]
VALUES = ["", "1", "-1", "0", "1,2", "1,2,linear", "WADO", STUDY, SERIES, "2.25.1", "yes", "*"]
VALUES += [
    "nan",
    "1e999",
    "99999999999",
    "image/jpeg",
    "application/dicom",
    "é",
    "%",
    "a;b=c",
    "\0",
]
ACCEPTS = [
    "",
    "*/*",
    "image/png",
    "application/dicom",
    ";;;",
    'multipart/related; type="',
    "a/b;q=x",
]
ACCEPTS += [
    "multipart/related; type=application/dicom; transfer-syntax=1.2.3",
    "é/é",
    '"',
    "*;*=*",
]
ACCEPTS += ["multipart/related; type=image/*", "application/octet-stream; transfer-syntax=*"]


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    async with opened_gateway(
        tmp_path,
        lambda serving: [
            module.routes(serving) for module in (wado_rs, frames, metadata, bulkdata, rendered)
        ],
        lambda serving: wado_uri.routes(serving, rendered.rendered_by_uri),
    ) as running:
        hang = running.gallery.hang
        hang(objects.jpeg_ls(tmp_path / "a.dcm", objects.pictures(2)))
        hang(save(tmp_path / "b.dcm", header(0, 0), objects.EXPLICIT_LE), series="1.2.3.5")
        hang(objects.undecodable(tmp_path / "c.dcm"), series="1.2.3.6")
        hang(objects.video(tmp_path / "d.dcm"), series="1.2.3.7")
        yield running


def _path(chance: random.Random) -> str:
    if chance.random() < 0.2:
        return "/wado"
    likely = [
        (STUDY, SERIES, "2.25.1"),
        (STUDY, "1.2.3.5", "2.25.2"),
        (STUDY, "1.2.3.6", "2.25.3"),
    ]
    uids = list(chance.choice([*likely, (STUDY, "1.2.3.7", "2.25.4")]))
    if chance.random() < 0.3:
        uids[chance.randrange(3)] = chance.choice(UIDS)
    study, series, sop = uids
    path = f"/dicom-web/studies/{study}"
    if chance.random() < 0.8:
        path += f"/series/{series}"
        if chance.random() < 0.8:
            path += f"/instances/{sop}"
            if chance.random() < 0.5:
                path += f"/frames/{chance.choice(NUMBERS)}"
    return path + chance.choice(LEAVES)


async def test_odd_requests_are_answered_in_words(gateway: Gateway) -> None:
    chance = random.Random(20240506)  # noqa: S311 - the same pieces each time
    seen: set[int] = set()
    with capture_logs() as lines:
        async with aiohttp.ClientSession() as client:
            for _ in range(600):
                query = {chance.choice(NAMES): chance.choice(VALUES) for _ in range(3)}
                if chance.random() < 0.5:
                    query = {}
                url = URL(gateway.url(_path(chance)), encoded=True).with_query(query)
                method = chance.choice(["GET", "GET", "GET", "HEAD"])
                accept = {"Accept": chance.choice(ACCEPTS)}
                async with client.request(method, url, headers=accept) as answer:
                    body = await answer.read()
                    said = (method, str(url), accept, answer.status, body[:200])
                assert answer.status in (200, 204, 400, 404, 406, 409, 501), said
                if answer.status >= 400 and method == "GET":
                    assert body.startswith(b'{"error": "'), said
                seen.add(answer.status)
    assert {200, 400, 404, 406} <= seen
    assert not [line for line in lines if line["log_level"] == "error"]
