"""Deliveries by STOW-RS: a verdict for each instance, whatever the server answers."""

import asyncio
import tracemalloc
from collections import deque
from datetime import UTC, datetime

import pytest
from aiohttp import web

from gateway.deliver.session import ConnectionLost, Item
from gateway.deliver.stow_client import StowClient
from gateway.failures import AlreadyThere, PermanentFailure, TemporaryFailure
from gateway.model import Arrival, Instance, Origin
from gateway.web_client import Bearer, Limits, OriginServer, Patience, Secret, Unwelcome
from tests.web_client.bodies import sops_of
from tests.web_client.origin import (
    CT,
    EXPLICIT_LE,
    STUDY,
    Stored,
    answering,
    hang,
    referenced,
    status,
)


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
