"""The files of one multipart answer on their way into the spool, while it streams.

The commit of one file is not waited for before the next is read. A file that cannot be taken is
passed over; where the disk cannot take any, or one is longer than allowed, the stream is left.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final

from gateway.dicomweb.multipart import Event, PartBegins, PartData
from gateway.failures import Failure, PermanentFailure, TemporaryFailure
from gateway.incoming import IncomingFile, TooLarge
from gateway.intake import Intake
from gateway.model import UID, Instance, Origin

_AT_ONCE: Final = 64
"""Files that wait for the disk together."""
_TURNS: Final = 30
"""Turns of the event loop that the first file may need on its way to a client."""


@dataclass(frozen=True, slots=True)
class Door:
    """Where files go in, and who is told of it.

    ``wanted`` is asked by SOP Instance UID before anything is kept; ``kept`` and ``refused`` hear
    of each file's end (the UID is "" where the file does not say it). ``seen`` is shown each file
    that is complete, before it is durable.
    """

    intake: Intake
    origin: Origin
    study: UID
    max_instance: int
    routed: bool
    wanted: Callable[[UID], bool]
    kept: Callable[[Instance], None]
    refused: Callable[[UID, PermanentFailure], None]
    seen: Callable[[Instance], None] | None = None


class Taking:
    """One answer while it comes in."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._file: IncomingFile | None = None
        self._checked = False
        self._first = True
        self._failure: TemporaryFailure | None = None
        self._waiting: set[asyncio.Task[None]] = set()

    async def take(self, events: AsyncIterator[Event]) -> None:
        """Take in all files; on return those that were told as kept are durable.

        Raises what ``events`` raises, and TemporaryFailure where the spool takes nothing.
        """
        try:
            async for event in events:
                match event:
                    case PartBegins():
                        self._begin()
                    case PartData(data):
                        self._write(data)
                    case _:
                        await self._end()
        finally:
            if self._file is not None:
                self._file.abort()
            while self._waiting:
                await asyncio.wait(self._waiting)
        self._check_disk()

    def _begin(self) -> None:
        door = self._door
        self._file = IncomingFile(door.intake, door.origin, max_size=door.max_instance)
        self._checked = False

    def _write(self, data: memoryview) -> None:
        file = self._file
        if file is None:
            return
        try:
            file.write(data)
            if file.announced is not None and not self._checked:
                self._check(file, file.announced.sop_instance_uid)
        except PermanentFailure as failure:
            self._drop(file, failure)
            if isinstance(failure, TooLarge):
                raise

    async def _end(self) -> None:
        file, self._file = self._file, None
        if file is None:
            return
        try:
            announced = file.end()
            self._file = file
            if not self._checked:
                self._check(file, announced.sop_instance_uid)
        except PermanentFailure as failure:
            self._drop(file, failure)
        if self._file is not None:
            self._file = None
            task = asyncio.create_task(self._admit(file))
            self._waiting.add(task)
            task.add_done_callback(self._waiting.discard)
            await self._stand_back()
        while len(self._waiting) >= _AT_ONCE:
            await asyncio.wait(self._waiting, return_when=asyncio.FIRST_COMPLETED)
        self._check_disk()

    async def _stand_back(self) -> None:
        """Let who waits for the first file go before the next ones are read."""
        if self._first and self._door.seen is not None:
            self._first = False
            for _ in range(_TURNS):
                await asyncio.sleep(0)

    def _check(self, file: IncomingFile, uid: UID) -> None:
        """Pass over a file that nobody asked for."""
        self._checked = True
        if not self._door.wanted(uid):
            file.abort()
            self._file = None

    def _drop(self, file: IncomingFile, failure: PermanentFailure) -> None:
        file.abort()
        self._file = None
        uid = file.announced.sop_instance_uid if file.announced is not None else ""
        self._door.refused(uid, failure)

    async def _admit(self, file: IncomingFile) -> None:
        door = self._door
        try:
            kept = await file.admit(study=door.study, routed=door.routed, seen=door.seen)
            door.kept(kept)
        except PermanentFailure as failure:
            self._drop_admitted(file, failure)
        except TemporaryFailure as failure:
            self._failure = failure
        except Failure as failure:
            self._failure = TemporaryFailure(str(failure))

    def _drop_admitted(self, file: IncomingFile, failure: PermanentFailure) -> None:
        announced = file.announced
        self._door.refused(announced.sop_instance_uid if announced else "", failure)

    def _check_disk(self) -> None:
        if self._failure is not None:
            raise self._failure
