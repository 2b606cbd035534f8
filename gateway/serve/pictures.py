"""Pictures of stored instances on their way to a client: made in workers, sent as files.

A picture is written by a worker into the spool's folder of derived files, opened, and its name
removed at once, so that nothing of it stays whatever happens to the request.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from typing import TypeVar

from aiohttp import web

from gateway import telemetry
from gateway.dicomweb.media_types import MULTIPART, MediaType
from gateway.dicomweb.multipart import closing, new_boundary, part_head
from gateway.failures import PermanentFailure
from gateway.model import Instance, Rendition
from gateway.rendering.refusals import NoSuchFrame, NothingToShow, WrongParameter
from gateway.rendering.render import Rendered, Task, render
from gateway.rendering.view import View
from gateway.serve.serving import Serving
from gateway.serve.streaming import Opened, ahead, opened, send, while_there
from gateway.transfer_syntax import BY_UID, EXPLICIT_LE

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


async def made(serving: Serving, instance: Instance, wish: Wish) -> tuple[Opened, Rendered]:
    """The picture, its file open and without a name.

    Raises WrongParameter, NothingToShow, NoSuchFrame; PermanentFailure where the pixels cannot
    be read, TemporaryFailure where files cannot.
    """
    out = serving.derivations.beside(instance, f"rendered-{secrets.token_hex(8)}")
    task = Task(instance.file, out, wish.media_type, wish.view, wish.frames, wish.animated)
    try:
        done = await _of_stored(serving, instance, task)
        if done is None:
            derived = await serving.derivations.derive(instance, EXPLICIT_LE, Rendition())
            done = await serving.pool.run(render, replace(task, source=derived.file))
        if done is None:
            raise PermanentFailure("the transcoded object is still encapsulated")
        return await asyncio.to_thread(opened, out), done
    finally:
        with suppress(OSError):
            out.unlink(missing_ok=True)


async def _of_stored(serving: Serving, instance: Instance, task: Task) -> Rendered | None:
    """The picture straight from the stored file; None where it is to be transcoded first.

    What fails in decoding single frames is left to the transcode, which knows more decoders.
    """
    try:
        return await serving.pool.run(render, task)
    except (WrongParameter, NothingToShow, NoSuchFrame):
        raise
    except PermanentFailure:
        syntax = BY_UID.get(instance.transfer_syntax)
        if syntax is None or not syntax.encapsulated:
            raise
        return None


async def send_picture(request: web.Request, media_type: str, body: Opened) -> web.StreamResponse:
    """Answer with one picture; closes it."""
    headers = {"Content-Type": media_type, "Content-Length": str(body.size)}
    response = web.StreamResponse(headers=headers)
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
        response = web.StreamResponse(headers={"Content-Type": str(content_type)})
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
        await response.write(closing(boundary))
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
    response: web.StreamResponse,
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


async def _send_part(response: web.StreamResponse, boundary: str, part: Part, first: bool) -> None:
    if part.failure is not None:
        telemetry.alarm("not rendered", resource=part.place, reason=str(part.failure))
    headers = {
        "Content-Type": part.media_type,
        "Content-Length": str(part.body.size),
        "Content-Location": part.place,
    }
    await response.write(part_head(boundary, headers, first))
    await send(response, part.body)


def _drop(part: Part | None) -> None:
    if part is not None:
        part.body.close()
