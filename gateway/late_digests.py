"""Digests of pixels that a web client waited for, taken once nobody waits for anything.

The passport stands in the ledger before, without them. It stays without where the gateway stops
meanwhile, and where the file in question is gone.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Protocol

from gateway import telemetry
from gateway.failures import TemporaryFailure
from gateway.model import Instance, Passport, Undigested

MOST: Final = 4096
"""Instances of which digests may wait."""
PAUSE: Final = 0.25
"""Seconds in which nothing was asked for before one is begun."""


async def a_moment() -> None:
    """Wait until it can be told that nothing is being asked for."""
    await asyncio.sleep(PAUSE)


class Digester(Protocol):
    """Takes digests; ``transcode.pool.TranscodePool`` does."""

    async def digests(self, source: Path, out: Path, left: Undigested) -> tuple[str, str]:
        """Of the stored frames and of what was made of them, "" for a file that is gone."""
        ...


class Ledger(Protocol):
    """Keeps passports; ``spool.Spool`` does."""

    def amend(self, instance: Instance, key: str, passport: Passport) -> None:
        """Have what is known by now of a form stand in the passport that it has."""
        ...


@dataclass(slots=True, eq=False)
class Late:
    """A form of an instance that was made, and what its digests are still to be taken of."""

    instance: Instance
    key: str
    passport: Passport
    left: Undigested
    taking: asyncio.Task[None] | None = None


class LateDigests:
    """One after another; unless somebody needs it now, none is begun while ``is_busy``, nor soon
    after it was put off.
    """

    def __init__(
        self,
        digester: Digester,
        ledger: Ledger,
        is_busy: Callable[[], bool],
        pause: Callable[[], Awaitable[None]],
    ) -> None:
        self._digester, self._ledger = digester, ledger
        self._is_busy, self._pause = is_busy, pause
        self._waiting: dict[Path, Late] = {}
        self._taking: set[asyncio.Task[None]] = set()
        self._running: asyncio.Task[None] | None = None
        self._put_off = False

    @property
    def full(self) -> bool:
        """Whether so many wait that others are to be taken at once."""
        return len(self._waiting) >= MOST

    def put_off(self) -> None:
        """Somebody asks for something: begin none for a while."""
        self._put_off = True

    def add(self, out: Path, late: Late) -> None:
        """Have those of ``out`` taken later."""
        self._waiting[out] = late
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._take_all())

    def forget(self, out: Path) -> None:
        """Those of ``out`` have been recorded with what was made of it anew."""
        self._waiting.pop(out, None)

    async def now(self, out: Path) -> None:
        """Have those of ``out`` recorded, if they wait."""
        if (late := self._waiting.get(out)) is None:
            return
        if late.taking is None:
            late.taking = asyncio.create_task(self._take(out, late))
            self._taking.add(late.taking)
            late.taking.add_done_callback(self._taking.discard)
        await asyncio.shield(late.taking)

    async def aclose(self) -> None:
        """Stop; what waits is given up."""
        running = [*self._taking, *([self._running] if self._running else [])]
        self._waiting.clear()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _take_all(self) -> None:
        while self._waiting:
            self._put_off = False
            await self._pause()
            while self._waiting and not (self._put_off or self._is_busy()):
                await self.now(next(iter(self._waiting)))

    async def _take(self, out: Path, late: Late) -> None:
        try:
            stored, native = await self._digester.digests(late.instance.file, out, late.left)
            if self._waiting.get(out) is late:
                digested = replace(late.passport, stored_digest=stored, native_digest=native)
                self._ledger.amend(late.instance, late.key, digested)
        except TemporaryFailure:  # the spool is being closed
            pass
        except Exception as error:  # noqa: BLE001 - of this one; the others are taken
            telemetry.bug("digests could not be taken", error)
        finally:
            if self._waiting.get(out) is late:
                del self._waiting[out]
