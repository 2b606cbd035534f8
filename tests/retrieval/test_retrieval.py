"""Studies brought from an origin server that cuts, lies, stalls and refuses."""

import asyncio
import errno
import os
import tracemalloc
from collections import deque

import pytest
from aiohttp import web

from gateway.failures import TemporaryFailure
from gateway.model import Arrival
from gateway.retrieval import Retrieval, Scope
from gateway.web_client import Limits, OriginServer, Patience, Unanswered
from tests.web_client.origin import QUICK, STUDY, Stored, data_set, hang, status, study


async def retrieve(origin, house, scope=None, *, held=None, **settings):
    async with OriginServer(origin.settings(**settings)) as server:
        retrieval = Retrieval(server, house.intake, scope or Scope(STUDY), held=held or house.held)
        return await retrieval.run()


def uids(instances):
    return sorted(each.sop for each in instances)


async def test_a_study_comes_whole_in_one_request(origin, house):
    origin.instances = study(5)
    result = await retrieve(origin, house)
    assert (result.complete, result.expected, result.received) == (True, 5, 5)
    assert origin.asked("retrieve") == [f"/studies/{STUDY}"]
    assert house.sops() == uids(origin.instances)


async def test_what_is_kept_is_the_data_set_under_a_file_meta_of_our_own(origin, house):
    origin.instances = study(1, pixels=300_000)
    await retrieve(origin, house)
    (kept,) = house.kept
    sent = origin.instances[0]
    content = data_set(sent.study, sent.series, sent.sop, 300_000)
    assert kept.file.read_bytes().endswith(content)
    assert sent.data.endswith(content)
    assert kept.origin.arrival is Arrival.WADO_RS
    assert (kept.origin.calling, kept.study_uid) == ("pacs", STUDY)
    assert b"OTHER" not in kept.file.read_bytes()[:1000]


async def test_the_stored_form_is_asked_for(origin, house):
    origin.instances = study(1)
    await retrieve(origin, house)
    accepts = [each.headers["Accept"] for each in origin.requests]
    assert accepts[-1] == 'multipart/related; type="application/dicom"; transfer-syntax=*'


async def test_a_server_that_knows_no_asterisk_is_asked_less_precisely_from_then_on(origin, house):
    origin.instances = study(1)
    origin.script["retrieve"] = deque([status(406), status(406)])
    async with OriginServer(origin.settings()) as server:
        for _ in range(2):
            house.kept.clear()
            assert (await Retrieval(
                server, house.intake, Scope(STUDY), held=house.held
            ).run()).complete  # fmt: skip
    accepts = [each.headers["Accept"] for each in origin.requests if "instances" not in each.path]
    assert accepts[-1] == accepts[-2] == 'multipart/related; type="application/dicom"'
    assert len(accepts) == 4


async def test_what_is_held_is_not_fetched_again(origin, house):
    origin.instances = study(6)
    held = uids(origin.instances)[:5]

    async def holds(_):
        return held

    result = await retrieve(origin, house, held=holds)
    assert (result.held, result.received, result.complete) == (5, 1, True)
    assert all("/instances/" in path for path in origin.asked("retrieve"))


async def test_after_a_broken_stream_only_what_is_missing_is_asked_for(origin, house):
    origin.instances = study(8)
    origin.script["retrieve"] = deque([origin.cut_after(5)])
    result = await retrieve(origin, house)
    assert (result.complete, result.received) == (True, 8)
    assert house.sops() == uids(origin.instances), "nothing is stored twice"
    assert origin.asked("retrieve")[0] == f"/studies/{STUDY}"
    assert len(house.unfinished()) == 0


async def test_one_bad_instance_does_not_keep_the_others_away(origin, house):
    origin.instances = study(6, series=1)
    bad = origin.instances[2].sop

    async def poisoned(request):
        found = origin.within(request)
        at = next((n for n, each in enumerate(found) if each.sop == bad), None)
        return await origin.send(request, found, cut=at)

    origin.retrieve = poisoned
    result = await retrieve(origin, house)
    assert not result.complete
    assert result.missing == (bad,)
    assert result.received == 5
    assert isinstance(result.failure, Unanswered)
    assert "1 of 6 instances did not come" in result.differences


async def test_what_is_listed_and_not_given_is_named(origin, house):
    origin.instances = study(4)
    lost = origin.instances[1].sop

    async def forgetful(request):
        found = [each for each in origin.within(request) if each.sop != lost]
        return await origin.send(request, found) if found else web.Response(status=404)

    origin.retrieve = forgetful
    result = await retrieve(origin, house)
    assert not result.complete
    assert list(result.refused) == [lost]
    assert "404" in result.refused[lost]


async def test_an_instance_of_another_study_is_refused(origin, house):
    origin.instances = study(2)
    stranger = Stored.make("9.9.9", study="9.9")

    async def confused(request):
        return await origin.send(request, [*origin.within(request), stranger])

    origin.retrieve = confused
    result = await retrieve(origin, house)
    assert "9.9.9" in result.refused
    assert not result.complete
    assert "9.9.9" not in house.sops()


async def test_another_instance_than_the_one_asked_for_is_refused(origin, house):
    origin.instances = study(3)
    first, other = origin.instances[0], origin.instances[2]

    async def wrong(request):
        return await origin.send(request, [other])

    origin.retrieve = wrong
    scope = Scope(STUDY, first.series, first.sop)
    result = await retrieve(origin, house, scope)
    assert list(result.refused) == [first.sop]
    assert house.kept == []


async def test_a_server_without_search_is_believed_and_the_result_says_so(origin, house):
    origin.instances = study(3)
    origin.script["search"] = deque([status(404)])
    result = await retrieve(origin, house)
    assert result.expected is None
    assert (result.complete, result.received) == (True, 3)


async def test_a_study_that_is_not_there_is_no_success(origin, house):
    origin.instances = study(1)
    result = await retrieve(origin, house, Scope("1.9.9"))
    assert not result.complete
    assert "has none of it" in result.differences


async def test_a_search_in_pages_lists_all(origin, house):
    origin.instances = study(25)
    origin.page = 10
    result = await retrieve(origin, house)
    assert (result.expected, result.complete) == (25, True)


async def test_the_wrong_boundary_stores_nothing_and_is_said(origin, house):
    origin.instances = study(2)
    origin.boundary = "another"
    result = await retrieve(origin, house)
    assert house.kept == []
    assert "boundary" in result.differences
    assert house.unfinished() == []


async def test_a_part_that_is_no_dicom_file_is_refused_alone(origin, house):
    origin.instances = study(3)
    broken = origin.instances[1]
    origin.instances[1] = Stored(broken.study, broken.series, broken.sop, b"no DICOM" * 40)
    result = await retrieve(origin, house)
    assert result.received == 2
    assert list(result.refused) == [broken.sop]
    assert "no DICOM file" in result.refused[broken.sop]


async def test_a_single_part_answer_is_taken_where_its_end_is_certain(origin, house):
    origin.instances = study(1)

    async def single(request):
        return web.Response(body=origin.instances[0].data, content_type="application/dicom")

    origin.retrieve = single
    assert (await retrieve(origin, house)).complete


async def test_a_declared_length_of_10_gb_that_never_comes_is_given_up(origin, house):
    origin.instances = study(1)

    async def boaster(request):
        headers = {"Content-Type": "application/dicom", "Content-Length": str(10 << 30)}
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        await response.write(origin.instances[0].data)
        return await hang(request)

    origin.retrieve = boaster
    patience = Patience(between_bytes=0.2, attempts=1)
    result = await retrieve(origin, house, patience=patience)
    assert "stands still" in result.differences
    assert house.kept == []
    assert house.unfinished() == []


async def test_an_instance_beyond_the_limit_is_left_and_the_others_come(origin, house):
    origin.instances = study(4, series=1)
    great = Stored.make("1.2.3.1.2", "1.2.3.1", pixels=3_000_000)
    origin.instances[1] = great
    result = await retrieve(origin, house, limits=Limits(max_instance=1_000_000))
    assert list(result.refused) == [great.sop]
    assert result.received == 3


async def test_a_full_disk_ends_the_retrieval_with_the_reason(origin, house, monkeypatch):
    origin.instances = study(3, pixels=200_000)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    real = os.write
    written = 0

    def write(descriptor, data):
        nonlocal written
        written += 1
        return full() if written > 4 else real(descriptor, data)

    monkeypatch.setattr("gateway.spool.files.os.write", write)
    result = await retrieve(origin, house)
    monkeypatch.undo()
    assert not result.complete
    assert isinstance(result.failure, TemporaryFailure)
    assert "space" in result.differences.lower() or "disk" in result.differences
    assert len(origin.asked("retrieve")) == 1, "a full disk is not the origin's fault"
    assert house.unfinished() == []


async def test_refused_credentials_are_not_tried_again(origin, house):
    origin.instances = study(1)
    origin.script["search"] = deque([status(403)])
    result = await retrieve(origin, house)
    assert "credentials" in result.differences
    assert len(origin.requests) == 1


async def test_a_busy_server_is_asked_again_after_the_time_it_names(origin, house):
    origin.instances = study(2)
    origin.script["retrieve"] = deque([status(503, Retry_After="0")])
    result = await retrieve(origin, house)
    assert result.complete
    assert origin.asked("retrieve") == [f"/studies/{STUDY}"] * 2


async def test_a_retrieval_that_is_cancelled_leaves_no_parts(origin, house):
    origin.instances = study(3, pixels=100_000)
    sent = asyncio.Event()

    async def stalls(request):
        response = web.StreamResponse(headers={
            "Content-Type": 'multipart/related; type="application/dicom"; boundary=b'
        })  # fmt: skip
        await response.prepare(request)
        await response.write(b"--b\r\n\r\n" + origin.instances[0].data[:90_000])
        sent.set()
        return await hang(request)

    origin.retrieve = stalls
    task = asyncio.create_task(retrieve(origin, house, patience=QUICK))
    await sent.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert house.unfinished() == []


async def test_memory_stays_flat_however_long_the_study(origin, house):
    async def peak(count):
        origin.instances = study(count, pixels=1 << 20)
        house.kept.clear()
        tracemalloc.start()
        result = await retrieve(origin, house)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert result.complete
        return most

    few, many = await peak(2), await peak(24)
    assert many < few + (6 << 20)
