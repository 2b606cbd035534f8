"""Settings beside nodes and routes that a reload puts in force, each seen by what it does."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway.config import load
from gateway.operate import upkeep
from gateway.service import Service
from tests.scripted_peer import ScriptedPeer, data_set, store, until
from tests.test_service_peers import HEAD, NODE, STUDY, get, until_held
from tests.test_service_peers import origin as origin

MONDAY = datetime(2026, 11, 2, 12, 30, tzinfo=UTC)


class Reloaded:
    """A running gateway whose file is written anew."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "gateway.yaml"
        self.now = datetime.now(UTC)
        self.service: Service

    def write(self, more: str = "", gateway: str = "", **facts: object) -> None:
        text = HEAD.format(folder=self.folder / "spool") + gateway + more.format(**facts)
        self.file.write_text(text)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Service]:
        async with Service(load(self.file), self.file, clock=lambda: self.now) as self.service:
            yield self.service

    async def reload(self) -> None:
        """All of the file has to come into force."""
        standing = await self.service._reloader.reload()
        assert (standing.error, standing.needs_restart) == ("", ())

    async def send(self, uid: str) -> None:
        async with await ScriptedPeer.connect(self.service.dicom_port) as peer:
            await peer.associate()
            await peer.send(store(uid, data_set(uid)))
            assert (await peer.answer()).status == 0


@pytest.fixture
def here(tmp_path: Path) -> Reloaded:
    return Reloaded(tmp_path)


async def test_hours_mean_another_time_zone(here: Reloaded) -> None:
    """At 12:30 in UTC a route looks from 13:00 to 14:00."""
    route = (
        "nodes: {{ n: {{ dimse: {{ ae_title: N, host: 127.0.0.1, port: 9 }} }} }}\n"
        "routes: [{{ name: r, send_to: n, during: '13:00-14:00' }}]\n"
    )
    here.now = MONDAY
    here.write(route, "  time_zone: UTC\n")
    async with here.running() as service:
        await here.send("1.2.1")
        assert await service.spool.due("n", limit=9, now=here.now) == []
        here.write(route, "  time_zone: Europe/Berlin\n")
        await here.reload()
        await here.send("1.2.2")
        (due,) = await service.spool.due("n", limit=9, now=here.now)
        assert due.instance.sop_instance_uid == "1.2.2"


async def test_what_is_delivered_stays_for_another_time(here: Reloaded) -> None:
    here.write()
    async with here.running() as service:
        await here.send("1.2.1")
        here.now += timedelta(days=2)
        assert (await service.spool.tidy(here.now)).instances == 0
        text = here.file.read_text().replace("refuse_below_free: 1MiB", "keep: 1d")
        here.file.write_text(text)
        await here.reload()
        assert (await service.spool.tidy(here.now)).instances == 1


async def test_nothing_is_taken_in_below_another_watermark(here: Reloaded) -> None:
    here.write()
    async with here.running() as service:
        assert (await get(service, "/readyz"))[0] == 200
        here.file.write_text(here.file.read_text().replace("1MiB", "900TiB"))
        await here.reload()
        assert (await get(service, "/readyz"))[0] == 503


async def test_rules_that_fetch_come_change_and_go(here: Reloaded, origin: Service) -> None:
    here.write()
    async with here.running() as service:
        rule = (
            "fetch: [{{ name: f, from: origin, every: {every}, filter: {{ PatientID: {id} }} }}]\n"
        )
        here.write(NODE + rule, port=origin.web_port, every="1d", id="NOBODY")
        await here.reload()
        following = service._fetching
        here.write(NODE + rule, port=origin.web_port, every="1d", id="8NM1")
        await here.reload()
        await until_held(service)
        assert following is not None
        assert following.cancelled()
        following = service._fetching
        await here.reload()
        assert service._fetching is following, "what did not change goes on"
        here.write()
        await here.reload()
        assert following is not None
        await until(following.cancelled)


async def test_upstreams_come_move_and_go(here: Reloaded, origin: Service) -> None:
    search = "/dicom-web/studies?PatientID=8NM1"
    here.write()
    async with here.running() as service:
        assert (await get(service, search))[1] == b"[]"
        upstream = "serve: {{ upstream: [origin] }}\n"
        here.write(NODE + upstream, port=9)
        await here.reload()
        assert (await get(service, search))[0] == 502
        here.write(NODE + upstream, port=origin.web_port)
        await here.reload()
        assert STUDY.encode() in (await get(service, search))[1]
        assert (await get(service, f"/dicom-web/studies/{STUDY}"))[0] == 200
        here.write()
        await here.reload()
        assert (await get(service, "/dicom-web/studies/1.2.3"))[0] == 404


async def test_who_may_ask_and_from_which_pages_changes_for_the_next_request(
    here: Reloaded,
) -> None:
    tokens = here.folder / "tokens"
    tokens.write_text("sesame\n")
    here.write()
    async with here.running() as service:
        assert (await get(service, "/dicom-web/studies"))[0] == 200
        status, page = await get(service, "/")
        assert status == 200
        assert service._reloader.standing.digest.encode() in page
        asked = f"auth: {{ default: {{ tokens_file: '{tokens}' }} }}"
        text = here.file.read_text()
        here.file.write_text(
            text.replace("web: { ", f"web: {{ {asked}, cors: {{ origins: '*' }}, ")
        )
        await here.reload()
        assert (await get(service, "/dicom-web/studies"))[0] == 401
        assert (await get(service, "/"))[0] == 401
        held = {"Authorization": "Bearer sesame"}
        assert (await get(service, "/dicom-web/studies", headers=held))[0] == 200
        assert service.config.gateway.web.cors.origins == ("*",)
        asks = {"Origin": "https://viewer.example", "Access-Control-Request-Method": "GET"}
        status, _ = await get(service, "/dicom-web/studies", method="OPTIONS", headers=asks)
        assert status == 204
        here.file.write_text(text)
        await here.reload()
        assert (await get(service, "/dicom-web/studies"))[0] == 200


async def test_a_file_may_ask_to_be_watched(
    here: Reloaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.service.LOOK_EVERY", upkeep.LOOK_EVERY / 100)
    here.write()
    async with here.running() as service:
        here.write(gateway="  reload: on-change\n")
        await here.reload()
        here.write(gateway="  reload: on-change\n  drain_timeout: 7s\n  ae_title: OTHER\n")
        await until(lambda: service.config.gateway.drain_timeout == 7)
        assert service._scp.settings.ae_title == "OTHER"
