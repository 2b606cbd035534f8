"""Whatever happens in whatever order: what was acknowledged is accounted for, ledger and disk.

A hypothesis state machine drives a real spool beside a model of it in plain dictionaries.
"""

import asyncio
import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from gateway.failures import PermanentFailure, TemporaryFailure
from gateway.model import Deferred, Delivered, Rejected
from gateway.spool import Spool
from tests.spool.arrivals import Clock, beside, by_hand, contradictions, keep, owed_to, rows

KEEP = timedelta(days=7)
DESTINATIONS = ("pacs", "viewer", "cloud")
UIDS = st.sampled_from(["1.2.1", "1.2.2", "1.2.3"])
PICKS = st.integers(0, 1_000)


@dataclass
class Known:
    """What the model knows of one delivery."""

    spool_id: int
    uid: str
    destination: str
    due_at: datetime
    state: str = "owed"
    attempts: int = 0
    settled_at: datetime | None = None
    by_rules: bool = False


class Promises(RuleBasedStateMachine):
    """received = delivered + owed + held + dropped, for every destination, at every instant."""

    def __init__(self) -> None:
        super().__init__()
        self.base = Path(tempfile.mkdtemp(prefix="spool-"))
        self.loop = asyncio.new_event_loop()
        self.clock = Clock()
        self.lives = 0
        self.received: Counter[str] = Counter()
        self.gone: Counter[tuple[str, str]] = Counter()
        self.instances: dict[int, tuple[bytes, datetime]] = {}
        self.deliveries: dict[int, Known] = {}

    def run(self, doing):
        return self.loop.run_until_complete(doing)

    def open(self) -> None:
        self.spool = Spool.open(self.folder, clock=self.clock, refuse_below_free=0, keep=KEEP)

    @initialize()
    def start(self) -> None:
        self.folder = self.base / "0"
        self.open()

    @rule(uid=UIDS, owed=st.sets(st.sampled_from(DESTINATIONS)), copies=st.integers(1, 3))
    def receive(self, uid: str, owed: set[str], copies: int) -> None:
        """The same instance may come several times, even at once: each is kept."""
        destinations = sorted(owed)
        content = f"{uid} at {self.clock()} in {self.lives}".encode()
        arrivals = [
            keep(self.spool, uid, *destinations, content=content, received_at=self.clock())
            for _ in range(copies)
        ]

        async def together():
            return await asyncio.gather(*arrivals)

        for instance in self.run(together()):
            self.instances[instance.spool_id] = (content, self.clock())
            for name in destinations:
                self.received[name] += 1
        self.learn()

    def learn(self) -> None:
        """Take up the ids that the ledger gave to deliveries the model does not know yet."""
        for row in rows(self.spool):
            if row.delivery_id not in self.deliveries:
                assert (row.state, row.attempts) == ("owed", 0)
                self.deliveries[row.delivery_id] = Known(
                    row.spool_id, row.sop_instance_uid, row.destination, row.due_at
                )

    @rule()
    def abort_an_arrival(self) -> None:
        with self.spool.create() as part:
            part.write(b"cut off")

    @rule(name=st.sampled_from(DESTINATIONS), limit=st.integers(1, 3))
    def due(self, name: str, limit: int) -> None:
        found = self.run(self.spool.due(name, limit=limit, now=self.clock()))
        wanted = sorted(
            (known.due_at, known.spool_id, number)
            for number, known in self.deliveries.items()
            if known.state == "owed" and known.destination == name and known.due_at <= self.clock()
        )
        assert [one.delivery_id for one in found] == [number for *_, number in wanted[:limit]]

    @precondition(lambda self: self.deliveries)
    @rule(pick=PICKS, kind=st.sampled_from(["delivered", "deferred", "rejected"]))
    def settle(self, pick: int, kind: str) -> None:
        """A verdict about any delivery at all, also one that a person has changed meanwhile."""
        number, known = self.pick(pick)
        delivery = self.in_flight(number)
        later = self.clock() + timedelta(minutes=7)
        verdict = {
            "delivered": Delivered("1.2.840.10008.1.2"),
            "deferred": Deferred(TemporaryFailure("busy"), later),
            "rejected": Rejected(PermanentFailure("no")),
        }[kind]
        self.run(self.spool.settle(delivery, verdict))
        if known.state in ("owed", "held"):
            if kind == "delivered":
                known.state, known.settled_at = "delivered", self.clock()
            elif kind == "rejected":
                known.state, known.attempts = "held", known.attempts + 1
            elif known.state == "owed":
                known.due_at, known.attempts = later, known.attempts + 1

    def in_flight(self, number: int):
        """A delivery as the scheduler holds it; only its id matters to the ledger."""

        @dataclass
        class Held:
            delivery_id: int

        return Held(number)

    def pick(self, pick: int) -> tuple[int, Known]:
        number = sorted(self.deliveries)[pick % len(self.deliveries)]
        return number, self.deliveries[number]

    @precondition(lambda self: self.deliveries)
    @rule(
        pick=PICKS,
        change=st.sampled_from(["retry", "hold", "drop"]),
        by_uid=st.booleans(),
    )
    def a_person_steps_in(self, pick: int, change: str, by_uid: bool) -> None:
        number, known = self.pick(pick)
        selector = known.uid if by_uid else number
        chosen = [
            one
            for key, one in self.deliveries.items()
            if (one.uid == known.uid if by_uid else key == number)
            and one.state in (("owed",) if change == "hold" else ("owed", "held"))
        ]
        assert by_hand(self.spool, change, selector) == len(chosen)
        for one in chosen:
            if change == "retry":
                one.state, one.attempts, one.due_at = "owed", 0, self.clock()
            elif change == "hold":
                one.state = "held"
            else:
                one.state, one.settled_at = "dropped", self.clock()

    @precondition(lambda self: self.instances)
    @rule(pick=PICKS, owed=st.sets(st.sampled_from(DESTINATIONS)))
    def reroute(self, pick: int, owed: set[str]) -> None:
        """Other rules for an instance, from another process."""
        spool_id = sorted(self.instances)[pick % len(self.instances)]
        of = [one for one in self.deliveries.values() if one.spool_id == spool_id]
        with beside(self.spool) as queue:
            queue.reroute({spool_id: owed_to(*sorted(owed))})
        self.received.update(owed - {one.destination for one in of if not one.by_rules})
        for one in of:
            if one.state in ("owed", "held") and one.destination not in owed:
                one.state, one.settled_at, one.by_rules = "dropped", self.clock(), True
        self.learn()

    @rule(hours=st.sampled_from([0.1, 1, 24]))
    def tick(self, hours: float) -> None:
        self.clock.advance(hours=hours)

    @rule()
    def deliver_all_that_is_owed(self) -> None:
        for number, known in self.deliveries.items():
            if known.state == "owed":
                self.run(self.spool.settle(self.in_flight(number), Delivered("1.2.840.10008.1.2")))
                known.state, known.settled_at = "delivered", self.clock()

    @rule(days=st.sampled_from([0, 8]))
    def tidy(self, days: int) -> None:
        before = self.clock.advance(days=days) - KEEP
        self.run(self.spool.tidy(self.clock()))
        for spool_id, (_, received_at) in list(self.instances.items()):
            of = {n: one for n, one in self.deliveries.items() if one.spool_id == spool_id}
            done = all(one.settled_at and one.settled_at < before for one in of.values())
            if done and received_at < before:
                del self.instances[spool_id]
                for number, one in of.items():
                    self.gone[one.destination, one.state] += 1
                    del self.deliveries[number]

    @rule()
    def crash(self) -> None:
        """Nothing is closed: what lies on the disk at this moment is opened elsewhere."""
        self.spool.create().write(b"in the middle")
        self.lives += 1
        dead, self.folder = self.folder, self.base / str(self.lives)
        shutil.copytree(dead, self.folder)
        self.run(self.spool.aclose())
        shutil.rmtree(dead)
        self.open()

    @rule()
    def restart(self) -> None:
        self.run(self.spool.aclose())
        self.open()

    @invariant()
    def every_delivery_is_in_the_state_the_model_knows(self) -> None:
        assert {
            row.delivery_id: (row.spool_id, row.destination, row.state, row.attempts)
            for row in rows(self.spool)
        } == {
            number: (one.spool_id, one.destination, one.state, one.attempts)
            for number, one in self.deliveries.items()
        }

    @invariant()
    def what_was_received_is_accounted_for(self) -> None:
        assert contradictions(self.spool) == []
        counts = self.run(self.spool.counts())
        assert {name: of.received for name, of in counts.destinations.items()} == dict(
            self.received
        )
        for name, of in counts.destinations.items():
            now = Counter(one.state for one in self.deliveries.values() if one.destination == name)
            assert (of.owed, of.held) == (now["owed"], now["held"])
            assert of.delivered == now["delivered"] + self.gone[name, "delivered"]
            assert of.dropped == now["dropped"] + self.gone[name, "dropped"]

    @invariant()
    def every_instance_has_its_whole_file_and_nothing_else_is_there(self) -> None:
        on_disk = {
            int(path.stem): path.read_bytes() for path in (self.folder / "instances").rglob("*.*")
        }
        assert on_disk == {number: content for number, (content, _) in self.instances.items()}

    def teardown(self) -> None:
        if hasattr(self, "spool"):
            self.run(self.spool.aclose())
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()
        shutil.rmtree(self.base)


TestPromises = Promises.TestCase
TestPromises.settings = settings(
    max_examples=40,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
