"""Stand-ins for what the scheduler is given: time, ledger, transcoder."""

import asyncio
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from gateway.deliver.pace import Pace
from gateway.failures import TemporaryFailure
from gateway.model import (
    UID,
    Arrival,
    Checks,
    Deferred,
    Delivered,
    Delivery,
    Instance,
    NativeFrames,
    Order,
    Origin,
    Passport,
    Rejected,
    Rendition,
    Undigested,
    Verdict,
)
from gateway.tags import TagChanges
from gateway.transfer_syntax import EXPLICIT_LE

NOON = datetime(2024, 5, 6, 12, tzinfo=UTC)
CT = "1.2.840.10008.5.1.4.1.1.2"
MR = "1.2.840.10008.5.1.4.1.1.4"
AS_IT_IS = Rendition()


class FakeTime:
    """A clock that stands until it is moved, and the timers that hang on it."""

    def __init__(self) -> None:
        self.now = NOON
        self._timers: list[tuple[datetime, asyncio.Future[None]]] = []

    def clock(self) -> datetime:
        return self.now

    async def sleep_until(self, moment: datetime) -> None:
        ringing = asyncio.get_running_loop().create_future()
        if moment <= self.now:
            ringing.set_result(None)
        self._timers.append((moment, ringing))
        await ringing

    async def advance(self, seconds: float) -> None:
        """Move the clock, ring what is due, and let everybody act on it."""
        self.now += timedelta(seconds=seconds)
        for moment, ringing in self._timers:
            if moment <= self.now and not ringing.done():
                ringing.set_result(None)
        self._timers = [each for each in self._timers if not each[1].done()]
        await quiet()

    def pace(self, **settings: Any) -> Pace:
        given: dict[str, Any] = {
            "clock": self.clock,
            "sleep_until": self.sleep_until,
            "chance": lambda: 0.5,
            "ahead": 3,
            "glance": None,
        }
        return Pace(**(given | settings))


async def quiet() -> None:
    """Let every task run until all of them wait for time or for each other."""
    for _ in range(300):
        await asyncio.sleep(0)


@dataclass
class Row:
    """A delivery in the fake ledger, and the verdicts it was given."""

    delivery: Delivery
    state: str = "owed"
    verdicts: list[Verdict] = field(default_factory=list)

    @property
    def reason(self) -> str:
        last = self.verdicts[-1]
        return "" if isinstance(last, Delivered) else str(last.failure)


class FakeSpool:
    """The spool's face over a dictionary.

    ``failing`` counts calls that the ledger will fail, ``calls`` those it got; ``gate`` shut
    makes ``settle`` wait; ``hiding`` makes ``due`` empty whatever is due; ``free`` is the room on
    the disk in shares of the watermark.
    """

    def __init__(self, folder: Path, time: FakeTime) -> None:
        self.folder = folder
        self.time = time
        self.rows: dict[int, Row] = {}
        self.failing: dict[str, int] = {}
        self.calls: Counter[str] = Counter()
        self.passports: dict[tuple[int, str], Passport] = {}
        self.ends: dict[int, int] = {}
        self.hiding = False
        self.free = 2.0
        self.gate = asyncio.Event()
        self.gate.set()

    def keep(
        self,
        *destinations: str,
        sop_class: UID = CT,
        syntax: UID = EXPLICIT_LE,
        route: str = "route",
        size: int = 100,
        priority: int = 0,
        **header: str,
    ) -> str:
        """A new instance owed to these destinations; returns its SOP Instance UID."""
        number = len(self.rows) + 1
        file = self.folder / f"{number}.dcm"
        file.write_bytes(b"\0" * min(size, 1000))
        uid = f"1.2.{number}"
        instance = Instance(
            uid, sop_class, syntax, "1.2", "1.3", Origin(Arrival.C_STORE), size, self.time.now,
            header, spool_id=number, file=file,
        )  # fmt: skip
        for destination in destinations:
            key = len(self.rows) + 1
            delivery = Delivery(key, instance, destination, route, 0, self.time.now, priority)
            self.rows[key] = Row(delivery)
        return uid

    async def due(
        self,
        destination: str,
        *,
        limit: int,
        now: datetime,
        exclude: Collection[int] = (),
        order: Order | None = None,
    ) -> list[Delivery]:
        await self._answer("due")
        owed = (each for each in self._owed(destination, exclude) if each.due_at <= now)
        found = sorted(owed, key=lambda each: (-each.priority, each.due_at, each.delivery_id))
        return [] if self.hiding else found[:limit]

    async def next_due_at(
        self, destination: str, *, exclude: Collection[int] = ()
    ) -> datetime | None:
        await self._answer("next_due_at")
        return min((each.due_at for each in self._owed(destination, exclude)), default=None)

    async def settle(self, delivery: Delivery, verdict: Verdict) -> None:
        await self._answer("settle")
        await self.gate.wait()
        row = self.rows[delivery.delivery_id]
        row.verdicts.append(verdict)
        tried = replace(row.delivery, attempts=row.delivery.attempts + 1)
        match verdict:
            case Delivered():
                row.state = "delivered"
            case Deferred(_, due_at):
                row.delivery = replace(tried, due_at=due_at)
            case Rejected():
                row.state, row.delivery = "held", tried

    async def put_off(self, deliveries: Sequence[Delivery], until: datetime) -> None:
        await self._answer("put_off")
        for each in deliveries:
            row = self.rows[each.delivery_id]
            row.delivery = replace(row.delivery, due_at=until)

    def derived_path(self, instance: Instance, key: str) -> Path:
        return self.folder / f"{instance.spool_id}-{key}"

    def record(self, instance: Instance, key: str, passport: Passport) -> None:
        self.passports[instance.spool_id, key] = passport

    def amend(self, instance: Instance, key: str, passport: Passport) -> None:
        if (instance.spool_id, key) in self.passports:
            self.record(instance, key, passport)

    async def interruptions(self, instance: Instance, key: str) -> int:
        return self.ends.get(instance.spool_id, 0)

    def check_room(self, share: float = 1.0) -> None:
        self.calls["check_room"] += 1
        if self.free < share:
            raise TemporaryFailure("too little is free")

    def states(self, destination: str = "pacs") -> str:
        """One letter per delivery, in the order kept: d(elivered), h(eld), o(wed), 1.. (tries)."""
        rows = [row for row in self.rows.values() if row.delivery.destination == destination]
        return "".join(
            str(row.delivery.attempts)
            if row.state == "owed" and row.delivery.attempts
            else row.state[0]
            for row in rows
        )

    def row(self, uid: str, destination: str = "pacs") -> Row:
        return next(
            row
            for row in self.rows.values()
            if (row.delivery.instance.sop_instance_uid, row.delivery.destination)
            == (uid, destination)
        )

    def _owed(self, destination: str, exclude: Collection[int]) -> Iterable[Delivery]:
        return [
            row.delivery
            for key, row in self.rows.items()
            if row.state == "owed"
            and row.delivery.destination == destination
            and key not in exclude
        ]

    async def _answer(self, call: str) -> None:
        self.calls[call] += 1
        await asyncio.sleep(0)
        if self.failing.get(call, 0):
            self.failing[call] -= 1
            raise TemporaryFailure("the ledger's disk is full")


@dataclass(frozen=True)
class Made:
    decoder: str = "fake"
    seconds: float = 0.0
    photometric: str = "RGB"
    notes: tuple[str, ...] = ()
    native: NativeFrames | None = None
    passport: Passport = Passport(EXPLICIT_LE, "fake")  # noqa: RUF009 - a frozen value
    undigested: Undigested | None = None


class FakeTranscoder:
    """Writes a small file; waits at ``gate`` when it is shut; fails where told to."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, UID, Rendition]] = []
        self.checks: list[Checks] = []
        self.tags: list[TagChanges | None] = []
        self.failures: dict[str, Exception] = {}
        self.gate = asyncio.Event()
        self.gate.set()

    async def transcode(
        self,
        source: Path,
        target: UID,
        out: Path,
        rendition: Rendition = AS_IT_IS,
        checks: Checks = Checks(),  # noqa: B008 - a frozen value
        tags: TagChanges | None = None,
    ) -> Made:
        self.calls.append((source.stem, target, rendition))
        self.checks.append(checks)
        self.tags.append(tags)
        await self.gate.wait()
        if source.stem in self.failures:
            raise self.failures[source.stem]
        _write(out, 200)
        return Made()

    async def digests(self, source: Path, out: Path, left: Undigested) -> tuple[str, str]:
        return f"of {source.name}", f"of {out.name}"


def _write(file: Path, size: int) -> None:
    file.write_bytes(b"\0" * size)
