"""Instances in the form that a destination reads, made once for all who want them.

What is made is kept in the spool under (instance, target transfer syntax, rendition, changes). Two
destinations that want the same share one transcode, also while it runs. Files are made beside
their name and renamed when they are whole, so what bears the name is complete; they are not
synced, which is why the spool empties this cache at start. They may fill the disk to half of
what intake leaves free: deliveries go on when intake stops, and a slow node cannot stop both.

An instance that was being decoded when the gateway was killed is a suspect: it begins with the
next decoder, no other suspect beside it, and after three such ends it is held.
"""

import asyncio
import os
import time
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

from gateway import telemetry
from gateway.failures import PermanentFailure
from gateway.late_digests import Digester, Late, LateDigests, Ledger, a_moment
from gateway.model import (
    UID,
    Checks,
    Instance,
    NativeFrames,
    Passport,
    Rendition,
    Undigested,
)
from gateway.tags import TagChanges

MOST_ENDS: Final = 3
"""How often the gateway may end, killed, while one form of one instance is made."""
REMEMBERED: Final = 4096
"""Derived files of which it is still known how they were made, for the ledger."""
FRAMES: Final = "single-frames"
"""The form of an instance of which frames were decoded by themselves."""
ROOM: Final = 0.5
"""The share of spool.refuse_below_free that derived files leave free."""


class Made(Protocol):
    """What a transcode says of itself."""

    @property
    def decoder(self) -> str:
        """Who decoded the pixels, "" where none were decoded."""
        ...

    @property
    def seconds(self) -> float:
        """How long it took."""
        ...

    @property
    def photometric(self) -> str:
        """The Photometric Interpretation of the result, "" where there are no pixels."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What was mended or decided on the way, and what no longer holds."""
        ...

    @property
    def native(self) -> NativeFrames | None:
        """Where the frames of the result stand, None where that has to be looked up."""
        ...

    @property
    def passport(self) -> Passport:
        """All that the ledger keeps of it."""
        ...

    @property
    def undigested(self) -> Undigested | None:
        """What its digests are still to be taken of, None where nothing is left."""
        ...


class Transcoder(Digester, Protocol):
    """Makes one Part 10 file from another; ``transcode.pool.TranscodePool`` does."""

    async def transcode(
        self,
        source: Path,
        target: UID,
        out: Path,
        rendition: Rendition = ...,
        checks: Checks = ...,
        tags: TagChanges | None = ...,
    ) -> Made:
        """Write ``source`` in the target transfer syntax to ``out``: whole, or nothing there."""
        ...


class Shelf(Ledger, Protocol):
    """Knows where derived files are kept and how they came about; ``spool.Spool`` does."""

    def derived_path(self, instance: Instance, key: str) -> Path:
        """Where the result for (instance, key) belongs; its folder exists."""
        ...

    def record(self, instance: Instance, key: str, passport: Passport) -> None:
        """Have the ledger keep how it was made."""
        ...

    async def interruptions(self, instance: Instance, key: str) -> int:
        """How often a gateway was killed while it was made."""
        ...

    def check_room(self, share: float = ...) -> None:
        """Raise TemporaryFailure when less is free than ``share`` of the watermark."""
        ...


@dataclass(frozen=True, slots=True)
class Derived:
    """A Part 10 file ready to be sent, in ``transfer_syntax``; the rest as in ``Made``.

    ``sop_instance_uid`` is "" where it is that of the instance.
    """

    file: Path
    transfer_syntax: UID
    decoder: str = ""
    notes: tuple[str, ...] = ()
    sop_instance_uid: UID = ""
    native: NativeFrames | None = None

    def instance(self, stored: Instance) -> Instance:
        """The instance as a destination gets to know it."""
        uid = self.sop_instance_uid
        return replace(stored, sop_instance_uid=uid) if uid else stored


def derived_key(
    target: UID, rendition: Rendition, verify: str = "", tags: TagChanges | None = None
) -> str:
    """The name of a form: the transfer syntax, and what else was asked for."""
    checked = f"verify-{verify}" if verify else ""
    changed = f"tags-{tags.digest}" if tags else ""
    parts = (target, rendition.color, rendition.planar, checked, changed)
    return "+".join(part for part in parts if part)


class Derivations:
    """The forms that this process made or is making."""

    def __init__(
        self,
        shelf: Shelf,
        transcoder: Transcoder,
        pause: Callable[[], Awaitable[None]] = a_moment,
    ) -> None:
        self._shelf = shelf
        self._transcoder = transcoder
        self._made: OrderedDict[str, Derived] = OrderedDict()
        self._running: dict[str, asyncio.Task[Derived]] = {}
        self._waiting: Counter[asyncio.Task[Derived]] = Counter()
        self._framed: OrderedDict[int, None] = OrderedDict()
        self._one_suspect = asyncio.Lock()
        self._late = LateDigests(transcoder, shelf, lambda: bool(self._running), pause)

    async def derive(
        self,
        instance: Instance,
        target: UID,
        rendition: Rendition,
        verify: str = "",
        *,
        only_now: bool = False,
        tags: TagChanges | None = None,
    ) -> Derived:
        """The instance in that form; whoever stops waiting for it does not stop the others.

        ``verify`` as in ``Checks``; ``tags`` are changes of attributes, with which ``target`` may
        also be the syntax as stored. What is wanted ``only_now`` is not made on where everybody
        has stopped waiting for it, and its digests are recorded later. Raises what the transcoder
        raises: PermanentFailure where the pixels cannot be decoded, and where the gateway ended
        too often over it; TemporaryFailure where the disk has no room for it.
        """
        derived = await self.begin(
            instance, target, rendition, verify, only_now=only_now, tags=tags
        )
        if not only_now:
            await self._late.now(derived.file)
        return derived

    def begin(
        self,
        instance: Instance,
        target: UID,
        rendition: Rendition,
        verify: str = "",
        *,
        only_now: bool = False,
        tags: TagChanges | None = None,
    ) -> asyncio.Future[Derived]:
        """As ``derive``, to be awaited later; digests may be recorded later than the end of it.

        Who cancels the future has stopped waiting.
        """
        key = derived_key(target, rendition, verify, tags)
        out = self._shelf.derived_path(instance, key)

        def make() -> Coroutine[Any, Any, Derived]:
            later = only_now and not self._late.full
            return self._make(instance, target, rendition, verify, key, out, tags, later)

        return self._once(out, target, make, only_now)

    def ready(self, instance: Instance, target: UID) -> Derived | None:
        """The instance in that form where it was made before; it counts as used."""
        out = self._shelf.derived_path(instance, derived_key(target, Rendition()))
        return None if os.fspath(out) in self._running else self._there(out, target)

    async def excerpt(
        self, instance: Instance, key: str, make: Callable[[Path], Awaitable[Passport | None]]
    ) -> Path:
        """A file of something less than the instance, such as one frame, named by ``key``.

        ``make`` writes it, whole or not at all, and tells how a frame was decoded: of the first
        one of an instance that is recorded, since the others are decoded alike. Shared and kept
        like all that is derived. Raises what ``make`` raises, and as ``derive``.
        """
        out = self._shelf.derived_path(instance, key)
        return (await self._once(out, "", lambda: self._excerpt(instance, key, make, out))).file

    def _once(
        self,
        out: Path,
        target: UID,
        make: Callable[[], Coroutine[Any, Any, Derived]],
        only_now: bool = False,
    ) -> asyncio.Future[Derived]:
        """What stands at ``out``, made by ``make`` unless it is there or being made."""
        running = self._running.get(os.fspath(out))
        if running is None and (there := self._there(out, target)) is not None:
            known = asyncio.get_running_loop().create_future()
            known.set_result(there)
            return known
        if running is None:
            running = self._run(out, make())
        elif running.cancelling():
            running = self._run(out, self._after(running, out, target, make))
        waiting = asyncio.shield(running)
        self._waiting[running] += 1
        waiting.add_done_callback(partial(self._stopped_waiting, running, only_now))
        return waiting

    def _there(self, out: Path, target: UID) -> Derived | None:
        self._late.put_off()
        there = _is_there(out)
        return self._made.get(os.fspath(out), Derived(out, target)) if there else None

    def _run(self, out: Path, making: Coroutine[Any, Any, Derived]) -> asyncio.Task[Derived]:
        self._running[os.fspath(out)] = running = asyncio.create_task(making)
        running.add_done_callback(partial(self._done, os.fspath(out)))
        return running

    async def _after(
        self,
        before: asyncio.Task[Derived],
        out: Path,
        target: UID,
        make: Callable[[], Coroutine[Any, Any, Derived]],
    ) -> Derived:
        """As ``make``, once what is being cancelled ended: a worker may still be at its file."""
        try:
            await asyncio.wait((before,))
        except asyncio.CancelledError:
            await asyncio.wait((before,))
            raise
        return self._there(out, target) or await make()

    def _stopped_waiting(
        self, running: asyncio.Task[Derived], only_now: bool, _: asyncio.Future[Derived]
    ) -> None:
        self._waiting[running] -= 1
        if not self._waiting[running]:
            del self._waiting[running]
            if only_now:
                running.cancel()

    async def _excerpt(
        self,
        instance: Instance,
        key: str,
        make: Callable[[Path], Awaitable[Passport | None]],
        out: Path,
    ) -> Derived:
        self._shelf.check_room(ROOM)
        ends = await self._shelf.interruptions(instance, key)
        _check_ends(ends)
        async with self._one_suspect if ends else nullcontext():
            passport = await make(out)
        if passport is not None:
            self._note_frame(instance, passport)
        return Derived(out, "")

    def _note_frame(self, instance: Instance, passport: Passport) -> None:
        """A frame was decoded by itself: one row and one line for people tell of all of them."""
        first = instance.spool_id not in self._framed
        self._framed[instance.spool_id] = None
        if len(self._framed) > REMEMBERED:
            self._framed.popitem(last=False)
        if first:
            self._shelf.record(instance, f"{passport.target}+{FRAMES}", passport)
        telemetry.transcoded(
            instance.sop_instance_uid,
            instance.transfer_syntax,
            passport.target,
            passport.decoder,
            passport.seconds,
            notes=passport.notes if first else (),
        )

    async def aclose(self) -> None:
        """Stop what is still being made, and what is found out of what was."""
        running = list(self._running.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await self._late.aclose()

    async def _make(
        self,
        instance: Instance,
        target: UID,
        rendition: Rendition,
        verify: str,
        key: str,
        out: Path,
        tags: TagChanges | None,
        later: bool,
    ) -> Derived:
        self._shelf.check_room(ROOM)
        ends = await self._shelf.interruptions(instance, key)
        _check_ends(ends)
        checks = Checks(verify=verify, digests=True, later=later, skip=ends)
        work = self._transcoder.transcode
        async with self._one_suspect if ends else nullcontext():
            made = await work(instance.file, target, out, rendition, checks, tags)
        passport = made.passport
        self._shelf.record(instance, key, passport)
        if (left := made.undigested) is not None:
            self._late.add(out, Late(instance, key, passport, left))
        else:
            self._late.forget(out)
        verified = passport.verification
        telemetry.transcoded(
            instance.sop_instance_uid,
            instance.transfer_syntax,
            target,
            made.decoder,
            made.seconds,
            made.photometric,
            made.notes,
            verified is not None and verified.state == "one lineage",
        )
        return Derived(out, target, made.decoder, made.notes, native=made.native)

    def _done(self, out: str, task: asyncio.Task[Derived]) -> None:
        if self._running.get(out) is task:
            del self._running[out]
        if task.cancelled() or task.exception() is not None:
            return
        self._made[out] = task.result()
        while len(self._made) > REMEMBERED:
            self._made.popitem(last=False)


def _check_ends(ends: int) -> None:
    if ends >= MOST_ENDS:
        raise PermanentFailure(
            f"{ends} times the gateway ended while this instance was being decoded: "
            "it is not decoded again unless somebody retries it"
        )


def _is_there(file: Path) -> bool:
    """Whether it was made; from now on it counts as used, so that tidying leaves it.

    Its time of change stays: web clients tell by it that they have it already.
    """
    try:
        os.utime(file, ns=(time.time_ns(), file.stat().st_mtime_ns))
    except OSError:
        return False
    return True
