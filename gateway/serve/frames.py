"""WADO-RS frames: single frames as stored or uncompressed (PS3.18 10.4, 8.7.3.3), streamed.

Stored frames are copied out of the file. An uncompressed frame of a large object is decoded
without the others and kept; of a small one the whole is decoded, since the other frames are about
to be asked for. Frames of more than one bit begin on a byte in the file; those of one bit begin
on one here, whatever stands before them.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

from aiohttp import web

from gateway.dicomweb.media_types import MULTIPART, OCTET_STREAM, MediaType, of_frames, part_type
from gateway.dicomweb.multipart import closing, new_boundary, part_head
from gateway.failures import PermanentFailure
from gateway.model import UID, Instance, NativeFrames, Passport, Rendition
from gateway.serve.addresses import INSTANCE, location, uids_of
from gateway.serve.ahead import ahead
from gateway.serve.body import Body, write
from gateway.serve.conditional import check_unchanged, headers_of, tag_of
from gateway.serve.negotiation import AS_STORED, frame_options, held_as, possible
from gateway.serve.problems import BadRequest, NotAcceptable, NotHere
from gateway.serve.serving import Serving
from gateway.serve.streaming import Opened, attended, send, soon_opened
from gateway.serve.wado_rs import accepted
from gateway.transcode.excerpt import decode_frame
from gateway.transcode.frames import Frame
from gateway.transcode.located import Located, Mislabelled, NoPixels, frame, located, located_at
from gateway.transfer_syntax import BY_UID, EXPLICIT_LE

SMALL: Final = 16 << 20
"""Native bytes up to which an object is decoded whole when one of its frames is asked for."""
SMALL_STORED: Final = 256 << 10
"""Stored bytes up to which an object is taken for small, unless the whole cannot be decoded."""
_REMEMBERED: Final = 200_000
"""Frames of which it is remembered where they stand."""


@dataclass(slots=True)
class Content:
    """One frame: the first run of its bytes, opened, and those of ``file`` that follow."""

    first: Opened
    file: Path = Path()
    rest: Frame = ()

    @property
    def size(self) -> int:
        """Its length in bytes."""
        return self.first.size + sum(size for _, size in self.rest)

    def close(self) -> None:
        """Give back what is open."""
        self.first.close()


@dataclass(frozen=True, slots=True)
class Source:
    """Where frames are taken from: a file whose frames are located, or frame by frame."""

    media_type: str
    transfer_syntax: UID
    where: Located
    file: Path | None


class Places:
    """Where the frames of files stand, for those that were looked at last."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        self._known: OrderedDict[Path, Located] = OrderedDict()
        self._frames = 0

    async def of(self, file: Path) -> Located:
        """As ``located``; files of the spool never change."""
        if file in self._known:
            self._known.move_to_end(file)
            return self._known[file]
        found = await self._serving.look(located, file)
        if file not in self._known:
            self._known[file] = found
            self._frames += 1 + len(found.spans)
        while self._frames > _REMEMBERED and len(self._known) > 1:
            self._frames -= 1 + len(self._known.popitem(last=False)[1].spans)
        return found


def routes(serving: Serving) -> list[web.RouteDef]:
    """Retrieve frames of an instance."""
    places = Places(serving)

    async def retrieve(request: web.Request) -> web.StreamResponse:
        return await _Frames(serving, places, request).answer()

    return [web.get(INSTANCE + "/frames/{frames}", retrieve)]


def numbers_of(text: str) -> list[int]:
    """The frame numbers of a path, from 1, in its order. Raises BadRequest."""
    pieces = [piece.strip() for piece in text.split(",")]
    if not all(piece.isascii() and piece.isdigit() and len(piece) < 10 for piece in pieces):
        raise BadRequest(f"{text[:80]!r} is no list of frame numbers: 1 or 1,2,3")
    numbers = [int(piece) for piece in pieces]
    if 0 in numbers:
        raise BadRequest("frames are numbered from 1")
    return numbers


class _Frames:
    """One answer."""

    def __init__(self, serving: Serving, places: Places, request: web.Request) -> None:
        self.serving, self.places, self.request = serving, places, request
        self.uids = uids_of(request)
        self.numbers = numbers_of(request.match_info["frames"])

    async def answer(self) -> web.StreamResponse:
        """The frames, or a refusal before anything is sent."""
        instance = await self._instance()
        single = len(self.numbers) == 1
        options = frame_options(accepted(self.request), held_as(instance), single)
        reasons = []
        for option in options:
            tag = tag_of([instance], option.target, str(option.multipart), *map(str, self.numbers))
            check_unchanged(self.request, tag)
            try:
                with attended(self.request):
                    source = await self._source(instance, option.target)
                    first = await self._content(instance, source, self.numbers[0])
            except (NotHere, BadRequest):
                raise
            except PermanentFailure as failure:
                reasons.append(str(failure))
                continue
            if option.multipart:
                return await self._parts(instance, source, first, tag)
            return await self._alone(source, first, tag)
        frames = possible(held_as(instance), of_frames(instance.transfer_syntax))
        raise NotAcceptable(
            f"the frames cannot be given as asked for{': ' if reasons else ''}"
            f"{'; '.join(reasons)}. Possible: {frames}; "
            f'uncompressed frames are of type="{OCTET_STREAM}"'
        )

    async def _instance(self) -> Instance:
        instance = await self.serving.holdings.instance(*self.uids)
        if instance is None:
            raise NotHere(f"no instance {self.uids[2]} is held in that series")
        return instance

    async def _source(self, instance: Instance, target: UID) -> Source:
        """Where the frames come from. Raises NotHere for one that there is not."""
        stored = instance.transfer_syntax
        syntax = BY_UID.get(stored)
        if syntax is None:
            raise PermanentFailure(f"the transfer syntax {stored} is unknown here")
        as_stored = target == AS_STORED
        if (as_stored or syntax.native) and not instance.mislabelled:
            kind, given = (of_frames(stored), stored) if as_stored else (OCTET_STREAM, target)
            try:
                return Source(kind, given, await self._checked(instance.file), instance.file)
            except Mislabelled:
                target = EXPLICIT_LE
        derivations = self.serving.derivations
        large = syntax.encapsulated and instance.size > SMALL_STORED
        large = large and derivations.ready(instance, EXPLICIT_LE) is None
        if large and (found := await self._large(instance)):
            return Source(OCTET_STREAM, target, found, None)
        try:
            derived = await derivations.derive(instance, EXPLICIT_LE, Rendition(), only_now=True)
        except PermanentFailure:
            if large or not syntax.encapsulated or not (found := await self._large(instance)):
                raise
            return Source(OCTET_STREAM, target, found, None)
        where = await self._checked(derived.file, derived.native)
        return Source(OCTET_STREAM, target, where, derived.file)

    async def _checked(self, file: Path, told: NativeFrames | None = None) -> Located:
        """Where the frames of a file stand. Raises NotHere where one is asked for that is not."""
        try:
            where = located_at(told) if told else await self.places.of(file)
        except NoPixels as failure:
            raise NotHere(f"there is no frame: {failure}") from failure
        if (most := max(self.numbers)) > where.frames:
            raise NotHere(f"there is no frame {most}: the instance has {where.frames}")
        return where

    async def _large(self, instance: Instance) -> Located | None:
        """The stored frames of an object that is better decoded frame by frame, else None."""
        try:
            where = await self._checked(instance.file)
        except NotHere:
            raise
        except PermanentFailure:
            return None  # what can be done about it, deriving the whole will show
        alone = 2 * len(set(self.numbers)) <= where.frames
        return where if alone and where.frames * where.bits > 8 * SMALL else None

    async def _content(self, instance: Instance, source: Source, number: int) -> Content:
        """One frame, opened."""
        if source.file is None:
            return await self._excerpt(instance, source, number)
        spans = source.where.run(number)
        if spans is None:
            piece = await asyncio.to_thread(frame, source.file, source.where, number)
            return Content(Opened(len(piece), piece, -1, 0))
        first, *rest = spans
        return Content(await soon_opened(source.file, *first), source.file, tuple(rest))

    async def _excerpt(self, instance: Instance, source: Source, number: int) -> Content:
        """One frame decoded by itself; where that fails, the whole is, by another decoder."""
        derivations = self.serving.derivations

        async def make(out: Path) -> Passport:
            pool, file = self.serving.pool, instance.file
            return await pool.run(decode_frame, file, EXPLICIT_LE, number, out)

        try:
            file = await derivations.excerpt(instance, f"{EXPLICIT_LE}+frame-{number}", make)
        except PermanentFailure:
            derived = await derivations.derive(instance, EXPLICIT_LE, Rendition(), only_now=True)
            where = await self.places.of(derived.file)
            return await self._content(
                instance, replace(source, where=where, file=derived.file), number
            )
        return Content(await soon_opened(file))

    async def _alone(self, source: Source, content: Content, tag: str) -> web.StreamResponse:
        headers = {"Content-Type": part_type(source.media_type, source.transfer_syntax)}
        response = Body(headers=headers | headers_of(tag))
        response.content_length = content.size
        await response.prepare(self.request)
        await self._send(response, content)
        return response

    async def _parts(
        self, instance: Instance, source: Source, first: Content, tag: str
    ) -> web.StreamResponse:
        boundary = new_boundary()
        content_type = MediaType(MULTIPART, {"type": source.media_type, "boundary": boundary})
        headers = {"Content-Type": str(content_type)} | headers_of(tag)
        response = Body(headers=headers)
        opening = part_head(boundary, self._headers(instance, source, self.numbers[0]), first=True)
        end = closing(boundary)
        if len(self.numbers) == 1:
            response.content_length = len(opening) + first.size + len(end)
            await response.prepare(self.request)
            await self._send(response, first, opening, end)
            return response
        await response.prepare(self.request)
        await self._send(response, first, opening)
        if self.request.method != "HEAD":
            await self._rest(response, instance, source, boundary)
            await write(response, end)
        return response

    async def _rest(
        self, response: Body, instance: Instance, source: Source, boundary: str
    ) -> None:
        """The frames behind the first, each made while those before it are sent."""
        make = partial(self._content, instance, source)
        rest = ahead(_each(self.numbers[1:]), make, 2 * self.serving.pool.workers, Content.close)
        with attended(self.request):
            async with aclosing(rest):
                async for number, content in rest:
                    head = part_head(boundary, self._headers(instance, source, number))
                    await self._send(response, content, head)

    def _headers(self, instance: Instance, source: Source, number: int) -> dict[str, str]:
        root = self.serving.settings.root_url
        return {
            "Content-Type": part_type(source.media_type, source.transfer_syntax),
            "Content-Location": location(root, instance, "frames", str(number)),
        }

    async def _send(
        self, response: Body, content: Content, head: bytes = b"", tail: bytes = b""
    ) -> None:
        """Write one frame; nothing where only the header was asked for."""
        try:
            if self.request.method != "HEAD":
                await send(response, content.first, head, b"" if content.rest else tail)
                for offset, size in content.rest:
                    run = await soon_opened(content.file, offset, size)
                    await send(response, run)
                if content.rest and tail:
                    await write(response, tail)
        finally:
            content.close()


async def _each(numbers: Sequence[int]) -> AsyncIterator[int]:
    for number in numbers:
        yield number
