"""What one destination is owed, as far as it is in memory, and the standing of its lane.

The ledger is the queue; here is only a bounded window on it: rows that wait for a courier, those
under way, and those whose verdict is being written. A delivery leaves memory when the ledger has
its verdict, so none is taken twice and none is forgotten. The ledger is asked after a wake, at
the next due time, when the lane's rest is over, and at a glance now and then (``Pace.glance``).
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from pathlib import Path

from gateway import telemetry
from gateway.deliver.lane import Lane
from gateway.deliver.ledger import Ledger
from gateway.deliver.outcome import outcome
from gateway.deliver.pace import Pace
from gateway.deliver.policy import Destination, RoutePolicy
from gateway.deliver.rate import Meter
from gateway.failures import Failure
from gateway.model import (
    AS_RECEIVED,
    PRIORITIES,
    UID,
    Deferred,
    Delivered,
    Delivery,
    Instance,
    Order,
    Rejected,
    Verdict,
)

MOST_PAIRS = 40
"""(SOP class, transfer syntax) pairs a session asks for: three contexts each, of 128 at most."""
MOST_SETTLING = 64
"""Verdicts on their way into the ledger before a courier has to wait for it."""
MOMENT = timedelta(seconds=1)
MOST_REORDERED = 16
"""Rows held in memory of a destination that is not served as they came, or thrice those ahead."""
UNWOKEN = min(PRIORITIES) - 1
"""No priority: nothing new came."""


class Outbox:
    """The deliveries of one destination between ledger and couriers."""

    def __init__(
        self,
        destination: Destination,
        ledger: Ledger,
        policies: Mapping[str, RoutePolicy],
        pace: Pace,
    ) -> None:
        self.destination = destination
        self.pace = pace
        self.lane = Lane(
            limit=(pace.ahead + 1) * destination.max_associations, patience=pace.patience
        )
        self.draining = asyncio.Event()
        self.arrived = asyncio.Event()
        self.couriers: set[object] = set()
        self.listeners: list[Callable[[], None]] = []
        self._ledger = ledger
        self.policies = policies
        self._waiting: deque[Delivery] = deque()
        self._running: set[int] = set()
        self._last: dict[int, Instance] = {}
        self._settling: dict[int, asyncio.Task[None]] = {}
        self._hungry = asyncio.Event()
        self._fresh = self._stale = True
        self._woken = UNWOKEN
        self._overtaken = False
        self._next: datetime | None = None
        self._meter = Meter()
        self._slowed_until: datetime | None = None
        self.unanswered: set[int] = set()
        """Deliveries of which a try ended without an answer: the destination may have them."""
        self.revision = 0
        """Counts the changes a person made in the ledger: what was fetched before may be void."""

    def policy(self, delivery: Delivery) -> RoutePolicy:
        """How the delivery's route wants it made; the defaults where that route is gone."""
        return self.policies.get(delivery.route) or RoutePolicy()

    @property
    def waiting(self) -> int:
        """How many due deliveries wait in memory."""
        return len(self._waiting)

    @property
    def _reordered(self) -> bool:
        """Whether something new may go before what waits already, of the same priority."""
        return self.destination.order != AS_RECEIVED

    @property
    def _window(self) -> int:
        """How many rows are held: few where each arrival may have them fetched anew."""
        few = max(MOST_REORDERED, 3 * self.pace.ahead)  # enough for a further association
        return min(self.pace.look_ahead, few) if self._reordered else self.pace.look_ahead

    def open(self) -> bool:
        """Whether deliveries may be made now."""
        return not (self.draining.is_set() or self.lane.closed(self.pace.clock()))

    def peek(self) -> Delivery | None:
        """The next delivery that may be taken up now, if any."""
        if self.draining.is_set() or not self._waiting:
            return None
        now = self.pace.clock()
        if not self.lane.room(len(self._running), now):
            return None
        return self._waiting[0] if self._may_go(self._waiting[0], now) else None

    def _may_go(self, delivery: Delivery, now: datetime) -> bool:
        """Whether the window of its route is open, and the destination's rate lets it go."""
        policy = self.policy(delivery)
        if policy.during and policy.opens_at(now) > now:
            self._ask_anew()
            return False
        free_at = self._meter.free_at(now) if policy.limited else now
        if free_at > now and free_at != self._slowed_until:
            self._slowed_until = free_at
            self._hungry.set()
        return free_at <= now

    def take(self) -> Delivery:
        """Take up what ``peek`` showed."""
        delivery = self._waiting.popleft()
        self._running.add(delivery.delivery_id)
        self._last[delivery.priority] = delivery.instance
        if self._overtaken:
            self._overtaken = False
            self._waiting.clear()
            self._fresh = True
            self._hungry.set()
        policy, size = self.policy(delivery), delivery.instance.size
        self._meter = policy.metered(self._meter, size, self.pace.clock())
        return delivery

    def grew(self, delivery: Delivery, file: Path) -> None:
        """What was taken up is sent as another file: what that has more of is charged as well."""
        policy, instance = self.policy(delivery), delivery.instance
        if policy.limited and file != instance.file:
            more = max(file.stat().st_size - instance.size, 0)
            self._meter = policy.metered(self._meter, more, self.pace.clock(), count=0)

    def give_back(self, deliveries: Iterable[Delivery]) -> None:
        """Deliveries that were taken up and not tried: they are next again, in their order."""
        for delivery in reversed(list(deliveries)):
            self._running.discard(delivery.delivery_id)
            self._waiting.appendleft(delivery)
        self.ring()

    def forget(self, deliveries: Iterable[Delivery]) -> None:
        """Deliveries that were taken up and may be void now: the ledger is asked anew."""
        for delivery in deliveries:
            self._running.discard(delivery.delivery_id)
        self._ask_anew()

    def _ask_anew(self) -> None:
        self._waiting.clear()
        self._fresh = self._stale = True
        self._hungry.set()

    def wanted(self, first: Delivery) -> list[tuple[UID, UID]]:
        """The (SOP class, stored transfer syntax) pairs of a delivery and those behind it."""
        batch = [first, *self._waiting]
        pairs = dict.fromkeys(
            (each.instance.sop_class_uid, each.instance.transfer_syntax) for each in batch
        )
        return list(pairs)[:MOST_PAIRS]

    def ring(self) -> None:
        """Something changed: open sessions take what fits, and who waits looks again."""
        for listener in list(self.listeners):
            listener()
        self.arrived.set()
        self.arrived = asyncio.Event()
        self._hungry.set()

    async def delivered(self, delivery: Delivery, verdict: Delivered) -> None:
        """The destination confirmed an instance."""
        self.lane = self.lane.succeeded()
        await self._conclude(delivery, verdict)

    async def failed(self, delivery: Delivery, failure: Failure) -> None:
        """A delivery failed; whether its lane suffers is for the caller to say."""
        now = self.pace.clock()
        verdict = self.policy(delivery).verdict(delivery, failure, now, self.pace.chance())
        await self._conclude(delivery, verdict)

    def answered(self) -> None:
        """The destination refused one instance by name."""
        self.lane = self.lane.answered()

    def shut(self, delivery: Delivery, failure: Failure, *, at_once: bool = False) -> None:
        """The destination failed: the window shuts, and the lane may rest."""
        now = self.pace.clock()
        tries = self.lane.failures + 1
        rest = self.policy(delivery).rest(tries, self.pace.chance())
        self.lane = self.lane.failed(now, rest, at_once=at_once)
        self._hungry.set()
        if self.lane.closed(now):
            telemetry.alarm(
                "destination rests",
                destination=self.destination.name,
                failures=tries,
                rest_s=round(rest.total_seconds(), 1),
                reason=str(failure),
            )

    async def _conclude(self, delivery: Delivery, verdict: Verdict) -> None:
        """The delivery is no longer under way; its verdict is on its way into the ledger."""
        self._running.discard(delivery.delivery_id)
        self._settling[delivery.delivery_id] = asyncio.ensure_future(
            self._record(delivery, verdict)
        )
        self.ring()
        if len(self._settling) >= MOST_SETTLING:
            await asyncio.wait(self._settling.values(), return_when=asyncio.FIRST_COMPLETED)

    async def _record(self, delivery: Delivery, verdict: Verdict) -> None:
        """Write the verdict; while the ledger fails, try again: what was sent is not resent."""
        name = self.destination.name
        try:
            while isinstance(
                failure := await outcome(self._ledger.settle(delivery, verdict), "settle"),
                Failure,
            ):
                telemetry.alarm("verdict not written", destination=name, reason=str(failure))
                if self.draining.is_set():
                    return
                await self.pace.wait(self.draining, self.pace.clock() + self.pace.mend)
        finally:
            del self._settling[delivery.delivery_id]
            if not isinstance(verdict, Deferred):
                self.unanswered.discard(delivery.delivery_id)
            self._stale = self._stale or isinstance(verdict, Deferred)
            self._hungry.set()
        _tell(delivery, verdict, self.pace.clock())

    async def settled(self) -> None:
        """Wait until the ledger has every verdict that was reached."""
        while self._settling:
            await asyncio.wait(self._settling.values())

    def drain(self) -> None:
        """Take nothing up any more."""
        self.draining.set()
        self.ring()

    def wake(self, priority: int = 0) -> None:
        """The ledger has something new for this destination; what it may precede gives way."""
        if self._may_precede(priority):
            self._waiting.clear()
        self._woken = max(priority, self._woken)
        self._fresh = True
        self._hungry.set()

    def _may_precede(self, priority: int) -> bool:
        """Whether something new of this priority may go before something that waits."""
        return self._reordered or any(each.priority < priority for each in self._waiting)

    def changed_by_hand(self) -> None:
        """A person retried, held or dropped something: nothing fetched before is believed."""
        self.revision += 1
        self.lane = self.lane.reopened()
        self._ask_anew()
        self.ring()

    async def feed(self) -> None:
        """Keep due deliveries in memory until draining."""
        while not self.draining.is_set():
            self._hungry.clear()
            until = await self._refill()
            slowed = self._slowed_until
            first = min((each for each in (until, slowed) if each is not None), default=None)
            if await self.pace.wait(self._hungry, first):
                continue
            if slowed is not None and self.pace.clock() >= slowed:
                self._slowed_until = None
                self.ring()
            else:
                self._fresh = self._stale = True

    async def _refill(self) -> datetime | None:
        """Fetch what is due and wanted; returns when to look again without being asked."""
        now = self.pace.clock()
        if self.lane.closed(now):
            self._waiting.clear()
            self._fresh = True
            return self.lane.closed_until
        if self._fresh and len(self._waiting) <= self._window // 2:
            if self._reordered:
                self._waiting.clear()  # what came since may belong before it
            return await self._fetch(now)
        return None if self._waiting else await self._next_due(now)

    async def _fetch(self, now: datetime) -> datetime | None:
        self._fresh = False
        self._woken = UNWOKEN
        name, limit = self.destination.name, self._window - len(self._waiting)
        rows = await outcome(self._due(name, limit, now), "due")
        if isinstance(rows, Failure):
            return self._ledger_failed(rows, now)
        if rows:
            self._waiting = deque(sorted([*self._waiting, *rows], key=lambda row: -row.priority))
            # Asked anew once one of these has gone, so that a stream of arrivals stops nothing.
            self._overtaken = self._woken > UNWOKEN and self._may_precede(self._woken)
            self.ring()
        return None if self._waiting else await self._next_due(now)

    async def _due(self, name: str, limit: int, now: datetime) -> list[Delivery]:
        """What may be made now; the rest waits in the ledger until its window opens."""
        order = Order(self.destination.order, dict(self._last))
        known = self._known()
        rows = await self._ledger.due(name, limit=limit, now=now, exclude=known, order=order)
        self._fresh = self._fresh or len(rows) == limit
        late: dict[datetime, list[Delivery]] = {}
        for row in rows:
            opens = self.policy(row).opens_at(now)
            if opens > now:
                late.setdefault(opens, []).append(row)
        for opens, each in late.items():
            await self._ledger.put_off(each, opens)
            self._stale = True
        if late:
            self._fresh = True
            self._hungry.set()
        put_off = {row.delivery_id for each in late.values() for row in each}
        return [row for row in rows if row.delivery_id not in put_off]

    async def _next_due(self, now: datetime) -> datetime | None:
        """When to ask again: the next row that is not in memory falls due, or a glance is due."""
        if not self._stale:
            return self._at_a_glance(now)
        self._stale = False
        known, name = self._known(), self.destination.name
        due_at = await outcome(self._ledger.next_due_at(name, exclude=known), "next due")
        if isinstance(due_at, Failure):
            return self._ledger_failed(due_at, now)
        self._next = None if due_at is None else max(due_at, now + MOMENT)
        return self._at_a_glance(now)

    def _at_a_glance(self, now: datetime) -> datetime | None:
        if self.pace.glance is None:
            return self._next
        glance = now + self.pace.glance
        return glance if self._next is None else min(self._next, glance)

    def _known(self) -> set[int]:
        waiting = {each.delivery_id for each in self._waiting}
        return waiting | self._running | set(self._settling)

    def _ledger_failed(self, failure: Failure, now: datetime) -> datetime:
        telemetry.alarm("ledger not read", destination=self.destination.name, reason=str(failure))
        self._fresh = self._stale = True
        return now + self.pace.mend


def _tell(delivery: Delivery, verdict: Verdict, now: datetime) -> None:
    match verdict:
        case Delivered(transfer_syntax, decoder, warning):
            telemetry.delivered(delivery, transfer_syntax, decoder, warning)
        case Deferred(failure, due_at):
            telemetry.deferred(delivery, str(failure), (due_at - now).total_seconds())
        case Rejected(failure):
            telemetry.held(delivery, str(failure))
