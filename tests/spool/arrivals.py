"""Instances to put into a spool, and a clock that moves only when told."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from gateway.model import Arrival, Arriving, Instance, Origin, Owed
from gateway.spool import Queue, Spool

START = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)


class Clock:
    """Says the time that it was set to."""

    def __init__(self, now: datetime = START) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **by: float) -> datetime:
        """Move on by a timedelta's arguments; returns the new time."""
        self.now += timedelta(**by)
        return self.now


def arriving(uid: str, *, received_at: datetime = START, size: int = 0) -> Arriving:
    """A CT image called ``uid``, with a header that is not plain ASCII."""
    return Arriving(
        sop_instance_uid=uid,
        sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
        transfer_syntax="1.2.840.10008.1.2.4.90",
        study_uid="1.2.3",
        series_uid="1.2.3.4",
        origin=Origin(Arrival.C_STORE, "CT1", "GATEWAY", "10.0.0.7"),
        size=size,
        received_at=received_at,
        header={"Modality": "CT", "StudyDescription": 'Schädel "nativ"\\2'},
    )


def owed_to(*destinations: str) -> list[Owed]:
    """Owed to each destination by a route of the same name."""
    return [Owed(name, f"to-{name}") for name in destinations]


async def keep(
    spool: Spool,
    uid: str,
    *destinations: str,
    content: bytes = b"pixels",
    received_at: datetime = START,
) -> Instance:
    """Write and commit one instance."""
    with spool.create() as part:
        part.write(content)
        instance = arriving(uid, received_at=received_at, size=part.size)
        return await spool.commit(part, instance, owed_to(*destinations))


def beside(spool: Spool) -> Queue:
    """The spool's queue as another process has it."""
    return Queue(spool._files.root, clock=spool._clock)


def rows(spool: Spool, state: str | None = None, destination: str | None = None):
    """All deliveries, or those of a state and a destination."""
    with beside(spool) as queue:
        return queue.list(state, destination, 100_000)


def by_hand(spool: Spool, change: str, selector: int | str) -> int:
    """What ``queue retry|hold|drop`` does; how many it has changed."""
    with beside(spool) as queue:
        changed: int = getattr(queue, change)(selector)
        return changed


def contradictions(spool: Spool) -> Sequence[str]:
    """What does not add up in the ledger."""
    with beside(spool) as queue:
        return queue.contradictions()


def states(rows: Sequence[object]) -> list[str]:
    """The states of queue rows, in their order."""
    return [row.state for row in rows]
