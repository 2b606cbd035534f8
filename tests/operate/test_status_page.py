"""The page at ``/`` says which configuration is in force and what each node is owed."""

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from gateway.failures import TemporaryFailure
from gateway.operate.reload import Standing
from gateway.operate.status_page import add_status_page
from gateway.spool import Spool
from tests.spool.arrivals import START, Clock, keep

IN_FORCE = Standing("/etc/<gateway>.yaml", "abc123", datetime(2026, 3, 1, tzinfo=UTC))


class Page:
    """The page of a spool in which one instance is owed to pacs."""

    def __init__(self, spool: Spool, clock: Clock) -> None:
        self.spool, self.clock = spool, clock
        self.standing = IN_FORCE
        self.reason = ""
        self.routing = True

    async def text(self) -> str:
        app = web.Application()
        add_status_page(
            app,
            self.spool,
            lambda: self.standing,
            lambda: self.reason,
            self.clock,
            lambda: self.routing,
        )
        async with TestClient(TestServer(app)) as client:
            answer = await client.get("/")
            assert (answer.status, answer.content_type) == (200, "text/html")
            assert answer.headers["Cache-Control"] == "no-store"
            return await answer.text()

    async def plain(self) -> str:
        """The words of the page, a blank between two."""
        body = (await self.text()).partition("<body>")[2]
        return " ".join(re.sub(r"<[^>]*>", " ", body).split())


@pytest.fixture
async def page(tmp_path: Path) -> AsyncIterator[Page]:
    clock = Clock()
    spool = Spool.open(tmp_path, clock=clock, refuse_below_free=0)
    await keep(spool, "1.2.1", "pacs")
    yield Page(spool, clock)
    await spool.aclose()


async def test_it_shows_the_file_with_its_hash_and_what_is_owed(page: Page) -> None:
    page.clock.now = START + timedelta(days=1, hours=2)
    text = await page.plain()
    assert "Ready" in text
    assert "/etc/&lt;gateway&gt;.yaml SHA-256 abc123" in text
    assert "Waits for a restart nothing" in text
    assert "pacs 1 0 0 1 day, 2:00:00 0" in text
    assert "Not taken" not in text


async def test_a_bad_file_is_shown_with_its_own_hash_beside_the_one_in_force(page: Page) -> None:
    page.standing = replace(
        IN_FORCE,
        error="gateway.yaml:3:1: unknown key '<b>'",
        tried_at=START,
        tried_digest="bad456",
        needs_restart=("gateway.spool.path",),
    )
    page.reason = "the disk is full"
    text = await page.plain()
    assert "SHA-256 abc123" in text
    assert "SHA-256 bad456: gateway.yaml:3:1: unknown key &#x27;&lt;b&gt;&#x27;" in text
    assert "Waits for a restart gateway.spool.path" in text
    assert "Takes nothing: the disk is full" in text


async def test_a_ledger_that_cannot_be_read_leaves_the_rest(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails() -> None:
        raise TemporaryFailure("cannot read the ledger")

    monkeypatch.setattr(page.spool, "counts", fails)
    text = await page.plain()
    assert "cannot read the ledger" in text
    assert "SHA-256 abc123" in text


async def test_what_no_route_has_taken_stands_out_with_what_to_do(page: Page) -> None:
    assert "0 instances that no route has taken" in await page.plain()
    assert "<strong>" not in await page.text()
    await keep(page.spool, "1.2.2")
    await keep(page.spool, "1.2.3")
    assert '<p class="bad"><strong>2 instances that no route has taken</strong>' in (
        await page.text()
    )
    assert "dicom-gateway queue reroute --unrouted" in await page.plain()


async def test_where_there_are_no_routes_nothing_is_left_over(page: Page) -> None:
    page.routing = False
    await keep(page.spool, "1.2.2")
    assert "no route" not in await page.plain()
