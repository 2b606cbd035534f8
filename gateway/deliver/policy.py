"""What the configuration says about a destination and a route, and the verdict it leads to."""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

from gateway.config.windows import Window
from gateway.deliver import backoff
from gateway.deliver.hours import opens_at
from gateway.deliver.rate import Meter
from gateway.deliver.session import Sender
from gateway.failures import Failure, PermanentFailure
from gateway.model import AS_RECEIVED, UID, Deferred, Delivery, Rejected
from gateway.tags import Change
from gateway.transcode.reader import Reader


@dataclass(frozen=True, slots=True)
class Destination:
    """A downstream node: what it can read, and how to reach it.

    ``order`` is one of ``model.ORDERS``.
    """

    reader: Reader
    sender: Sender
    max_associations: int = 1
    order: str = AS_RECEIVED

    @property
    def name(self) -> str:
        """The node's."""
        return self.reader.name


@dataclass(frozen=True, slots=True)
class RoutePolicy:
    """How a route wants its deliveries made.

    ``change`` is never, if-needed or always; ``if_undecodable`` is quarantine or reject (held
    both, in other words), or forward-as-stored (in a transfer syntax that the node reads, else
    held); ``verify`` is off, lossless or N%. ``give_up_after`` None means never. Deliveries are
    made ``during`` these windows only, () always, in ``zone`` (None: the machine's) where they
    name none; and to each destination at most at these rates, None as fast as it takes them.
    ``tags`` are what it changes in the attributes.
    """

    change: str = "if-needed"
    if_undecodable: str = "quarantine"
    retry_first: timedelta = timedelta(seconds=30)
    retry_longest: timedelta = timedelta(minutes=15)
    give_up_after: timedelta | None = None
    verify: str = "off"
    during: tuple[Window, ...] = ()
    zone: tzinfo | None = None
    objects_per_s: float | None = None
    mbit_per_s: float | None = None
    tags: tuple[Change, ...] = ()

    def verified(self, sop_instance_uid: UID) -> str:
        """What is decoded twice of this instance: "", "lossless" (if it is reversible) or "all".

        A share is drawn by the UID, so that every try and every destination decides the same.
        """
        if not self.verify.endswith("%"):
            return "" if self.verify == "off" else self.verify
        drawn = int.from_bytes(hashlib.sha256(sop_instance_uid.encode()).digest()[:8]) / 2**64
        return "all" if drawn * 100 < float(self.verify[:-1]) else ""

    def opens_at(self, now: datetime) -> datetime:
        """When the next delivery may be made: ``now`` where that is at once."""
        return opens_at(self.during, now, self.zone)

    def metered(self, meter: Meter, size: int, now: datetime, count: int = 1) -> Meter:
        """The destination's meter after ``count`` instances of ``size`` bytes were taken."""
        return meter.took(
            size,
            now,
            count=count,
            objects_per_s=self.objects_per_s,
            mbit_per_s=self.mbit_per_s,
        )

    @property
    def limited(self) -> bool:
        """Whether there is a rate."""
        return self.objects_per_s is not None or self.mbit_per_s is not None

    def rest(self, tries: int, chance: float) -> timedelta:
        """The wait after ``tries`` failures; see ``backoff.rest``."""
        return backoff.rest(self.retry_first, self.retry_longest, tries, chance)

    def verdict(
        self, delivery: Delivery, failure: Failure, now: datetime, chance: float
    ) -> Deferred | Rejected:
        """What becomes of a delivery that failed: another try, or held for a person."""
        if isinstance(failure, PermanentFailure):
            return Rejected(failure)
        age = now - delivery.instance.received_at
        if self.give_up_after is not None and age >= self.give_up_after:
            tries = delivery.attempts + 1
            text = f"given up {_words(age)} after it was received, at try {tries}: {failure}"
            return Rejected(PermanentFailure(text))
        return Deferred(failure, now + self.rest(delivery.attempts + 1, chance))


def _words(age: timedelta) -> str:
    if age >= timedelta(days=2):
        return f"{age.days} d"
    if age >= timedelta(hours=2):
        return f"{age.total_seconds() / 3600:.0f} h"
    return f"{age.total_seconds():.0f} s"
