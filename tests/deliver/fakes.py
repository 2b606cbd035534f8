"""Stand-ins for what the scheduler is given: time, ledger, transcoder, unreliable destinations."""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from pathlib import Path
from typing import Any

from gateway.deliver.pace import Pace
from gateway.deliver.session import ConnectionLost
from gateway.failures import AlreadyThere, PermanentFailure, TemporaryFailure
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
    Verdict,
)
from gateway.tags import TagChanges
from gateway.transfer_syntax import EXPLICIT_LE, IMPLICIT_LE, J2K

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


def _write(file: Path, size: int) -> None:
    file.write_bytes(b"\0" * size)


class Answer(Enum):
    """What a destination does at one try."""

    OK = auto()
    WARNING = auto()
    OUT_OF_RESOURCES = auto()
    CANNOT_UNDERSTAND = auto()
    DUPLICATE = auto()
    HANG = auto()
    DROP = auto()
    BUG = auto()
    REFUSE_CONNECTION = auto()
    REJECT = auto()
    CONNECT_BUG = auto()
    CONNECT_HANG = auto()
    REFUSE_CONTEXTS = auto()
    CLOSE_AT_ONCE = auto()


AT_CONNECT = {
    Answer.REFUSE_CONNECTION: TemporaryFailure("connection refused"),
    Answer.REJECT: PermanentFailure("rejected: called AE title not recognized"),
    Answer.CONNECT_BUG: RuntimeError("surprise"),
}
AT_STORE = {
    Answer.OUT_OF_RESOURCES: TemporaryFailure("0xA700 out of resources"),
    Answer.CANNOT_UNDERSTAND: PermanentFailure("0xC000 cannot understand"),
    Answer.DUPLICATE: AlreadyThere("0x0111 duplicate SOP instance"),
    Answer.DROP: ConnectionLost("the peer closed the connection"),
    Answer.BUG: RuntimeError("surprise"),
}
WHOLE_ASSOCIATION = {Answer.REFUSE_CONTEXTS, Answer.CLOSE_AT_ONCE}


class UnreliableSender:
    """A destination that answers as scripted, one answer a try, and well when that is used up.

    ``events`` is what it saw: connect, store UID, release, abort. ``most`` is how many
    associations it serves at once; ``broken`` sessions raise when they are asked anything.
    """

    def __init__(self, *script: Answer, accepts: Collection[UID] | None = None) -> None:
        self.script = deque(script)
        self.accepts = frozenset(accepts or (EXPLICIT_LE, IMPLICIT_LE, J2K))
        self.events: list[str] = []
        self.wanted: list[list[tuple[UID, UID]]] = []
        self.stored: list[tuple[str, UID, str]] = []
        self.open = self.most_open = 0
        self.most = 99
        self.broken = False
        self.sessions: list[FakeSession] = []
        self.release_failure: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    def uids(self) -> list[str]:
        """The instances that were confirmed, in the order in which they came."""
        return [uid for uid, _, _ in self.stored]

    @asynccontextmanager
    async def connect(self, wanted: Collection[tuple[UID, UID]]) -> AsyncIterator["FakeSession"]:
        self.events.append("connect")
        self.wanted.append(list(wanted))
        if self.open >= self.most:
            raise TemporaryFailure("rejected: local limit exceeded")
        session = await self._open(set(wanted))
        self.sessions.append(session)
        self.open += 1
        self.most_open = max(self.open, self.most_open)
        try:
            yield session
            self.events.append("release")
        except BaseException:
            self.events.append("abort")
            raise
        finally:
            self.open -= 1
        if self.release_failure is not None:
            raise self.release_failure

    async def _open(self, wanted: set[tuple[UID, UID]]) -> "FakeSession":
        await asyncio.sleep(0)
        if not self.script or self.script[0] not in {
            *AT_CONNECT, *WHOLE_ASSOCIATION, Answer.CONNECT_HANG,
        }:  # fmt: skip
            return FakeSession(self, wanted, self.accepts)
        answer = self.script.popleft()
        if answer in AT_CONNECT:
            raise AT_CONNECT[answer]
        if answer is Answer.CONNECT_HANG:
            await asyncio.Event().wait()
        accepts = frozenset() if answer is Answer.REFUSE_CONTEXTS else self.accepts
        return FakeSession(self, wanted, accepts, alive=answer is not Answer.CLOSE_AT_ONCE)


class FakeSession:
    """An association with an unreliable destination."""

    def __init__(
        self,
        sender: UnreliableSender,
        wanted: set[tuple[UID, UID]],
        accepts: frozenset[UID],
        *,
        alive: bool = True,
    ) -> None:
        self._alive = alive
        self._sender = sender
        self._proposed = {
            (sop_class, syntax)
            for sop_class, stored in wanted
            for syntax in (stored, EXPLICIT_LE, IMPLICIT_LE)
        }
        self._accepts = accepts

    @property
    def alive(self) -> bool:
        if self._sender.broken:
            raise RuntimeError("surprise")
        return self._alive

    @alive.setter
    def alive(self, alive: bool) -> None:
        self._alive = alive

    def accepted(self, sop_class: UID) -> frozenset[UID]:
        proposed = {syntax for known, syntax in self._proposed if known == sop_class}
        return self._accepts & proposed

    def proposed(self, sop_class: UID, syntaxes: Collection[UID]) -> bool:
        return all((sop_class, syntax) in self._proposed for syntax in syntaxes)

    async def store(self, instance: Instance, file: Path, transfer_syntax: UID) -> str:
        assert self.alive, "stored over a dead association"
        assert transfer_syntax in self.accepted(instance.sop_class_uid)
        self._sender.events.append(f"store {instance.sop_instance_uid}")
        await self._sender.gate.wait()
        answer = self._sender.script.popleft() if self._sender.script else Answer.OK
        if answer in (Answer.DROP, Answer.BUG):
            self.alive = False
        if answer is Answer.HANG:
            await asyncio.Event().wait()
        if answer in AT_STORE:
            raise AT_STORE[answer]
        self._sender.stored.append((instance.sop_instance_uid, transfer_syntax, file.name))
        return "0xB000 coercion of data elements" if answer is Answer.WARNING else ""
