"""How many instances and bits a second a destination is sent at most: token buckets.

A bucket holds what one second brings, so that a late timer costs nothing. An instance is never
cut up: one that costs more than there is goes all the same, and those behind it wait until it is
paid for. So a rate holds on average, and a single large instance goes at the line's own speed.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

DEPTH = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Bucket:
    """What was taken so far, as the time at which it is paid for.

    ``taken_at`` is when it was last taken from, so that a clock set back cannot shut it.
    """

    paid_at: datetime | None = None
    taken_at: datetime | None = None

    def free_at(self, now: datetime) -> datetime:
        """When something may be taken: ``now`` where that is at once."""
        if self.paid_at is None or self.taken_at is None or now < self.taken_at:
            return now
        return max(self.paid_at, now)

    def took(self, amount: float, per_second: float | None, now: datetime) -> "Bucket":
        """Something was taken; without a rate it costs nothing."""
        if per_second is None:
            return self
        paid = now - DEPTH
        if self.paid_at is not None and self.free_at(now) == max(self.paid_at, now):
            paid = max(self.paid_at, paid)
        return Bucket(paid + timedelta(seconds=amount / per_second), now)


@dataclass(frozen=True, slots=True)
class Meter:
    """The two buckets of a destination: instances and bits."""

    objects: Bucket = Bucket()
    bits: Bucket = Bucket()

    def free_at(self, now: datetime) -> datetime:
        """When the next instance may go."""
        return max(self.objects.free_at(now), self.bits.free_at(now))

    def took(
        self,
        size: int,
        now: datetime,
        *,
        count: int = 1,
        objects_per_s: float | None,
        mbit_per_s: float | None,
    ) -> "Meter":
        """``count`` instances of ``size`` bytes in all were taken."""
        bits_per_s = None if mbit_per_s is None else mbit_per_s * 1e6
        return Meter(
            self.objects.took(count, objects_per_s, now),
            self.bits.took(size * 8, bits_per_s, now),
        )
