"""Deliveries by STOW-RS: a verdict for each instance, whatever the server answers."""

import asyncio
import tracemalloc
from collections import deque
from datetime import UTC, datetime

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from gateway.deliver.policy import Destination
from gateway.deliver.session import ConnectionLost, Item
from gateway.deliver.stow_client import StowClient
from gateway.failures import AlreadyThere, PermanentFailure, TemporaryFailure
from gateway.model import Arrival, Arriving, Instance, Origin, Owed
from gateway.transcode.reader import Reader
from gateway.web_client import Bearer, Limits, OriginServer, Patience, Secret, Tls, Unwelcome
from tests.deliver.fakes import FakeTime
from tests.deliver.test_with_spool import Watched
from tests.serve.test_tls import certificate
from tests.web_client.bodies import sops_of
from tests.web_client.origin import (
    CT,
    EXPLICIT_LE,
    STUDY,
    FakeOrigin,
    Stored,
    hang,
    referenced,
    status,
)


@pytest.fixture
async def origin():
    async with FakeOrigin().running() as running:
        yield running


@pytest.fixture
async def client(origin):
    async with OriginServer(origin.settings()) as server:
        yield StowClient(server)


def items(folder, count, *, pixels=0):
    found = []
    for number in range(1, count + 1):
        stored = Stored.make(f"1.2.3.1.{number}", pixels=pixels)
        file = folder / f"{number}.dcm"
        file.write_bytes(stored.data)
        instance = Instance(
            stored.sop, CT, EXPLICIT_LE, STUDY, stored.series, Origin(Arrival.C_STORE),
            len(stored.data), datetime(2026, 11, 22, tzinfo=UTC), file=file,
        )  # fmt: skip
        found.append(Item(instance, file, EXPLICIT_LE))
    return found


async def stored(client, some):
    async with client.connect([]) as session:
        return await session.store_batch(some)


def kinds(answers):
    return [answer if isinstance(answer, str) else type(answer) for answer in answers]


def answering(number, *, stored=(), failed=(), others=0):
    """A Store Instances Response with these items."""
    body = {}
    for tag, found in (("00081199", stored), ("00081198", failed)):
        if found:
            body[tag] = {"vr": "SQ", "Value": list(found)}
    if others:
        body["0008119A"] = {"vr": "SQ", "Value": [{"00081197": {"vr": "US", "Value": [others]}}]}

    async def handler(request):
        await request.read()
        return web.json_response(body, status=number, content_type="application/dicom+json")

    return handler


async def test_a_batch_goes_in_one_request_as_it_lies_in_the_files(origin, client, tmp_path):
    some = items(tmp_path, 5, pixels=300_000)
    assert await stored(client, some) == [""] * 5
    assert origin.received == [
        (item.instance.sop_instance_uid, item.file.read_bytes()) for item in some
    ]
    (request,) = origin.requests
    assert request.headers["Content-Type"].startswith(
        'multipart/related; type="application/dicom"; boundary='
    )
    assert "Content-Length" in request.headers
    assert request.path == "/dicom-web/studies"


async def test_each_instance_has_the_verdict_that_its_item_says(origin, client, tmp_path):
    some = items(tmp_path, 6)
    uids = [item.instance.sop_instance_uid for item in some]
    origin.script["store"] = deque(
        [
            answering(
                202,
                stored=[referenced(uids[0]), referenced(uids[1], warning=0xB000)],
                failed=[
                    referenced(uids[2], reason=0xA700),
                    referenced(uids[3], reason=0xC000),
                    referenced(uids[4], reason=0x0111),
                ],
            ),
            answering(200, others=0xA900),
        ]
    )
    answers = await stored(client, some)
    assert kinds(answers) == [
        "",
        "0xB000 coercion of data elements",
        TemporaryFailure,
        PermanentFailure,
        AlreadyThere,
        PermanentFailure,
    ]
    assert "0xA900" in str(answers[5])
    assert len(origin.requests) == 2, "what was not named is asked about by itself"


async def test_an_answer_in_xml_is_read(origin, client, tmp_path):
    some = items(tmp_path, 1)
    uid = some[0].instance.sop_instance_uid

    async def xml(request):
        await request.read()
        return web.Response(
            status=409,
            content_type="application/dicom+xml",
            text=f"""<?xml version="1.0"?><NativeDicomModel>
            <DicomAttribute tag="00081198" vr="SQ" keyword="FailedSOPSequence"><Item number="1">
            <DicomAttribute tag="00081155" vr="UI"><Value number="1">{uid}</Value></DicomAttribute>
            <DicomAttribute tag="00081197" vr="US"><Value number="1">49152</Value></DicomAttribute>
            </Item></DicomAttribute></NativeDicomModel>""",
        )

    origin.store = xml
    (answer,) = await stored(client, some)
    assert isinstance(answer, PermanentFailure)
    assert "0xC000" in str(answer)


async def test_a_duplicate_as_azure_names_it_is_already_there(origin, client, tmp_path):
    some = items(tmp_path, 1)
    uid = some[0].instance.sop_instance_uid
    origin.store = answering(409, failed=[referenced(uid, reason=45070)])
    assert kinds(await stored(client, some)) == [AlreadyThere]


async def test_200_that_lists_nothing_as_stored_is_no_success(origin, client, tmp_path):
    async def nothing(request):
        await request.read()
        empty = {"00081198": {"vr": "SQ"}, "00081199": {"vr": "SQ"}}
        return web.json_response(empty, content_type="application/dicom+json")

    origin.store = nothing
    answers = await stored(client, items(tmp_path, 2))
    assert kinds(answers) == [PermanentFailure, PermanentFailure]
    assert "does not list the instance as stored" in str(answers[0])


async def test_200_without_a_body_is_success(origin, client, tmp_path):
    async def empty(request):
        await request.read()
        return web.Response()

    origin.store = empty
    assert await stored(client, items(tmp_path, 2)) == ["", ""]


async def test_202_that_names_nothing_is_found_out_one_by_one_and_held(origin, client, tmp_path):
    async def vague(request):
        await request.read()
        return web.Response(status=202)

    origin.script["store"] = deque([vague, None, vague])
    answers = await stored(client, items(tmp_path, 2))
    assert kinds(answers) == ["", PermanentFailure]
    assert "does not say" in str(answers[1])


async def test_a_bad_request_is_the_fault_of_one_and_the_others_go(origin, client, tmp_path):
    bad = "1.2.3.1.2"
    usual = origin.store

    async def strict(request):
        found = sops_of(await request.read(), request.headers["Content-Type"])
        if bad in [uid for uid, _ in found]:
            return web.Response(status=400)
        return await usual(request)

    origin.store = strict
    assert kinds(await stored(client, items(tmp_path, 3))) == ["", Unwelcome, ""]


async def test_too_large_a_request_is_cut_in_two_until_it_fits(origin, client, tmp_path):
    usual = origin.store

    async def small(request):
        await request.read()
        if request.content_length > 3000:
            return web.Response(status=413)
        return await usual(request)

    origin.store = small
    some = items(tmp_path, 8)
    assert await stored(client, some) == [""] * 8
    assert client.most == 4
    async with client.connect([]) as session:
        assert session.fits(some[:4])
        assert not session.fits(some[:5])


async def test_one_instance_that_is_too_large_is_held(origin, client, tmp_path):
    origin.script["store"] = deque([status(413)])
    assert kinds(await stored(client, items(tmp_path, 1))) == [Unwelcome]


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (401, "credentials"),
        (403, "credentials"),
        (404, "dicomweb.url"),
        (500, "500"),
        (507, "507"),
    ],
)
async def test_what_concerns_the_destination_is_held_against_no_instance(
    origin, client, tmp_path, number, text
):
    origin.store = status(number)
    with pytest.raises(TemporaryFailure, match=text):
        await stored(client, items(tmp_path, 2))


async def test_a_server_that_wants_a_rest_is_given_one(origin, client, tmp_path):
    origin.script["store"] = deque([status(503, Retry_After="60")])
    with pytest.raises(TemporaryFailure, match="come back in 60 s"):
        await stored(client, items(tmp_path, 1))
    with pytest.raises(TemporaryFailure, match="not to be asked"):
        async with client.connect([]):
            pass
    assert len(origin.requests) == 1


async def test_an_answer_that_is_lost_is_no_delivery(origin, client, tmp_path):
    async def vanish(request):
        await request.read()
        request.transport.abort()
        return web.Response()

    origin.store = vanish
    async with client.connect([]) as session:
        with pytest.raises(ConnectionLost):
            await session.store_batch(items(tmp_path, 2))
        assert not session.alive


async def test_a_success_before_the_body_is_over_is_not_believed(origin, client, tmp_path):
    async def hasty(_):
        return web.Response()

    origin.store = hasty
    with pytest.raises(ConnectionLost):
        await stored(client, items(tmp_path, 1, pixels=40 << 20))


async def test_a_silent_server_is_given_up(origin, tmp_path):
    origin.store = hang
    patience = Patience(connect=0.1, first_byte=0.1, between_bytes=0.1)
    async with OriginServer(origin.settings(patience=patience)) as server:
        with pytest.raises(ConnectionLost, match="did not come in time"):
            await stored(StowClient(server), items(tmp_path, 1))


async def test_a_server_that_stops_reading_is_given_up(origin, tmp_path):
    async def deaf(request):
        request.transport.pause_reading()
        return await hang(request)

    origin.store = deaf
    patience = Patience(connect=1, first_byte=0.3, between_bytes=0.3)
    async with OriginServer(origin.settings(patience=patience)) as server:
        with pytest.raises(ConnectionLost, match="in time"):
            await stored(StowClient(server), items(tmp_path, 1, pixels=40 << 20))


async def test_after_a_401_the_token_is_read_again_and_the_body_sent_again(origin, tmp_path):
    token = tmp_path / "token"
    token.write_text("old")
    usual = origin.store

    async def guarded(request):
        await request.read()
        if request.headers["Authorization"] != "Bearer new":
            token.write_text("new")
            return web.Response(status=401)
        return await usual(request)

    origin.store = guarded
    credentials = Bearer(Secret(file=token))
    async with OriginServer(origin.settings(credentials=credentials)) as server:
        assert await stored(StowClient(server), items(tmp_path, 2)) == ["", ""]
    assert len(origin.received) == 2


async def test_a_file_that_is_gone_fails_without_a_request(origin, client, tmp_path):
    some = items(tmp_path, 1)
    some[0].file.unlink()
    with pytest.raises(TemporaryFailure, match="cannot be read"):
        await stored(client, some)
    assert origin.requests == []


async def test_memory_stays_flat_however_large_the_batch(origin, client, tmp_path):
    async def swallow(request):
        async for _ in request.content.iter_any():
            pass
        return web.Response()

    origin.store = swallow
    some = items(tmp_path, 8, pixels=8 << 20)
    tracemalloc.start()
    assert await stored(client, some) == [""] * 8
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 << 20


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


async def test_a_body_goes_at_the_rate_that_the_node_allows(origin, tmp_path, monkeypatch):
    """In small steps, and the time that they wait is not held against the node."""
    waits, pause = [], asyncio.sleep

    async def noted(seconds):
        waits.append(seconds)
        await pause(0)

    monkeypatch.setattr(asyncio, "sleep", noted)
    limits = Limits(bytes=1000.0)
    settings = origin.settings(limits=limits, patience=Patience(first_byte=5, between_bytes=5))
    async with OriginServer(settings) as server:
        answers = await stored(StowClient(server), items(tmp_path, 1, pixels=50_000))
    assert answers == [""]
    assert max(waits) == pytest.approx(50, abs=3)
    assert len(waits) > 40
