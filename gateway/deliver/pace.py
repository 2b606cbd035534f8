"""Time and chance for the scheduler, and how far it looks ahead: all of it handed in."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

LONGEST_SLEEP = timedelta(minutes=1)


def now() -> datetime:
    """The time of day, aware, in UTC."""
    return datetime.now(UTC)


async def sleep_until(moment: datetime) -> None:
    """Wait until a time of day, or a minute: the caller looks at its clock again.

    The minute is for a clock that was set back or forth meanwhile.
    """
    await asyncio.sleep(max(min(moment - now(), LONGEST_SLEEP).total_seconds(), 0))


@dataclass(frozen=True, slots=True)
class Pace:
    """How the scheduler moves through time and work.

    ``sleep_until`` may return early. ``linger`` is how long an association is kept open for what
    may still come. ``look_ahead`` rows of a destination are held in memory; ``ahead`` instances
    beyond the one being sent are made ready, up to ``ahead_bytes`` of stored files. ``patience``
    failures in a row let a lane rest. ``mend`` is the wait before the ledger is asked again after
    it failed. ``glance`` is how long an idle lane leaves the ledger alone, since ``queue retry``
    writes it from another process and cannot wake anybody (None: for ever).
    """

    clock: Callable[[], datetime] = now
    sleep_until: Callable[[datetime], Awaitable[None]] = sleep_until
    chance: Callable[[], float] = random.random
    linger: timedelta = timedelta(seconds=2)
    look_ahead: int = 64
    ahead: int = 4
    ahead_bytes: int = 1 << 30
    patience: int = 3
    mend: timedelta = timedelta(seconds=5)
    glance: timedelta | None = timedelta(seconds=5)

    async def wait(self, event: asyncio.Event, until: datetime | None = None) -> bool:
        """Wait for the event, or until a time (or earlier); says whether the event came."""
        if until is None or event.is_set():
            return await event.wait()
        tasks = {
            asyncio.ensure_future(event.wait()),
            asyncio.ensure_future(self.sleep_until(until)),
        }
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
        return event.is_set()
