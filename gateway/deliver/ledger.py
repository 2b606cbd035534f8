"""The queue as deliveries see it."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Protocol

from gateway.model import Delivery, Order, Verdict


class Ledger(Protocol):
    """What is owed to whom; ``spool.Spool`` is one."""

    async def due(
        self,
        destination: str,
        *,
        limit: int,
        now: datetime,
        exclude: Collection[int] = (),
        order: Order | None = None,
    ) -> list[Delivery]:
        """Deliveries that are due, in their order, without those in ``exclude``."""
        ...

    async def next_due_at(
        self, destination: str, *, exclude: Collection[int] = ()
    ) -> datetime | None:
        """When the next one falls due (or fell), None where nothing else is owed."""
        ...

    async def settle(self, delivery: Delivery, verdict: Verdict) -> None:
        """Make the verdict durable."""
        ...

    async def put_off(self, deliveries: Sequence[Delivery], until: datetime) -> None:
        """Make these due later, though they were not tried."""
        ...
