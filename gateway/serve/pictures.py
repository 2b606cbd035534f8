"""Pictures of stored instances on their way to a client: made in workers, kept for a while.

A picture is a file among those derived from its instance: whoever asks for the same gets the
same, also while it is made, and it is swept away when nobody has asked for an hour.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

from aiohttp import web

from gateway import telemetry
from gateway.dicomweb.media_types import MULTIPART, MediaType
from gateway.dicomweb.multipart import closing, new_boundary, part_head
from gateway.failures import PermanentFailure
from gateway.model import Instance, Rendition
from gateway.rendering.refusals import NoSuchFrame, NothingToShow, WrongParameter
from gateway.rendering.render import Task, render
from gateway.rendering.samples import Undecoded
from gateway.rendering.view import View
from gateway.serve.ahead import ahead
from gateway.serve.body import Body, write
from gateway.serve.conditional import headers_of
from gateway.serve.serving import Serving
from gateway.serve.streaming import Opened, opened, send, while_there
from gateway.transfer_syntax import DEFLATED, EXPLICIT_LE, IMPLICIT_LE

_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class Wish:
    """What is made of an instance: ``frames`` from 1, none for the representative one or all."""

    media_type: str
    view: View
    frames: tuple[int, ...] = ()
    animated: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """A part of an answer: a picture, or the text of why there is none; ``place`` is its URL."""

    media_type: str
    body: Opened
    place: str
    failure: PermanentFailure | None = None


def refused(failure: PermanentFailure, place: str) -> Part:
    """The part of what cannot be shown, so that nobody takes the rest for the whole."""
    text = str(failure).encode()
    return Part("text/plain; charset=utf-8", Opened(len(text), text, -1, 0), place, failure)


async def made(serving: Serving, instance: Instance, wish: Wish) -> Opened:
    """The picture, opened.

    Straight from the stored file where that can be, else from the transcoded one: what fails in
    decoding single frames is left to the transcode, which knows more decoders. Raises
    WrongParameter, NothingToShow, NoSuchFrame; PermanentFailure where the pixels cannot be read,
    TemporaryFailure where files cannot.
    """
    ready = serving.derivations.ready(instance, EXPLICIT_LE)
    try:
        file = await _excerpt(serving, instance, wish, ready.file if ready else instance.file)
    except (WrongParameter, NothingToShow, NoSuchFrame):
        raise
    except PermanentFailure as failure:
        plain = instance.transfer_syntax in (EXPLICIT_LE, IMPLICIT_LE, DEFLATED)
        wrong = instance.mislabelled or isinstance(failure, Undecoded)
        if ready or (plain and not wrong):
            raise
        derived = await serving.derivations.derive(instance, EXPLICIT_LE, Rendition())
        file = await _excerpt(serving, instance, wish, derived.file)
    return await asyncio.to_thread(opened, file)


async def _excerpt(serving: Serving, instance: Instance, wish: Wish, source: Path) -> Path:
    task = Task(source, wish.media_type, wish.view, wish.frames, wish.animated)
    asked = repr((task.media_type, task.view, task.frames, task.animated))
    key = f"rendered+{sha256(asked.encode()).hexdigest()[:32]}"

    async def make(out: Path) -> None:
        await serving.pool.run(render, task, out)

    return await serving.derivations.excerpt(instance, key, make)


async def send_picture(
    request: web.Request, media_type: str, body: Opened, tag: str
) -> web.StreamResponse:
    """Answer with one picture, ``tag`` its entity tag; closes it."""
    headers = {"Content-Type": media_type, "Content-Length": str(body.size), **headers_of(tag)}
    response = Body(headers=headers)
    try:
        await response.prepare(request)
        if request.method != "HEAD":
            await send(response, body)
    finally:
        body.close()
    await response.write_eof()
    return response


async def send_parts(
    serving: Serving,
    request: web.Request,
    media_type: str,
    items: AsyncIterator[_Item],
    make: Callable[[_Item], Awaitable[Part | None]],
) -> web.StreamResponse:
    """Answer with a multipart of what ``make`` makes of the items, None for nothing.

    The status is decided when the first picture is there; where none comes, the first reason
    is raised, or NothingToShow.
    """
    window = serving.pool.workers + 1
    async with aclosing(ahead(items, make, window, _drop)) as parts:
        begun = await while_there(request, _until_a_picture(parts))
        boundary = new_boundary()
        content_type = MediaType(MULTIPART, {"type": media_type, "boundary": boundary})
        response = Body(headers={"Content-Type": str(content_type)})
        try:
            await response.prepare(request)
            if request.method == "HEAD":
                return response
            for number, part in enumerate(begun):
                await _send_part(response, boundary, part, number == 0)
        finally:
            for part in begun:
                part.body.close()
        await _send_rest(request, response, boundary, parts)
        await write(response, closing(boundary))
        await response.write_eof()
        return response


async def _until_a_picture(parts: AsyncIterator[tuple[_Item, Part | None]]) -> list[Part]:
    """The refused parts before the first picture, and the picture."""
    begun: list[Part] = []
    async for _, part in parts:
        if part is not None:
            begun.append(part)
            if part.failure is None:
                return begun
    if begun and begun[0].failure is not None:
        raise begun[0].failure
    raise NothingToShow("nothing here has a picture")


async def _send_rest(
    request: web.Request,
    response: Body,
    boundary: str,
    parts: AsyncIterator[tuple[_Item, Part | None]],
) -> None:
    while True:
        try:
            _, part = await while_there(request, anext(parts))
        except StopAsyncIteration:
            return
        if part is not None:
            await _send_part(response, boundary, part, False)


async def _send_part(response: Body, boundary: str, part: Part, first: bool) -> None:
    if part.failure is not None:
        telemetry.alarm("not rendered", resource=part.place, reason=str(part.failure))
    headers = {
        "Content-Type": part.media_type,
        "Content-Length": str(part.body.size),
        "Content-Location": part.place,
    }
    await write(response, part_head(boundary, headers, first))
    await send(response, part.body)


def _drop(part: Part | None) -> None:
    if part is not None:
        part.body.close()
