"""The transparent proxy: what an upstream origin server has, served as if it were here."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from types import SimpleNamespace

import aiohttp
import pytest
from aiohttp import web

from gateway.config import load_text
from gateway.failures import TemporaryFailure
from gateway.index import Index
from gateway.intake import Intake
from gateway.model import Arrival, Instance
from gateway.route.rules import compile_rules
from gateway.serve import qido_rs, upstream, wado_rs
from gateway.serve.app import application
from gateway.serve.holdings import LocalHoldings
from gateway.serve.serving import ServeSettings, Serving
from gateway.serve.upstream import BadGateway, GatewayTimeout, UpstreamHoldings
from gateway.serve.upstream_search import UpstreamSearch
from gateway.spool import Spool
from gateway.web_client import OriginServer, Patience
from tests.serve.parts import parts_of
from tests.serve.test_auth import running
from tests.web_client.origin import STUDY, FakeOrigin, Stored, hang, status, study

ROUTES = """
version: 1
nodes: { pacs: { dimse: { ae_title: PACS, host: 127.0.0.1 } } }
routes: [ { name: all, send_to: [pacs] } ]
"""
AS_STORED = 'multipart/related; type="application/dicom"; transfer-syntax=*'


class Proxy:
    """A gateway's holdings with one upstream, and DICOMweb over them."""

    def __init__(self, folder, server) -> None:
        self.owed: list[object] = []
        self.kept: list[Instance] = []
        self.spool = Spool.open(folder, clock=lambda: datetime.now(UTC), refuse_below_free=1)
        self.index = Index.open(folder, ledger=self.spool.ledger, file_of=self.spool.file_of)
        rules = compile_rules(load_text(ROUTES, "test"))
        clock = lambda: datetime.now(UTC)  # noqa: E731
        self.intake = Intake(self.spool, rules, kept=self._kept, clock=clock)
        self.local = LocalHoldings(self.index, self.spool)
        self.holdings = UpstreamHoldings(self.local, [server], self.intake)
        self.search = UpstreamSearch(self.index, [server])

    def _kept(self, instance, owed):
        self.kept.append(instance)
        self.owed += owed
        self.index.kept(instance)

    async def get(self, *scope):
        return [each.sop_instance_uid async for each in self.holdings.instances(*scope)]

    def app(self):
        serving = SimpleNamespace(
            holdings=self.holdings, derivations=None,
            pool=SimpleNamespace(workers=1), intake=self.intake,
            settings=ServeSettings(), clock=lambda: datetime.now(UTC),
        )  # fmt: skip
        assert set(Serving.__dataclass_fields__) <= set(vars(serving))
        return application(
            [wado_rs.routes(serving), qido_rs.routes(self.index, ServeSettings(), self.search)]
        )

    async def aclose(self):
        await self.holdings.aclose()
        await self.index.aclose()
        await self.spool.aclose()


@pytest.fixture
async def origin() -> AsyncIterator[FakeOrigin]:
    async with FakeOrigin().running() as started:
        yield started


@pytest.fixture
async def server(origin):
    async with OriginServer(origin.settings()) as opened:
        yield opened


@pytest.fixture
async def proxy(tmp_path, server):
    made = Proxy(tmp_path / "spool", server)
    yield made
    await made.aclose()


def sops(origin):
    return sorted(each.sop for each in origin.instances)


async def test_what_is_not_here_comes_from_upstream_is_kept_and_owed_to_nobody(origin, proxy):
    origin.instances = study(5)
    assert sorted(await proxy.get(STUDY)) == sops(origin)
    assert sorted(each.sop_instance_uid for each in proxy.kept) == sops(origin)
    assert proxy.owed == []
    assert {each.origin.arrival for each in proxy.kept} == {Arrival.UPSTREAM}


async def test_what_is_here_is_not_retrieved_again(origin, proxy):
    origin.instances = study(5)
    await proxy.get(STUDY)
    asked = len(origin.requests)
    assert sorted(await proxy.get(STUDY)) == sops(origin)
    assert len(origin.requests) == asked, "fresh: not even asked"


async def test_a_study_that_grew_upstream_is_completed(origin, proxy, monkeypatch):
    monkeypatch.setattr(upstream, "FRESH", 0.0)
    origin.instances = study(4)
    await proxy.get(STUDY)
    origin.instances.append(Stored.make("1.2.3.1.99"))
    assert sorted(await proxy.get(STUDY)) == sops(origin)
    assert len(proxy.kept) == 5


async def test_one_instance_that_is_here_asks_nobody(origin, proxy):
    origin.instances = study(2)
    await proxy.get(STUDY)
    origin.requests.clear()
    one = origin.instances[0]
    assert await proxy.get(STUDY, one.series, one.sop) == [one.sop]
    assert origin.requests == []


async def test_one_series_is_asked_for_by_series(origin, proxy):
    origin.instances = study(6)
    assert len(await proxy.get(STUDY, "1.2.3.1")) == 3
    assert origin.asked("retrieve") == [f"/studies/{STUDY}/series/1.2.3.1"]


async def test_what_nobody_has_is_nothing(origin, proxy):
    assert await proxy.get("1.9.9") == []


async def test_the_first_instance_is_handed_out_while_the_study_is_still_coming(origin, proxy):
    origin.instances = study(4)
    go_on = asyncio.Event()

    async def halting(request):
        found = origin.within(request)
        return await stream(request, found[:2], go_on, found[2:])

    origin.retrieve = halting
    coming = proxy.holdings.instances(STUDY)
    first = await anext(coming)
    assert first.file.exists()
    assert not go_on.is_set()
    go_on.set()
    assert len([each async for each in coming]) == 3


async def test_nobody_waits_for_the_disk(origin, proxy, monkeypatch):
    origin.instances = study(2)
    synced = asyncio.Event()
    commit = proxy.spool.commit

    async def slow(*what):
        await synced.wait()
        return await commit(*what)

    monkeypatch.setattr(proxy.spool, "commit", slow)
    coming = proxy.holdings.instances(STUDY)
    first = await anext(coming)
    content, kept = first.file.read_bytes(), list(proxy.kept)
    synced.set()
    assert content.endswith(origin.instances[0].data[-60:])
    assert kept == []
    assert len([each async for each in coming]) == 1
    assert first.file.exists(), "whoever reads it goes on"
    assert len(proxy.kept) == 2


async def test_a_full_disk_is_our_own_failure_and_no_whole_study(origin, proxy, monkeypatch):
    origin.instances = study(2)

    async def full(*_):
        raise TemporaryFailure("the disk is full")

    monkeypatch.setattr(proxy.spool, "commit", full)
    with pytest.raises(TemporaryFailure, match="disk is full"):
        await proxy.get(STUDY)


async def stream(request, before, event, after):
    """Some instances, then others once the event has come."""
    kind = 'multipart/related; type="application/dicom"; boundary=b'
    response = web.StreamResponse(headers={"Content-Type": kind})
    await response.prepare(request)
    for each in before:
        await response.write(b"\r\n--b\r\n\r\n" + each.data)
    await response.write(b"\r\n--b\r\n")
    await event.wait()
    for number, each in enumerate(after):
        await response.write((b"\r\n--b\r\n" if number else b"") + b"\r\n" + each.data)
    await response.write(b"\r\n--b--\r\n")
    return response


async def test_clients_of_one_study_share_one_retrieval(origin, proxy):
    origin.instances = study(4)
    go_on = asyncio.Event()

    async def halting(request):
        found = origin.within(request)
        return await stream(request, found[:1], go_on, found[1:])

    origin.retrieve = halting
    first = asyncio.create_task(proxy.get(STUDY))
    second = proxy.holdings.instances(STUDY)
    assert (await anext(second)).sop_instance_uid == origin.instances[0].sop
    third = asyncio.create_task(proxy.get(STUDY, "1.2.3.2"))
    go_on.set()
    assert sorted(await first) == sops(origin)
    assert len([each async for each in second]) == 3
    assert len(await third) == 2
    assert len(origin.asked("retrieve")) == 1
    assert len(proxy.kept) == 4


async def test_a_client_that_leaves_stops_it_for_nobody(origin, proxy):
    origin.instances = study(3)
    go_on = asyncio.Event()

    async def halting(request):
        found = origin.within(request)
        return await stream(request, found[:1], go_on, found[1:])

    origin.retrieve = halting
    leaving, staying = proxy.holdings.instances(STUDY), proxy.holdings.instances(STUDY)
    await anext(leaving)
    await anext(staying)
    await leaving.aclose()
    go_on.set()
    assert len([each async for each in staying]) == 2


async def test_an_upstream_that_is_down_is_502_and_one_that_is_silent_504(origin, proxy, tmp_path):
    origin.retrieve = origin.search = status(500)
    with pytest.raises(BadGateway, match="500"):
        await proxy.get(STUDY)
    patience = Patience(connect=0.1, first_byte=0.1, between_bytes=0.1, attempts=1)
    origin.retrieve = origin.search = hang
    async with OriginServer(origin.settings(patience=patience)) as slow:
        other = Proxy(tmp_path / "other", slow)
        with pytest.raises(GatewayTimeout):
            await other.get(STUDY)
        await other.aclose()


async def test_part_of_a_study_does_not_pass_for_all_of_it(origin, proxy):
    origin.instances = study(3)
    one = origin.instances[0]
    await proxy.get(STUDY, one.series, one.sop)
    origin.search = status(500)
    with pytest.raises(BadGateway):
        await proxy.get(STUDY)


async def test_a_study_that_was_whole_is_served_while_the_upstream_is_down(
    origin, proxy, monkeypatch
):
    monkeypatch.setattr(upstream, "FRESH", 0.0)
    origin.instances = study(3)
    await proxy.get(STUDY)
    origin.retrieve = origin.search = status(503)
    assert len(await proxy.get(STUDY)) == 3


async def test_over_http_an_upstream_that_fails_in_the_middle_cuts_the_answer(origin, proxy):
    origin.instances = study(3, series=1)
    lost = origin.instances[2].sop

    async def cuts(request):
        found = origin.within(request)
        at = next((n for n, each in enumerate(found) if each.sop == lost), None)
        return await origin.send(request, found, cut=at)

    origin.retrieve = cuts
    async with running(proxy.app()) as url, aiohttp.ClientSession() as session:
        address = f"{url}/dicom-web/studies/{STUDY}"
        async with session.get(address, headers={"Accept": AS_STORED}) as answer:
            assert answer.status == 200
            with pytest.raises(aiohttp.ClientError):
                await answer.read()


async def test_over_http_a_study_is_proxied_as_stored(origin, proxy):
    origin.instances = study(3, pixels=5000)
    async with running(proxy.app()) as url, aiohttp.ClientSession() as session:
        address = f"{url}/dicom-web/studies/{STUDY}"
        async with session.get(address, headers={"Accept": AS_STORED}) as answer:
            assert answer.status == 200
            assert len(await parts_of(answer)) == 3
        async with session.get(f"{url}/dicom-web/studies/1.9") as answer:
            assert answer.status == 404
        origin.retrieve = origin.search = status(500)
        async with session.get(f"{url}/dicom-web/studies/1.8") as answer:
            assert answer.status == 502
            assert "pacs" in (await answer.json())["error"]


async def found(proxy, path, expected=200):
    async with (
        running(proxy.app()) as url,
        aiohttp.ClientSession() as session,
        session.get(f"{url}/dicom-web{path}") as answer,
    ):
        assert answer.status == expected
        return await answer.json(content_type=None), answer.headers


def at(rows, tag):
    return [row[tag]["Value"][0] for row in rows]


async def test_a_search_finds_what_is_here_and_what_is_upstream_each_once(origin, proxy):
    origin.instances = study(3)
    await proxy.get(STUDY, origin.instances[0].series, origin.instances[0].sop)
    origin.instances.append(Stored.make("5.5.1", "5.5", "5"))
    rows, headers = await found(proxy, "/studies")
    assert at(rows, "0020000D") == [STUDY, "5"]
    assert at(rows, "00201208") == [3, 1], "the upstream knows how many there are"
    assert at(rows, "00081190")[1].endswith("/dicom-web/studies/5")
    assert headers["X-Total-Count"] == "2"


async def test_pages_of_a_merged_search_hold_each_result_once(origin, proxy):
    origin.instances = [Stored.make(f"5.{n}.1", f"5.{n}.0", f"5.{n}") for n in range(7)]
    await proxy.get("5.4")
    seen = []
    for offset in (0, 3, 6):
        rows, headers = await found(proxy, f"/studies?limit=3&offset={offset}")
        seen += at(rows, "0020000D")
        assert ("Warning" in headers) == (offset < 6)
    assert sorted(seen) == sorted(f"5.{n}" for n in range(7))


async def test_matching_keys_are_passed_on_and_our_own_parameters_are_not(origin, proxy):
    await found(proxy, "/studies?PatientID=7*&limit=5&accept=application/json&includefield=all")
    query = origin.requests[0].query
    assert (query["PatientID"], query["includefield"]) == ("7*", "all")
    assert "accept" not in query
    assert query["limit"] != "5"


async def test_a_search_below_a_study_goes_to_the_same_study(origin, proxy):
    origin.instances = study(4)
    rows, _ = await found(proxy, f"/studies/{STUDY}/series/1.2.3.1/instances")
    assert sorted(at(rows, "00080018")) == ["1.2.3.1.1", "1.2.3.1.3"]


async def test_a_failed_upstream_is_a_warning_beside_results_and_502_without(origin, proxy):
    origin.instances = study(2)
    await proxy.get(STUDY)
    origin.search = status(403)
    rows, headers = await found(proxy, "/studies")
    assert at(rows, "0020000D") == [STUDY]
    assert "not asked" in headers["Warning"]
    assert "X-Total-Count" not in headers
    said, _ = await found(proxy, "/studies?PatientID=nobody", expected=502)
    assert "pacs" in said["error"]


async def test_an_upstream_without_search_gives_what_it_has_once(origin, proxy, monkeypatch):
    monkeypatch.setattr(upstream, "FRESH", 0.0)
    origin.instances = study(2)
    origin.search = status(404)
    assert len(await proxy.get(STUDY)) == 2
    assert len(await proxy.get(STUDY)) == 2
    assert len(origin.asked("retrieve")) == 1


async def test_a_busy_upstream_is_asked_again_before_anything_fails(origin, proxy):
    origin.instances = study(2)
    origin.script["retrieve"] = deque([status(503, Retry_After="0")])
    assert len(await proxy.get(STUDY)) == 2
