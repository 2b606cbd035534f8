"""What is made ahead: not too far, in order, and nothing for who has stopped."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from functools import partial

import pytest

from gateway.failures import TemporaryFailure
from gateway.serve.ahead import Begun, ahead
from tests.serve.making import Work, each, quiet


async def test_what_is_made_comes_in_order_and_no_more_than_the_window_ahead() -> None:
    work, found = Work(), []
    work.go_on(1, 2, 4, 5, 6, 7)
    stream = ahead(each(range(1, 8)), work.make, 3, work.dropped.append)
    found.append(await anext(stream))
    found.append(await anext(stream))
    await quiet()
    assert work.begun == [1, 2, 3, 4, 5]
    work.go_on(3)
    found += [one async for one in stream]
    assert found == [(n, n * 10) for n in range(1, 8)]
    assert work.dropped == []


async def test_who_stops_cancels_what_is_made_and_drops_what_was() -> None:
    work = Work()
    work.go_on(1, 3)
    async with aclosing(ahead(each(range(1, 8)), work.make, 3, work.dropped.append)) as stream:
        assert await anext(stream) == (1, 10)
        await quiet()
    assert (work.begun, sorted(work.cancelled), work.dropped) == ([1, 2, 3, 4], [2, 4], [30])


async def test_an_item_comes_before_the_next_is_there() -> None:
    async def slow() -> AsyncIterator[int]:
        yield 1
        await asyncio.Event().wait()

    work = Work()
    work.go_on(1)
    async with aclosing(ahead(slow(), work.make, 3, work.dropped.append)) as stream:
        assert await asyncio.wait_for(anext(stream), 20) == (1, 10)


async def test_a_source_that_fails_is_heard_of_after_what_it_gave() -> None:
    async def failing() -> AsyncIterator[int]:
        yield 1
        raise TemporaryFailure("the origin has gone")

    work, found = Work(), []
    work.go_on(1)
    stream = ahead(failing(), work.make, 3, work.dropped.append)
    found.append(await anext(stream))
    with pytest.raises(TemporaryFailure, match="the origin has gone"):
        await anext(stream)
    assert found == [(1, 10)]


async def test_a_making_that_fails_ends_the_stream() -> None:
    async def make(number: int) -> int:
        if number == 2:
            raise TemporaryFailure("no room")
        return number

    dropped: list[int] = []
    stream = ahead(each(range(1, 9)), make, 3, dropped.append)
    assert await anext(stream) == (1, 1)
    await quiet()
    with pytest.raises(TemporaryFailure, match="no room"):
        await anext(stream)
    assert sorted(dropped) == [3, 4]


async def test_what_is_under_way_is_finished_in_its_turn_and_given_up_with_the_rest() -> None:
    under_way: list[asyncio.Future[int]] = []
    finished: list[int] = []

    async def finish(number: int, begun: asyncio.Future[int]) -> int:
        finished.append(number)
        return await begun * 10

    def make(number: int) -> Begun[int]:
        under_way.append(asyncio.get_running_loop().create_future())
        return Begun(under_way[-1], partial(finish, number, under_way[-1]))

    dropped: list[int] = []
    async with aclosing(ahead(each(range(9)), make, 3, dropped.append)) as stream:
        coming = asyncio.ensure_future(anext(stream))
        await quiet()
        under_way[1].set_result(1)
        under_way[0].set_result(0)
        assert (await coming, await anext(stream)) == ((0, 0), (1, 10))
        await quiet()
        under_way[2].set_result(2)
    assert [each.cancelled() for each in under_way] == [False, False, False, True, True]
    assert (finished, dropped) == ([0, 1], [])
