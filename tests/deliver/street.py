"""A scheduler between a fake spool and unreliable destinations, in a time that a test moves."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from gateway.deliver.policy import Destination, RoutePolicy
from gateway.deliver.scheduler import Scheduler
from gateway.derivation import Derivations
from gateway.transcode.reader import Reader
from tests.deliver.fakes import FakeSpool, FakeTime, FakeTranscoder, quiet
from tests.deliver.unreliable_sender import UnreliableSender


class Street:
    """Everything a scheduler needs; ``running`` starts one, again and again if need be."""

    def __init__(self, folder: Path) -> None:
        self.time = FakeTime()
        self.spool = FakeSpool(folder, self.time)
        self.transcoder = FakeTranscoder()
        self.policies: dict[str, RoutePolicy] = {"route": RoutePolicy()}
        self.scheduler: Any = None

    @asynccontextmanager
    async def running(
        self,
        *destinations: Destination,
        pace: Mapping[str, Any] | None = None,
        **senders: UnreliableSender,
    ) -> AsyncIterator[Scheduler]:
        """A scheduler at work on ``destinations`` and, by name, plain ones for ``senders``."""
        plain = [Destination(Reader(name), sender) for name, sender in senders.items()]
        derivations = Derivations(self.spool, self.transcoder)
        scheduler = Scheduler(
            self.spool,
            derivations,
            [*destinations, *plain],
            self.policies,
            self.time.pace(**(pace or {})),
        )
        self.scheduler = scheduler
        task = asyncio.create_task(scheduler.run())
        await quiet()
        try:
            yield scheduler
        finally:
            await self.stop(task, scheduler)
            await derivations.aclose()

    async def stop(self, task: "asyncio.Task[None]", scheduler: Scheduler) -> None:
        """Close without grace; the scheduler's own task must then have ended without error."""
        closing = asyncio.create_task(scheduler.aclose(timedelta(0)))
        await quiet()
        assert closing.done(), "aclose hangs"
        await asyncio.wait({task})
        if not task.cancelled():
            task.result()

    async def arrives(self, *destinations: str, **facts: Any) -> str:
        """An instance is kept, the scheduler is woken, and everybody acts on it."""
        uid = self.spool.keep(*destinations, **facts)
        for destination in destinations:
            self.scheduler.wake(destination)
        await quiet()
        return uid
