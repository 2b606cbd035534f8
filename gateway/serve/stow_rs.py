"""STOW-RS: instances in the body of a POST, each with its own outcome (PS3.18 §10.5).

What is acknowledged is durable, as after a C-STORE. Parts are written to the spool while they
arrive and kept many at a time: none waits for the sync of another. A body that cannot be
understood to its end does not take back what was kept of it; the answer says so. Metadata with
bulk data apart become instances when the body is whole (``stow_metadata``).
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import Final
from weakref import WeakValueDictionary

from aiohttp import web

from gateway import telemetry
from gateway.dataset.parse_model import InvalidMetadata
from gateway.dicomweb.media_types import DICOM, MULTIPART, MediaType, parse_media_type
from gateway.dicomweb.multipart import (
    MalformedMultipart,
    PartBegins,
    PartData,
    Reader,
    boundary_of,
)
from gateway.failures import Failure, TemporaryFailure
from gateway.incoming import IncomingFile
from gateway.model import UID, Arrival, Origin, is_uid
from gateway.serve import request_body
from gateway.serve.auth import USER
from gateway.serve.problems import BadRequest, Problem, TooLarge, UnsupportedMedia
from gateway.serve.request_body import BadBody, TooSlow, wait_to_continue
from gateway.serve.serving import Serving
from gateway.serve.store_response import Outcome, Receipt, answer
from gateway.serve.stow_metadata import METADATA, Described, MetadataParts, content_of

AT_ONCE: Final = 64
"""Instances of one request that wait for the disk together."""
BODIES: Final = 32
"""Bodies that come in at once; others wait their turn."""
OF_ONE: Final = 8
"""Bodies of one user, or token, that come in at once."""
TURN_SECONDS: Final = 30.0
TREES: Final = 2
"""Bodies of metadata that are held as trees at once: 16 MiB of JSON take up to 300 MiB so."""


class NoRoom(Problem):
    """Nothing is taken: the disk is short, or has failed."""

    status = 507


def routes(serving: Serving) -> list[web.RouteDef]:
    """``POST /studies`` and ``POST /studies/{study}``."""
    turns, trees = Turns(), asyncio.Semaphore(TREES)

    async def store(request: web.Request) -> web.StreamResponse:
        study = request.match_info.get("study", "")
        if study and not is_uid(study):
            raise BadRequest(f"{study[:80]!r} is not a Study Instance UID")
        try:
            serving.intake.check_taking()
        except TemporaryFailure as failure:
            raise NoRoom(str(failure)) from failure
        request_body.check(request, serving.settings.max_body)
        async with turns.turn(request.get(USER, "")):
            receipt = await Receiving(serving, request, study, trees).receive()
        return await asyncio.to_thread(answer, request, receipt, serving.settings.root_url)

    return [
        web.post(path, store, expect_handler=wait_to_continue)
        for path in ("/studies", "/studies/{study}")
    ]


class Turns:
    """Whose body comes in now: ``BODIES`` in all, ``OF_ONE`` of one user."""

    def __init__(self) -> None:
        self._all = asyncio.Semaphore(BODIES)
        self._of_one: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    @asynccontextmanager
    async def turn(self, user: str) -> AsyncIterator[None]:
        """While it lasts, a body of ``user`` may come in, "" standing for nobody in particular.

        Raises TemporaryFailure where no turn comes.
        """
        own = self._of_one.setdefault(user, asyncio.Semaphore(OF_ONE)) if user else None
        async with AsyncExitStack() as held:
            most = f"{OF_ONE} bodies of this user"
            try:
                async with asyncio.timeout(TURN_SECONDS):
                    if own is not None:
                        await held.enter_async_context(own)
                    most = f"{BODIES} bodies"
                    await held.enter_async_context(self._all)
            except TimeoutError:
                raise TemporaryFailure(f"{most} are coming in already: come again") from None
            yield


class Receiving:
    """One request while its body comes in."""

    def __init__(
        self, serving: Serving, request: web.Request, study: UID, trees: asyncio.Semaphore
    ) -> None:
        self._serving = serving
        self._request = request
        self._study = study
        self._trees = trees
        self._origin = Origin(Arrival.STOW_RS, address=request.remote or "")
        self._receipt = Receipt(study)
        self._waiting: set[asyncio.Task[None]] = set()

    async def receive(self) -> Receipt:
        """Keep what comes. Raises BadRequest and the like where nothing of the body was kept."""
        content = parse_media_type(self._request.headers.get("Content-Type", ""))
        try:
            await self._take(content)
        except (MalformedMultipart, TooLarge, TooSlow, BadBody) as failure:
            self._receipt.cut = failure
        finally:
            await self._settled()
        if self._receipt.cut is not None and not self._receipt.any_kept:
            raise self._receipt.cut
        return self._receipt

    async def _take(self, content: MediaType) -> None:
        part = content.parameters.get("type", DICOM).lower()
        if content.type == DICOM:
            await self._take_one()
        elif content.type == MULTIPART and part == DICOM:
            await self._take_parts(Reader(boundary_of(content)))
        elif content.type in METADATA or (content.type == MULTIPART and part in METADATA):
            await self._take_metadata(content)
        else:
            raise UnsupportedMedia(
                f"the Content-Type is {str(content)[:120] or 'missing'}: what is taken is "
                'multipart/related; type="application/dicom" (or application/dicom+json, '
                "application/dicom+xml), and each of these as the body itself"
            )

    async def _take_one(self) -> None:
        file = self._new_file()
        try:
            async for piece in self._body():
                self._write(file, piece)
        except BaseException:
            file.incoming.abort()
            raise
        self._admit(file)

    async def _take_parts(self, reader: Reader) -> None:
        file: _File | None = None
        try:
            async for piece in self._body():
                for event in reader.feed(piece):
                    if isinstance(event, PartData):
                        assert file is not None  # noqa: S101 - data stand between begin and end
                        self._write(file, event.data)
                    elif isinstance(event, PartBegins):
                        file = self._new_file()
                    elif file is not None:
                        self._admit(file)
                        file = None
                        await self._room()
            reader.close()
        finally:
            if file is not None:
                file.incoming.abort()

    async def _take_metadata(self, content: MediaType) -> None:
        """Metadata with bulk data beside them: instances are made when all of it is there."""
        scratch = self._serving.intake.scratch()
        try:
            parts = MetadataParts(scratch)
            await self._take_described(parts, content)
            async with self._trees:
                await self._make(parts)
        except InvalidMetadata as failure:
            raise BadRequest(str(failure)) from failure
        finally:
            scratch.abort()

    async def _make(self, parts: MetadataParts) -> None:
        for described in await asyncio.to_thread(parts.instances):
            file = self._new_file()
            file.said = Outcome(described.sop_class_uid, described.sop_instance_uid)
            await self._take_model(parts, described, file)
            self._admit(file)
            await self._room()

    async def _take_described(self, parts: MetadataParts, content: MediaType) -> None:
        if content.type != MULTIPART:
            parts.begin({"content-type": content.type})
            async for piece in self._body():
                parts.write(piece)
            return
        reader = Reader(boundary_of(content))
        async for piece in self._body():
            for event in reader.feed(piece):
                if isinstance(event, PartBegins):
                    parts.begin(event.headers)
                elif isinstance(event, PartData):
                    parts.write(event.data)
                else:
                    parts.end()
        reader.close()

    async def _take_model(self, parts: MetadataParts, described: Described, file: "_File") -> None:
        """Encode one instance; what is wrong with it fails this one only."""
        try:
            pieces = await asyncio.to_thread(parts.encoded, described)
        except Failure as failure:
            file.failure = failure
            return
        try:
            async with aclosing(content_of(pieces)) as content:
                async for data in content:
                    self._write(file, data)
                    if file.failure is not None:
                        return
        except Failure as failure:
            file.failure = failure
            file.incoming.abort()

    def _body(self) -> AsyncIterator[bytes]:
        settings = self._serving.settings
        return request_body.pieces(self._request, settings.max_body, settings.max_expansion)

    def _new_file(self) -> "_File":
        settings = self._serving.settings
        incoming = IncomingFile(self._serving.intake, self._origin, max_size=settings.max_instance)
        return _File(incoming)

    def _write(self, file: "_File", data: bytes | memoryview) -> None:
        """Write on, unless this file has failed: the others go on without it."""
        if file.failure is None:
            try:
                file.incoming.write(data)
            except Failure as failure:
                file.failure = failure
                file.incoming.abort()

    def _admit(self, file: "_File") -> None:
        task = asyncio.create_task(self._kept(file))
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    async def _kept(self, file: "_File") -> None:
        try:
            outcome = await self._outcome(file)
        except Failure as failure:
            outcome = file.outcome.failed(failure)
        except Exception as error:  # noqa: BLE001 - one instance does not fail the others
            telemetry.bug("an instance of a STOW-RS request was not kept", error)
            ours = TemporaryFailure("an error of the gateway: see its log")
            outcome = file.outcome.failed(ours)
        if outcome.reason:
            uid = outcome.sop_instance_uid
            telemetry.instance_refused(self._origin, uid, outcome.reason, outcome.text)
        self._receipt.outcomes.append(outcome)

    async def _outcome(self, file: "_File") -> Outcome:
        if file.failure is not None:
            raise file.failure
        return Outcome.kept(await file.incoming.admit(study=self._study))

    async def _room(self) -> None:
        """Wait while too many wait for the disk."""
        while len(self._waiting) >= AT_ONCE:
            await asyncio.wait(self._waiting, return_when=asyncio.FIRST_COMPLETED)

    async def _settled(self) -> None:
        while self._waiting:
            await asyncio.wait(self._waiting)


class _File:
    """One part on its way in, and why it is not taken."""

    __slots__ = ("failure", "incoming", "said")

    def __init__(self, incoming: IncomingFile) -> None:
        self.incoming = incoming
        self.failure: Failure | None = None
        self.said = Outcome()

    @property
    def outcome(self) -> Outcome:
        """What is known of it by its File Meta Information, or else by its metadata."""
        return Outcome.of(self.incoming.announced) if self.incoming.announced else self.said
