"""What stands in the ledger's rows, and their form in the vocabulary."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeAlias

from gateway.model import UID, Arrival, Arriving, Instance, Origin

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

Values: TypeAlias = tuple[str | int | None, ...]
Row: TypeAlias = tuple[Any, ...]

STATES: Final = ("owed", "held", "delivered", "dropped")

INSTANCE_COLUMNS: Final = (
    "i.sop_instance_uid, i.sop_class_uid, i.transfer_syntax, i.study_uid, i.series_uid, "
    "i.arrival, i.calling, i.called, i.address, i.size, i.received_at, i.header, i.mislabelled, "
    "i.digest, i.spool_id"
)
QUEUE_COLUMNS: Final = (
    "d.delivery_id, d.spool_id, i.sop_instance_uid, i.calling, i.transfer_syntax, i.mislabelled, "
    "i.size, i.received_at, d.destination, d.route, d.state, d.attempts, d.due_at, d.reason, "
    "d.transfer_syntax, d.decoder, d.warning, d.settled_at"
)


@dataclass(frozen=True, slots=True)
class QueueRow:
    """One delivery as a person sees it; no attribute of the patient is in it.

    ``state`` is one of owed, held, delivered, dropped; ``attempts`` counts failed tries since it
    became owed; ``mislabelled`` as in ``Arriving``; ``delivered_as`` is the transfer syntax that
    the destination took.
    """

    delivery_id: int
    spool_id: int
    sop_instance_uid: UID
    calling: str
    transfer_syntax: UID
    mislabelled: bool
    size: int
    received_at: datetime
    destination: str
    route: str
    state: str
    attempts: int
    due_at: datetime
    reason: str
    delivered_as: UID
    decoder: str
    warning: str
    settled_at: datetime | None


@dataclass(frozen=True, slots=True)
class DestinationCounts:
    """Deliveries of one destination by state.

    ``deferred`` are those of ``owed`` that have been tried; ``oldest`` is when the longest owed
    instance was received; ``delivered`` and ``dropped`` include what retention has removed.
    """

    owed: int = 0
    deferred: int = 0
    held: int = 0
    delivered: int = 0
    dropped: int = 0
    oldest: datetime | None = None

    @property
    def received(self) -> int:
        """Every delivery there ever was: each is in exactly one state."""
        return self.owed + self.held + self.delivered + self.dropped


@dataclass(frozen=True, slots=True)
class Counts:
    """The ledger in numbers: per destination, and the instances in the spool with their bytes."""

    destinations: Mapping[str, DestinationCounts]
    instances: int
    size: int


def micros(moment: datetime) -> int:
    """Microseconds since 1970 of an aware datetime, exactly."""
    return (moment - _EPOCH) // _MICROSECOND


def span(time: timedelta) -> int:
    """A length of time in microseconds."""
    return time // _MICROSECOND


def moment(micros: int) -> datetime:
    """The inverse of ``micros``, in UTC."""
    return _EPOCH + timedelta(microseconds=micros)


def instance_values(instance: Instance) -> Values:
    """The columns of ``instance`` in the order of ``INSTANCE_COLUMNS``."""
    origin = instance.origin
    return (
        instance.sop_instance_uid,
        instance.sop_class_uid,
        instance.transfer_syntax,
        instance.study_uid,
        instance.series_uid,
        origin.arrival.value,
        origin.calling,
        origin.called,
        origin.address,
        instance.size,
        micros(instance.received_at),
        json.dumps(dict(instance.header), separators=(",", ":")),
        instance.mislabelled,
        instance.digest,
        instance.spool_id,
    )


def instance_of(row: Row, file: Path) -> Instance:
    """An instance from ``INSTANCE_COLUMNS``."""
    uid, sop_class, syntax, study, series, arrival, calling, called, address, *rest = row
    size, received_at, header, mislabelled, digest, spool_id = rest
    return Instance(
        sop_instance_uid=uid,
        sop_class_uid=sop_class,
        transfer_syntax=syntax,
        study_uid=study,
        series_uid=series,
        origin=Origin(Arrival(arrival), calling, called, address),
        size=size,
        received_at=moment(received_at),
        header=json.loads(header),
        mislabelled=bool(mislabelled),
        digest=digest,
        spool_id=spool_id,
        file=file,
    )


def instance_at(arriving: Arriving, spool_id: int, size: int, digest: int, file: Path) -> Instance:
    """What has arrived, ``size`` bytes of it, as an instance at ``file``."""
    return Instance(
        sop_instance_uid=arriving.sop_instance_uid,
        sop_class_uid=arriving.sop_class_uid,
        transfer_syntax=arriving.transfer_syntax,
        study_uid=arriving.study_uid,
        series_uid=arriving.series_uid,
        origin=arriving.origin,
        size=size,
        received_at=arriving.received_at,
        header=arriving.header,
        mislabelled=arriving.mislabelled,
        digest=digest,
        spool_id=spool_id,
        file=file,
    )


def queue_row_of(row: Row) -> QueueRow:
    """A delivery from ``QUEUE_COLUMNS``."""
    uid, calling, syntax, mislabelled, size, received_at, destination, route, state = row[2:11]
    attempts, due_at, reason, delivered_as, decoder, warning, settled_at = row[11:]
    return QueueRow(
        delivery_id=row[0],
        spool_id=row[1],
        sop_instance_uid=uid,
        calling=calling,
        transfer_syntax=syntax,
        mislabelled=bool(mislabelled),
        size=size,
        received_at=moment(received_at),
        destination=destination,
        route=route,
        state=state,
        attempts=attempts,
        due_at=moment(due_at),
        reason=reason,
        delivered_as=delivered_as,
        decoder=decoder,
        warning=warning,
        settled_at=None if settled_at is None else moment(settled_at),
    )
