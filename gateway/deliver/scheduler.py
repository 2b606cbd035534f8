"""Due deliveries over lanes to sessions: one lane per destination, each wholly on its own.

The ledger is the queue, so a restart goes on where the last run stopped: nothing counts as
delivered that a destination has not confirmed, and only what was tried counts as a try. A
destination that is down costs one delivery a try each time its lane has rested; one that hangs,
refuses or breaks off holds up nobody but itself.

Where destinations change meanwhile, the lanes of those that stay as they are go on undisturbed.
One that is changed or taken away ends what it is sending, leaves the rest to the ledger, and only
then a lane to the changed one opens: nothing is on its way to one destination twice.
"""

import asyncio
from collections.abc import Iterable, Mapping
from datetime import timedelta

from gateway import telemetry
from gateway.deliver.courier import Courier
from gateway.deliver.lane import Lane
from gateway.deliver.ledger import Ledger
from gateway.deliver.outbox import Outbox
from gateway.deliver.outcome import outcome
from gateway.deliver.pace import Pace
from gateway.deliver.policy import Destination, RoutePolicy
from gateway.derivation import Derivations
from gateway.failures import Failure
from gateway.model import PRIORITIES

GRACE = timedelta(seconds=30)


class Scheduler:
    """Makes the deliveries of all destinations.

    ``policies`` are looked up by a delivery's route. Deliveries to a destination that is not
    among ``destinations`` stay in the ledger untouched.
    """

    def __init__(
        self,
        ledger: Ledger,
        derivations: Derivations,
        destinations: Iterable[Destination],
        policies: Mapping[str, RoutePolicy],
        pace: Pace | None = None,
    ) -> None:
        self._pace = pace or Pace()
        self._derivations = derivations
        self._ledger = ledger
        self._outboxes = {
            each.name: Outbox(each, ledger, policies, self._pace) for each in destinations
        }
        self._leaving: set[Outbox] = set()
        self._tending: dict[str, asyncio.Task[None]] = {}
        self._lanes: asyncio.TaskGroup | None = None
        self._task: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()
        self._finished = asyncio.Event()

    async def run(self) -> None:
        """Deliver until ``aclose``; when cancelled, what was confirmed is still written down."""
        self._task = asyncio.current_task()
        try:
            async with asyncio.TaskGroup() as lanes:
                lanes.create_task(self._closing.wait())  # without destinations there is no other
                self._lanes = lanes
                for outbox in self._outboxes.values():
                    self._start(lanes, outbox)
        finally:
            for outbox in [*self._outboxes.values(), *self._leaving]:
                outbox.drain()
                await outbox.settled()
            self._finished.set()

    def redirect(
        self, destinations: Iterable[Destination], policies: Mapping[str, RoutePolicy]
    ) -> None:
        """Deliver to these from now on, in these ways; what is being sent is sent as it was.

        What is owed to a destination that is no longer there stays in the ledger.
        """
        wanted = {each.name: each for each in destinations}
        for name, outbox in list(self._outboxes.items()):
            if wanted.get(name) == outbox.destination:
                outbox.policies = policies
            else:
                del self._outboxes[name]
                self._leaving.add(outbox)
                outbox.drain()
        for name in wanted.keys() - self._outboxes.keys():
            outbox = Outbox(wanted[name], self._ledger, policies, self._pace)
            self._outboxes[name] = outbox
            if self._lanes is not None and not self._closing.is_set():
                self._start(self._lanes, outbox)

    def _start(self, lanes: asyncio.TaskGroup, outbox: Outbox) -> None:
        """Open a lane once the one that led to the destination of this name has ended."""
        name = outbox.destination.name
        earlier = self._tending.get(name)
        self._tending[name] = lanes.create_task(self._tend(outbox, earlier), name=f"lane {name}")

    def wake(self, destination: str, priority: int = 0) -> None:
        """Say that something new is owed to a destination; cheap, and never too often."""
        outbox = self._outboxes.get(destination)
        if outbox is not None:
            outbox.wake(priority)

    def wake_all(self) -> None:
        """Say that something may have become due to any destination."""
        for outbox in self._outboxes.values():
            outbox.wake(max(PRIORITIES))

    def changed_by_hand(self) -> None:
        """A person changed deliveries in the ledger: lanes end their rest and read it anew."""
        for outbox in self._outboxes.values():
            outbox.changed_by_hand()

    def standing(self) -> dict[str, Lane]:
        """The present standing of each destination."""
        return {name: outbox.lane for name, outbox in self._outboxes.items()}

    async def aclose(self, grace: timedelta = GRACE) -> None:
        """Take nothing up any more, let what is being sent end, cancel it after ``grace``."""
        self._closing.set()
        for outbox in self._outboxes.values():
            outbox.drain()
        if self._task is None:
            return
        deadline = self._pace.clock() + grace
        while not self._finished.is_set() and self._pace.clock() < deadline:
            await self._pace.wait(self._finished, deadline)
        if not self._finished.is_set():
            self._task.cancel()
            await self._finished.wait()

    async def _tend(self, outbox: Outbox, earlier: "asyncio.Task[None] | None") -> None:
        """Keep one lane alive, whatever happens in it."""
        if earlier is not None:
            await asyncio.wait({earlier})
        while not outbox.draining.is_set():
            ended = await outcome(self._work(outbox), f"lane {outbox.destination.name}")
            if isinstance(ended, Failure):
                telemetry.alarm("lane restarts", destination=outbox.destination.name)
                await self._pace.wait(outbox.draining, self._pace.clock() + self._pace.mend)
        await outbox.settled()
        self._leaving.discard(outbox)

    async def _work(self, outbox: Outbox) -> None:
        couriers = range(outbox.destination.max_associations)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(outbox.feed())
            for _ in couriers:
                tasks.create_task(Courier(outbox, self._derivations).run())
