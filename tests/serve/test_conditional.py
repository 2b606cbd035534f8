"""What a client has already is answered 304, what has changed is sent."""

from dataclasses import replace
from datetime import UTC, datetime

import aiohttp
import pytest
from aiohttp import web

from gateway.model import Arrival, Instance, Origin
from gateway.serve import conditional
from gateway.serve.conditional import check_unchanged, headers_of, tag_of
from gateway.serve.problems import problems
from tests.serve.test_auth import running

ONE = Instance(
    sop_instance_uid="1.2.3",
    sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
    transfer_syntax="1.2.840.10008.1.2.1",
    study_uid="1.2",
    series_uid="1.2.1",
    origin=Origin(Arrival.C_STORE),
    size=100,
    received_at=datetime(2026, 1, 2, tzinfo=UTC),
    spool_id=7,
)


def test_a_tag_changes_with_the_instances_and_with_the_form() -> None:
    other = replace(ONE, spool_id=8)
    tags = {
        tag_of([ONE]),
        tag_of([other]),
        tag_of([ONE, other]),
        tag_of([other, ONE]),
        tag_of([ONE], "json"),
        tag_of([ONE], "xml"),
    }
    assert len(tags) == 6
    assert tag_of([ONE], "json") == tag_of([replace(ONE)], "json")


def test_a_tag_changes_with_the_versions_of_the_decoders(monkeypatch: pytest.MonkeyPatch) -> None:
    before = tag_of([ONE])
    monkeypatch.setattr(conditional, "versions", lambda: ("imagecodecs 1999.1.1",))
    assert tag_of([ONE]) != before


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ("", 200),
        ('"{tag}"', 304),
        ('W/"{tag}"', 304),
        ('"other", "{tag}"', 304),
        ('"other"', 200),
        ("*", 304),
        ("nonsense", 200),
    ],
)
async def test_only_what_the_client_has_is_not_sent_again(said: str, status: int) -> None:
    tag = tag_of([ONE], "json")

    async def handler(request: web.Request) -> web.Response:
        check_unchanged(request, tag)
        return web.Response(text="pixels", headers=headers_of(tag))

    application = web.Application(middlewares=[problems])
    application.router.add_get("/", handler)
    headers = {"If-None-Match": said.format(tag=tag)} if said else {}
    async with (
        running(application) as url,
        aiohttp.ClientSession() as session,
        session.get(url, headers=headers) as response,
    ):
        assert (response.status, response.headers["ETag"]) == (status, f'"{tag}"')
        assert await response.text() == ("pixels" if status == 200 else "")
