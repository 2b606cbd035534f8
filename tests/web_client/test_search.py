"""Searching origin servers: pages, servers that know no paging, answers that break off."""

from collections import deque

import pytest
from aiohttp import web

from gateway.web_client import OriginServer, Refused, Unanswered, Unwelcome
from gateway.web_client.search import NoSearch
from tests.web_client.origin import STUDY, status, study


async def found(origin, level="instances", query=(), **settings):
    async with OriginServer(origin.settings(**settings)) as server:
        return [each async for each in server.search(level, query, STUDY)]


async def test_pages_are_asked_for_until_one_is_empty(origin):
    origin.instances = study(25)
    assert len(await found(origin, page=10)) == 25
    assert [each.query.get("offset") for each in origin.requests] == [None, "10", "20", "25"]


async def test_a_server_that_ignores_the_offset_is_not_asked_for_ever(origin):
    origin.instances = study(7)
    usual = origin.search

    async def deaf(request):
        return await usual(request.clone(rel_url=request.rel_url.without_query_params("offset")))

    origin.search = deaf
    assert len(await found(origin)) == 7
    assert len(origin.requests) == 2


async def test_a_server_that_refuses_the_limit_is_asked_without(origin):
    origin.instances = study(3)
    origin.script["search"] = deque([status(400)])
    assert len(await found(origin)) == 3
    assert "limit" not in origin.requests[-1].query


async def test_no_content_is_no_match(origin):
    origin.script["search"] = deque([status(204)])
    assert await found(origin) == []


async def test_a_server_without_search_is_known_as_one(origin):
    origin.script["search"] = deque([status(404)])
    with pytest.raises(NoSearch, match="no QIDO-RS"):
        await found(origin)


async def test_an_answer_that_breaks_off_is_asked_for_again_and_no_match_comes_twice(origin):
    origin.instances = study(3)

    async def broken(request):
        whole = (await usual(request)).body
        response = web.StreamResponse(headers={"Content-Length": str(len(whole))})
        await response.prepare(request)
        await response.write(whole[: len(whole) * 2 // 3])
        request.transport.close()
        return response

    usual = origin.search
    origin.script["search"] = deque([broken])
    uids = [each["00080018"]["Value"][0] for each in await found(origin)]
    assert sorted(uids) == sorted(each.sop for each in origin.instances)


async def test_what_is_not_json_is_said_and_not_quoted(origin):
    async def page(_):
        return web.Response(text="<html>Doe^John</html>", content_type="text/html")

    origin.search = page
    with pytest.raises(Unanswered, match="not JSON") as raised:
        await found(origin)
    assert "Doe" not in str(raised.value)


async def test_neither_queries_nor_secrets_stand_in_a_failure(origin):
    origin.script["search"] = deque([status(403)])
    with pytest.raises(Refused) as raised:
        await found(origin, query=[("PatientName", "Doe*")])
    assert "Doe" not in str(raised.value)
    assert "403" in str(raised.value)


async def test_what_is_no_uid_never_becomes_part_of_a_path(origin):
    async with OriginServer(origin.settings()) as server:
        with pytest.raises(Exception, match="not a UID"):
            await server.listed("../../admin")
        with pytest.raises(Exception, match="not a UID"):
            [each async for each in server.retrieve("1.2/..", "1.3")]
    assert origin.requests == []


async def test_series_are_asked_one_by_one_where_the_server_does_not_name_them(origin):
    origin.instances = study(4)
    usual = origin.search

    async def terse(request):
        answer = await usual(request)
        if request.path.endswith(f"{STUDY}/instances"):
            answer.text = answer.text.replace("0020000E", "0020FFFF")
        return answer

    origin.search = terse
    async with OriginServer(origin.settings()) as server:
        listed = await server.listed(STUDY)
    assert listed == {each.sop: each.series for each in origin.instances}


async def test_a_bad_request_is_final(origin):
    origin.script["search"] = deque([status(400), status(400)])
    with pytest.raises(Unwelcome, match="400"):
        await found(origin)
