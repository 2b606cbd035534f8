"""A lane that delivers by STOW-RS, from the ledger to the server and back."""

import asyncio
from collections import deque

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from gateway.deliver.policy import Destination
from gateway.deliver.stow_client import StowClient
from gateway.model import Arrival, Arriving, Origin, Owed
from gateway.transcode.reader import Reader
from gateway.web_client import OriginServer, Tls
from tests.deliver.fakes import FakeTime
from tests.deliver.test_with_spool import Watched
from tests.serve.test_tls import certificate
from tests.web_client.bodies import sops_of
from tests.web_client.origin import (
    CT,
    EXPLICIT_LE,
    STUDY,
    Stored,
    answering,
    referenced,
)


class Ward(Watched):
    """Arrivals that are real files."""

    async def keep(self, *destinations, **_):
        part = self.spool.create()
        uid = f"1.2.{part.path.stem.lstrip('0')}"
        made = Stored.make(uid)
        part.write(memoryview(made.data))
        arriving = Arriving(
            uid, CT, EXPLICIT_LE, STUDY, made.series, Origin(Arrival.C_STORE), part.size,
            self.time.now,
        )  # fmt: skip
        await self.spool.commit(part, arriving, [Owed(name, "route") for name in destinations])
        return uid


async def test_a_lane_delivers_by_stow_in_batches(origin, client, tmp_path):
    destination = Destination(Reader("cloud"), client)
    async with Ward(tmp_path, FakeTime(), destination) as ward:
        uids = [await ward.keep("cloud") for _ in range(20)]
        ward.scheduler.wake("cloud")
        await ward.verdicts(20)
        assert ward.states("cloud") == ["delivered"] * 20
    assert sorted(uid for uid, _ in origin.received) == sorted(uids)
    assert len(origin.requests) < 20, "several in a request"


async def test_a_lost_answer_costs_no_instance_and_a_duplicate_then_is_success(
    origin, client, tmp_path
):
    usual = origin.store

    async def loses(request):
        await usual(request)
        request.transport.abort()
        return web.Response()

    async def knows_it(request):
        found = sops_of(await request.read(), request.headers["Content-Type"])
        failed = [referenced(uid, reason=0x0111) for uid, _ in found]
        return await answering(409, failed=failed)(request)

    origin.script["store"] = deque([loses, knows_it])
    time = FakeTime()
    async with Ward(tmp_path, time, Destination(Reader("cloud"), client)) as ward:
        await ward.keep("cloud")
        ward.scheduler.wake("cloud")
        await ward.verdicts(1)
        assert ward.states("cloud") == ["owed"]
        async with asyncio.timeout(20):
            while ward.states("cloud") == ["owed"]:
                await time.advance(60)
        assert ward.states("cloud") == ["delivered"]


async def test_an_instance_the_server_refuses_is_held_and_the_rest_delivered(
    origin, client, tmp_path
):
    async def picky(request):
        found = [uid for uid, _ in sops_of(await request.read(), request.headers["Content-Type"])]
        return await answering(
            202,
            stored=[referenced(uid) for uid in found if uid != "1.2.3"],
            failed=[referenced(uid, reason=0xA900) for uid in found if uid == "1.2.3"],
        )(request)

    origin.store = picky
    async with Ward(tmp_path, FakeTime(), Destination(Reader("cloud"), client)) as ward:
        for _ in range(6):
            await ward.keep("cloud")
        ward.scheduler.wake("cloud")
        await ward.verdicts(6)
        assert sorted(ward.states("cloud")) == ["delivered"] * 5 + ["held"]


async def test_what_waits_for_a_certificate_is_owed_and_goes_once_it_is_there(origin, tmp_path):
    ca, time = tmp_path / "ca.pem", FakeTime()
    async with (
        OriginServer(origin.settings(tls=Tls(ca=ca))) as server,
        Ward(tmp_path, time, Destination(Reader("cloud"), StowClient(server))) as ward,
        asyncio.timeout(20),
    ):
        await ward.keep("cloud")
        ward.scheduler.wake("cloud")
        await ward.verdicts(1)
        assert ward.states("cloud") == ["owed"]
        ca.write_bytes(certificate(tmp_path, "authority").read_bytes())
        while ward.states("cloud") == ["owed"]:
            await time.advance(60)
        assert ward.states("cloud") == ["delivered"]


@pytest.mark.parametrize("url", ["http://pacs..example", "http://10.1.2"])
async def test_a_url_that_cannot_be_used_costs_a_try_and_holds_nothing(origin, tmp_path, url):
    """``check`` finds such ones: this is for what comes past it."""
    async with (
        OriginServer(origin.settings(url=url)) as server,
        Ward(tmp_path, FakeTime(), Destination(Reader("cloud"), StowClient(server))) as ward,
        asyncio.timeout(20),
    ):
        await ward.keep("cloud")
        with capture_logs() as logs:
            ward.scheduler.wake("cloud")
            await ward.verdicts(1)
        assert ward.states("cloud") == ["owed"]
    assert [each for each in logs if each["log_level"] == "error"] == []
