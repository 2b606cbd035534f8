"""The scheduler on the real ledger: what is confirmed is recorded, what is not stays owed."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from gateway.deliver.policy import Destination, RoutePolicy
from gateway.deliver.scheduler import Scheduler
from gateway.derivation import Derivations
from gateway.model import Arrival, Arriving, Origin, Owed, Terms
from gateway.spool import Queue, QueueRow, Spool
from gateway.transcode.reader import Reader
from gateway.transfer_syntax import EXPLICIT_LE, IMPLICIT_LE, J2K
from tests.deliver.fakes import CT, FakeTime, FakeTranscoder
from tests.deliver.unreliable_sender import Answer, UnreliableSender


class Watched:
    """A spool, a scheduler on it, and a way to wait for verdicts without looking at a clock."""

    def __init__(
        self, folder: Path, time: FakeTime, *destinations: Destination, ahead: int = 3
    ) -> None:
        self.time = time
        self.folder = folder
        self.spool = Spool.open(folder, clock=time.clock, refuse_below_free=0)
        self._settled = asyncio.Semaphore(0)
        self._settle, self.spool.settle = self.spool.settle, self._count
        derivations = Derivations(self.spool, FakeTranscoder())
        self.scheduler = Scheduler(
            self.spool, derivations, destinations, {"route": RoutePolicy()}, time.pace(ahead=ahead)
        )

    async def __aenter__(self) -> "Watched":
        self._task = asyncio.create_task(self.scheduler.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.scheduler.aclose(timedelta(0))
        await asyncio.wait({self._task})
        await self.spool.aclose()

    async def keep(
        self,
        *destinations: str,
        syntax: str = EXPLICIT_LE,
        series: str = "1.2.1",
        priority: int = 0,
    ) -> str:
        """An instance of a series, whose study is the first two components of its UID."""
        part = self.spool.create()
        part.write(memoryview(b"\0" * 500))
        uid = f"1.2.{part.path.stem.lstrip('0') or 0}"
        arriving = Arriving(
            uid, CT, syntax, series[:3], series, Origin(Arrival.C_STORE), part.size, self.time.now
        )
        terms = Terms(priority)
        owed = [Owed(name, "route", terms) for name in destinations]
        await self.spool.commit(part, arriving, owed)
        for name in destinations:
            self.scheduler.wake(name, priority)
        return uid

    async def verdicts(self, count: int) -> None:
        async with asyncio.timeout(30):
            for _ in range(count):
                await self._settled.acquire()

    def states(self, destination: str) -> list[str]:
        return [row.state for row in self.rows(destination)]

    def rows(self, destination: str) -> Sequence[QueueRow]:
        with Queue(self.folder, clock=self.time.clock) as queue:
            return queue.list(destination=destination)

    async def _count(self, *verdict: object) -> None:
        await self._settle(*verdict)
        self._settled.release()


async def test_arrivals_are_delivered_to_each_as_it_reads_them(tmp_path: Path) -> None:
    pacs, viewer = UnreliableSender(), UnreliableSender()
    reads = Destination(Reader("viewer", can_read=frozenset({IMPLICIT_LE})), viewer)
    async with Watched(tmp_path, FakeTime(), Destination(Reader("pacs"), pacs), reads) as street:
        uids = [await street.keep("pacs", "viewer", syntax=J2K) for _ in range(20)]
        await street.verdicts(40)
        assert pacs.uids() == viewer.uids() == uids
        assert {syntax for _, syntax, _ in viewer.stored} == {IMPLICIT_LE}
        assert street.states("viewer") == ["delivered"] * 20


async def test_after_a_restart_only_what_was_not_confirmed_is_sent(tmp_path: Path) -> None:
    time = FakeTime()
    pacs = UnreliableSender(
        Answer.OK, Answer.CANNOT_UNDERSTAND, Answer.OUT_OF_RESOURCES, Answer.OK, Answer.HANG
    )
    async with Watched(tmp_path, time, Destination(Reader("pacs"), pacs)) as street:
        uids = [await street.keep("pacs") for _ in range(7)]
        await street.verdicts(4)
        assert street.states("pacs") == [
            "delivered", "held", "owed", "delivered", "owed", "owed", "owed",
        ]  # fmt: skip
    time.now += timedelta(minutes=1)
    async with Watched(tmp_path, time, Destination(Reader("pacs"), pacs)) as street:
        await street.verdicts(4)
        assert sorted(pacs.uids()) == sorted([*uids[:1], *uids[2:]])
        assert (street.states("pacs")).count("delivered") == 6


async def test_a_refused_connection_costs_one_row_one_attempt(tmp_path: Path) -> None:
    time = FakeTime()
    pacs = UnreliableSender(Answer.REFUSE_CONNECTION)
    async with Watched(tmp_path, time, Destination(Reader("pacs"), pacs)) as street:
        for _ in range(5):
            await street.keep("pacs")
        await street.verdicts(1)
        rows = street.rows("pacs")
        assert sum(row.attempts for row in rows) == 1
        await time.advance(30)
        await street.verdicts(5)
        assert street.states("pacs") == ["delivered"] * 5


@pytest.mark.parametrize("can_read", [None, frozenset({IMPLICIT_LE})], ids=["stored", "decoded"])
async def test_a_damaged_file_is_held_and_never_delivered(
    tmp_path: Path, can_read: frozenset[str] | None
) -> None:
    """Whether a bit has turned or the end is missing; the others go."""
    time, pacs = FakeTime(), UnreliableSender(Answer.REFUSE_CONNECTION)
    destination = Destination(Reader("pacs", can_read), pacs)
    async with Watched(tmp_path, time, destination) as street:
        uids = [await street.keep("pacs", syntax=J2K) for _ in range(8)]
        await street.verdicts(1)
    turned, cut, *_ = sorted((tmp_path / "instances").rglob("*.dcm"))
    turned.write_bytes(b"\0" * 300 + b"\1" + b"\0" * 199)
    cut.write_bytes(b"\0" * 499)
    time.now += timedelta(minutes=1)
    async with Watched(tmp_path, time, destination) as street:
        await street.verdicts(8)
        held = {row.spool_id: row.reason for row in street.rows("pacs") if row.state == "held"}
        assert sorted(pacs.uids()) == sorted(uids[2:])
    assert list(held) == [int(turned.stem), int(cut.stem)]
    assert all("is damaged" in reason for reason in held.values())
