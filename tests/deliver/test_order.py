"""In which order a destination gets what waits: the real ledger, and a clock that stands."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway.deliver.policy import Destination
from gateway.model import Delivery
from gateway.transcode.reader import Reader
from tests.deliver.fakes import FakeTime
from tests.deliver.test_with_spool import Watched
from tests.deliver.unreliable_sender import Answer, UnreliableSender

A1, A2, B1 = "1.1.1", "1.1.2", "1.2.1"
"""Two series of one study, and one of another."""
SECOND = timedelta(seconds=1)


class Line:
    """A destination that is down while instances come in, one a second, and is up then."""

    def __init__(
        self, folder: Path, order: str, *script: Answer, associations: int = 1, ahead: int = 3
    ) -> None:
        self.time = FakeTime()
        self.pacs = UnreliableSender(*script)
        self.pacs.gate.clear()
        pacs = Destination(Reader("pacs"), self.pacs, max_associations=associations, order=order)
        self.street = Watched(folder, self.time, pacs, ahead=ahead)
        self.series: dict[str, str] = {}

    async def arrive(self, *series: str, priority: int = 0) -> None:
        for each in series:
            self.series[await self.street.keep("pacs", series=each, priority=priority)] = each
            self.time.now += SECOND

    async def delivered(self) -> list[str]:
        """The series of what arrived, in the order in which it was confirmed."""
        self.pacs.gate.set()
        await self.street.verdicts(len(self.series))
        return [self.series[uid] for uid in self.pacs.uids()]


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("as-received", [A1, B1, A2, B1, A1, B1, A2, A1]),
        ("by-series", [A1, A1, A1, B1, B1, B1, A2, A2]),
        ("by-study", [A1, A2, A1, A2, A1, B1, B1, B1]),
        ("newest-first", [A1, A2, B1, A1, B1, A2, B1, A1]),
    ],
)
async def test_what_waits_goes_out_in_the_order_that_is_wanted(
    tmp_path: Path, order: str, expected: list[str]
) -> None:
    line = Line(tmp_path, order)
    await line.arrive(A1, B1, A2, B1, A1, B1, A2, A1)
    async with line.street:
        assert await line.delivered() == expected


async def test_a_series_that_was_begun_is_ended_before_an_older_one_whatever_comes(
    tmp_path: Path,
) -> None:
    line = Line(tmp_path, "by-series")
    await line.arrive(A1, B1)
    await line.arrive(*[A1] * 60)
    async with line.street:
        await line.arrive(*[B1] * 20)
        await line.arrive(*[A1] * 20)
        got = await line.delivered()
    assert got == [A1] * 81 + [B1] * 21


async def test_what_is_urgent_still_goes_first_and_what_it_broke_into_goes_on(
    tmp_path: Path,
) -> None:
    line = Line(tmp_path, "by-series")
    await line.arrive(B1, *[A1] * 10)
    await line.arrive(*[B1] * 10)
    async with line.street:
        await line.arrive(A2, A2, priority=1)
        got = await line.delivered()
    urgent = [at for at, each in enumerate(got) if each == A2]
    assert len(urgent) == 2
    assert urgent[-1] < 8  # behind what was on its way when each came
    assert [each for each in got if each != A2] == [B1] * 11 + [A1] * 10


@pytest.mark.parametrize("order", ["as-received", "newest-first"])
async def test_what_is_urgent_is_seen_though_it_came_while_the_ledger_was_read(
    tmp_path: Path, order: str
) -> None:
    line = Line(tmp_path, order)
    await line.arrive(*[A1] * 16)
    read, go_on, due = asyncio.Event(), asyncio.Event(), line.street.spool.due

    async def slow_due(*question: Any, **details: Any) -> list[Delivery]:
        found = await due(*question, **details)
        read.set()
        await go_on.wait()
        return found

    line.street.spool.due = slow_due
    async with line.street:
        await read.wait()
        await line.arrive(A2, A2, priority=1)
        go_on.set()
        got = await line.delivered()
    assert got.index(A2) <= 5
    assert len(got) == 18


async def test_the_newest_overtakes_what_waits_in_memory(tmp_path: Path) -> None:
    line = Line(tmp_path, "newest-first")
    await line.arrive(*[A1] * 40)
    async with line.street:
        await line.arrive(B1)
        got = await line.delivered()
    assert got.index(B1) < 6
    assert len(got) == 41


async def test_a_series_goes_on_while_an_instance_of_it_rests_after_a_failure(
    tmp_path: Path,
) -> None:
    line = Line(tmp_path, "by-series", Answer.OUT_OF_RESOURCES)
    await line.arrive(A1, B1, A1)
    line.pacs.gate.set()
    async with line.street:
        await line.street.verdicts(3)
        assert [line.series[uid] for uid in line.pacs.uids()] == [A1, B1]
        while len(line.pacs.uids()) < 3:
            await line.time.advance(1)
    assert [line.series[uid] for uid in line.pacs.uids()] == [A1, B1, A1]


async def test_a_backlog_in_an_order_still_opens_further_associations(tmp_path: Path) -> None:
    line = Line(tmp_path, "by-study", associations=2, ahead=18)
    await line.arrive(*[A1] * 200)
    async with line.street:
        assert await line.delivered() == [A1] * 200
    assert line.pacs.most_open == 2
