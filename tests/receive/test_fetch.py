"""Fetching by a person and by rules, from an origin server over a real socket."""

import asyncio
from collections import deque
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from gateway.config import load_text
from gateway.config.windows import parse_window
from gateway.failures import PermanentFailure
from gateway.receive import fetch_jobs
from gateway.receive.fetch_jobs import FetchJobs, routes
from gateway.receive.fetch_memory import BELIEVED, FILE, FORGET, Memory
from gateway.receive.fetch_rules import FetchRule, FetchRules
from gateway.receive.wado_fetch import Fetcher
from gateway.retrieval import Scope
from gateway.spool import Spool
from gateway.web_client import OriginServer
from tests.retrieval.house import House
from tests.web_client.origin import STUDY, FakeOrigin, Stored, hang, status, study

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture
async def origin():
    async with FakeOrigin().running() as running:
        yield running


@pytest.fixture
async def house(tmp_path):
    spool = Spool.open(tmp_path / "spool", clock=lambda: NOON, refuse_below_free=1)
    yield House(spool)
    await spool.aclose()


@pytest.fixture
async def fetcher(origin, house):
    async with OriginServer(origin.settings()) as server:
        yield Fetcher({"pacs": server}, house.intake, house.held)


@asynccontextmanager
async def api(fetcher):
    jobs = FetchJobs(fetcher, lambda: datetime.now(UTC))
    app = web.Application()
    app.add_routes(routes(jobs))
    async with TestClient(TestServer(app)) as client:
        try:
            yield client
        finally:
            await jobs.aclose()


async def ended(client, job):
    while job["state"] == "running":
        await asyncio.sleep(0.01)
        job = await (await client.get(f"/api/fetch/{job['id']}")).json()
    return job


async def test_a_study_is_fetched_by_http_and_its_outcome_told(origin, house, fetcher):
    origin.instances = study(4)
    async with api(fetcher) as client:
        answer = await client.post("/api/fetch", json={"from": "pacs", "studies": [STUDY, "1.9"]})
        assert answer.status == 202
        job = await answer.json()
        assert answer.headers["Location"] == f"/api/fetch/{job['id']}"
        job = await ended(client, job)
    first, second = job["studies"]
    assert (first["state"], first["received"], first["expected"]) == ("done", 4, 4)
    assert (second["state"], second["failure"]) == ("failed", "pacs has none of it")
    assert job["state"] == "failed"
    assert len(house.kept) == 4


async def test_half_a_study_is_a_failed_fetch_that_names_what_is_missing(origin, fetcher):
    origin.instances = study(3, series=1)
    lost = origin.instances[1].sop

    async def cuts(request):
        found = origin.within(request)
        at = next((n for n, each in enumerate(found) if each.sop == lost), None)
        return await origin.send(request, found, cut=at)

    origin.retrieve = cuts
    async with api(fetcher) as client:
        answer = await client.post("/api/fetch", json={"from": "pacs", "study": STUDY})
        job = await ended(client, await answer.json())
    assert job["state"] == "failed"
    assert job["studies"][0]["missing_instances"] == [lost]


async def test_one_series_or_instance_can_be_asked_for(origin, house, fetcher):
    origin.instances = study(4)
    wanted = origin.instances[2]
    async with api(fetcher) as client:
        asked = {"from": "pacs", "study": STUDY, "series": wanted.series, "instance": wanted.sop}
        job = await ended(client, await (await client.post("/api/fetch", json=asked)).json())
    assert job["state"] == "done"
    assert house.sops() == [wanted.sop]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"{", "not JSON"),
        (b"[]", "no object"),
        (b'{"studies": ["1.2"]}', '"from"'),
        (b'{"from": "pacs", "studies": []}', "no list"),
        (b'{"from": "pacs", "studies": ["../x"]}', "not a UID"),
        (b'{"from": "pacs", "study": 5}', "not a UID"),
        (b'{"from": "pacs", "study": "1", "instance": "2"}', "within"),
        (b'{"from": "pacs", "study": "1", "studies": ["2"]}', "name"),
        (b'{"from": "elsewhere", "studies": ["1.2"]}', "there are: pacs"),
        (b'{"from": "pacs", "studies": ["1.2"], "too": 1}', "'too'"),
    ],
)
async def test_what_cannot_be_fetched_is_refused_with_the_reason(origin, fetcher, body, reason):
    async with api(fetcher) as client:
        answer = await client.post("/api/fetch", data=body)
        assert answer.status == 400
        assert reason in (await answer.json())["error"]
        assert (await client.get("/api/fetch/none")).status == 404
    assert origin.requests == []


async def test_a_request_whose_body_does_not_come_is_given_up(fetcher, monkeypatch):
    monkeypatch.setattr(fetch_jobs, "BODY_SECONDS", 0.05)

    async def never():
        yield b"{"
        await asyncio.Event().wait()

    async with api(fetcher) as client:
        answer = await client.post("/api/fetch", data=never())
        assert (answer.status, "0.05 s" in (await answer.json())["error"]) == (408, True)


async def test_two_fetches_of_one_study_bring_each_instance_once(origin, house, fetcher):
    origin.instances = study(3)
    results = await asyncio.gather(*(fetcher.fetch("pacs", Scope(STUDY)) for _ in range(2)))
    assert [each.complete for each in results] == [True, True]
    assert len(house.kept) == 3


async def test_a_fetch_is_stopped_with_the_gateway(origin, fetcher):
    origin.instances = study(1)
    origin.retrieve = hang
    async with api(fetcher) as client:
        answer = await client.post("/api/fetch", json={"from": "pacs", "study": STUDY})
        assert answer.status == 202


RULES = """
version: 1
nodes: { pacs: { dicomweb: { url: "http://127.0.0.1:1/dicom-web" } } }
fetch:
  - name: ct
    from: pacs
    every: 2m
    filter: { ModalitiesInStudy: CT, StudyDate: { min: today-7d } }
"""


class Enough(Exception):
    """The test has seen enough turns."""


class Rules:
    """One rule whose turns a test takes, at a time that it sets."""

    def __init__(self, fetcher, memory, **facts):
        self.now = NOON
        (read,) = load_text(RULES, "test").fetch
        given = {"name": "ct", "node": "pacs", "filter": read.filter}
        self.rule = FetchRule(every=timedelta(seconds=read.every), **(given | facts))
        self.slept = []
        self.rules = FetchRules(
            [self.rule], fetcher, memory, clock=lambda: self.now, zone=UTC, sleep=self._sleep
        )

    async def _sleep(self, seconds):
        self.slept.append(seconds)
        self.now += timedelta(seconds=seconds)
        if len(self.slept) == 3:
            raise Enough

    async def turn(self):
        turn = await self.rules.turn(self.rule)
        return turn.found, turn.fetched, turn.failed


@pytest.fixture
async def memory(tmp_path):
    opened = Memory.open(tmp_path)
    yield opened
    await opened.aclose()


async def test_a_rule_asks_for_what_its_filter_says_relative_to_today(origin, fetcher, memory):
    await Rules(fetcher, memory).turn()
    query = origin.requests[0].query
    assert (query["ModalitiesInStudy"], query["StudyDate"]) == ("CT", "20261115-")


async def test_each_of_several_values_is_asked_for_and_a_study_found_twice_is_one(
    origin, fetcher, memory
):
    origin.instances = study(1)
    text = RULES.replace("ModalitiesInStudy: CT", "ModalitiesInStudy: [CR, DX]")
    (read,) = load_text(text, "test").fetch
    assert await Rules(fetcher, memory, filter=read.filter).turn() == (1, 1, 0)
    asked = [each.query.get("ModalitiesInStudy") for each in origin.requests]
    assert list(dict.fromkeys(filter(None, asked))) == ["CR", "DX"]


async def test_a_rule_fetches_each_study_once(origin, house, fetcher, memory):
    origin.instances = study(3)
    rules = Rules(fetcher, memory)
    assert await rules.turn() == (1, 1, 0)
    before = len(origin.requests)
    assert await rules.turn() == (1, 0, 0)
    assert len(origin.requests) == before + 2, "two pages of the search, and nothing else"


async def test_a_study_that_has_grown_is_completed(origin, house, fetcher, memory):
    origin.instances = study(3)
    rules = Rules(fetcher, memory)
    await rules.turn()
    origin.instances.append(Stored.make("1.2.3.1.99"))
    assert await rules.turn() == (1, 1, 0)
    assert len(house.kept) == 4


async def test_what_retention_removed_is_not_fetched_again(origin, house, fetcher, memory):
    origin.instances = study(3)
    rules = Rules(fetcher, memory)
    await rules.turn()
    house.kept.clear()
    rules.now += 2 * BELIEVED
    assert await rules.turn() == (1, 1, 0)
    assert house.kept == []
    origin.instances.append(Stored.make("1.2.3.1.99"))
    await rules.turn()
    assert house.sops() == ["1.2.3.1.99"]


async def test_what_was_sent_before_and_removed_since_is_not_fetched(
    origin, house, fetcher, memory
):
    origin.instances = study(2)
    await fetcher.fetch("pacs", Scope(STUDY))
    rules = Rules(fetcher, memory)
    await rules.turn()
    house.kept.clear()
    rules.now += 2 * BELIEVED
    await rules.turn()
    assert house.kept == []


async def test_a_person_gets_what_the_rules_remember(origin, house, fetcher, memory):
    origin.instances = study(2)
    await Rules(fetcher, memory).turn()
    house.kept.clear()
    assert (await fetcher.fetch("pacs", Scope(STUDY))).received == 2


async def test_half_a_study_is_tried_again_at_the_next_turn(origin, house, fetcher, memory):
    origin.instances = study(4, series=1)
    origin.retrieve, usual = origin.cut_after(0), origin.retrieve
    rules = Rules(fetcher, memory)
    assert await rules.turn() == (1, 0, 1)
    origin.retrieve = usual
    assert await rules.turn() == (1, 1, 0)
    assert len(house.kept) == 4


async def test_series_are_fetched_by_series(origin, house, fetcher, memory):
    origin.instances = study(4)
    rules = Rules(fetcher, memory, by_series=True)
    assert await rules.turn() == (2, 2, 0)
    assert {path.count("/series/") for path in origin.asked("retrieve")} == {1}


async def test_a_failing_search_does_not_end_the_rule(origin, house, fetcher, memory):
    origin.instances = study(1)
    origin.script["search"] = deque([status(403)])
    rules = Rules(fetcher, memory)
    with pytest.raises(ExceptionGroup):
        await rules.rules.run()
    assert len(house.kept) == 1
    assert rules.slept[0] == pytest.approx(120, abs=5)


async def test_a_rule_rests_outside_its_window(origin, fetcher, memory):
    rules = Rules(fetcher, memory, during=(parse_window("18:00-06:00"),))
    with pytest.raises(ExceptionGroup):
        await rules.rules.run()
    assert origin.requests == []
    assert rules.slept == [60, 60, 60]


async def test_the_memory_outlives_the_gateway(origin, house, fetcher, tmp_path):
    origin.instances = study(2)
    first = Memory.open(tmp_path)
    await Rules(fetcher, first).turn()
    await first.aclose()
    second = Memory.open(tmp_path)
    house.kept.clear()
    assert await Rules(fetcher, second).turn() == (1, 0, 0)
    await second.aclose()


async def test_a_damaged_memory_begins_anew(tmp_path):
    (tmp_path / FILE).write_bytes(b"this is no database" * 100)
    memory = Memory.open(tmp_path)
    assert await memory.instances("pacs", STUDY) == set()
    await memory.aclose()


async def test_studies_that_no_search_shows_are_forgotten(memory):
    scope = Scope(STUDY)
    await memory.remember("pacs", scope, ["1", "2"], complete=2, now=NOON)
    await memory.remember("pacs", Scope("9"), ["8", "9"], complete=None, now=NOON + FORGET)
    assert await memory.due("pacs", [(Scope("9"), 2)], NOON + FORGET + timedelta(hours=1))
    assert await memory.instances("pacs", STUDY) == set()
    assert await memory.instances("pacs", "9") == {"8", "9"}


async def test_an_unknown_node_is_named(fetcher):
    with pytest.raises(PermanentFailure, match="'nobody'"):
        await fetcher.fetch("nobody", Scope(STUDY))
