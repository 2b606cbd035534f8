"""WADO-RS: studies, series and instances as Part 10 files (PS3.18 10.4), streamed.

An answer of several instances leaves none out. One that cannot be given in a transfer syntax that
the client asked for (video, pixels that no decoder gets through, more than 2**32 - 2 bytes
uncompressed) goes as it is stored, and its part says so: a client that cannot read it loses this
one, knows that, and gets the others. Only where nothing of the answer fits is it refused (406).
A file that can no longer be read cuts the connection, so that nobody takes a part for the whole.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from aiohttp import web

from gateway import telemetry
from gateway.derivation import Derived
from gateway.dicomweb.accept import MediaRange, parse_accept
from gateway.dicomweb.media_types import DICOM, MULTIPART, MediaType, part_type
from gateway.dicomweb.multipart import closing, new_boundary, part_head
from gateway.failures import PermanentFailure, TemporaryFailure
from gateway.model import UID, Instance, Rendition
from gateway.serve.addresses import INSTANCE, SERIES, STUDY, location, uids_of
from gateway.serve.ahead import Begun, ahead
from gateway.serve.body import Body, write
from gateway.serve.conditional import check_unchanged, headers_of, tag_of
from gateway.serve.negotiation import (
    AS_STORED,
    Held,
    Option,
    held_as,
    instance_options,
    possible,
)
from gateway.serve.problems import NotAcceptable, NotHere
from gateway.serve.serving import Serving
from gateway.serve.streaming import (
    Opened,
    attended,
    cached,
    send,
    soon_opened,
    unreadable,
    while_there,
)


@dataclass(frozen=True, slots=True)
class Form:
    """An instance's file in ``transfer_syntax``."""

    file: Path
    transfer_syntax: UID


_Ready: TypeAlias = tuple[UID, Opened]
"""The transfer syntax of a part, and its content."""


def routes(serving: Serving) -> list[web.RouteDef]:
    """Retrieve study, series, instance."""
    undecoded: set[UID] = set()

    async def retrieve(request: web.Request) -> web.StreamResponse:
        return await _retrieve(_Retrieval(serving, request, undecoded))

    return [web.get(path, retrieve) for path in (STUDY, SERIES, INSTANCE)]


def accepted(request: web.Request) -> tuple[MediaRange, ...]:
    """What the client takes, by header or query parameter."""
    return parse_accept(request.headers.getall("Accept", []), request.query.get("accept"))


async def form_of(
    serving: Serving,
    instance: Instance,
    options: Sequence[Option],
    begun: asyncio.Future[Derived] | None = None,
) -> Form:
    """The first of the options that can be had. Raises NotAcceptable, saying why none can.

    ``begun``: the first one is being derived already.
    """
    reasons = []
    for option in options:
        if option.target == AS_STORED:
            return Form(instance.file, instance.transfer_syntax)
        try:
            derived = await (begun or _begun(serving, instance, option.target))
        except PermanentFailure as failure:
            begun = None
            reasons.append(str(failure))
        else:
            return Form(derived.file, derived.transfer_syntax)
    raise NotAcceptable(
        f"instance {instance.sop_instance_uid} cannot be given as asked for"
        f"{': ' if reasons else ''}{'; '.join(reasons)}. Possible: "
        f"{possible(held_as(instance), DICOM) if not reasons else 'transfer-syntax=*'}"
    )


def _begun(serving: Serving, instance: Instance, target: UID) -> asyncio.Future[Derived]:
    return serving.derivations.begin(instance, target, Rendition(), only_now=True)


class _Retrieval:
    """One answer: what is asked for, and which instances there are.

    ``undecoded`` takes up the studies of which something was not decoded as it should have been:
    it may be the next time, so that no entity tag can stand for what is sent.
    """

    def __init__(self, serving: Serving, request: web.Request, undecoded: set[UID]) -> None:
        self.serving, self.request, self.undecoded = serving, request, undecoded
        self.uids = uids_of(request)
        self.ranges = accepted(request)
        self.source = serving.holdings.instances(*self.uids)
        self.begun: list[Instance] = []
        self._alone: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._options: dict[Held, tuple[Option, ...]] = {}
        self._made_before = True

    def options(self, instance: Instance) -> tuple[Option, ...]:
        """The ways to give one instance; only an instance alone may be the whole body."""
        held = held_as(instance)
        if held not in self._options:
            found = instance_options(self.ranges, held)
            self._options[held] = tuple(one for one in found if one.multipart or self.uids[2])
        return self._options[held]

    async def first(self) -> tuple[Option, ...]:
        """Look for an instance that can be given, and how. Raises NotHere, NotAcceptable."""
        async for instance in self.source:
            self.begun.append(instance)
            if options := self.options(instance):
                return options
        if not self.begun:
            raise NotHere(_nothing(*self.uids))
        raise NotAcceptable(
            "nothing that the client accepts can be made of what is held. Possible: "
            + possible(held_as(self.begun[0]), DICOM)
        )

    async def instances(self) -> AsyncIterator[Instance]:
        """All of them, in order."""
        seen = 0
        try:
            async for instance in self._found():
                seen += 1
                if seen > 1 and not self._alone.done():
                    self._alone.set_result(False)
                yield instance
        except Exception as error:
            if not self._alone.done():
                self._alone.set_exception(error)
                self._alone.exception()  # for who asks; it is raised here as well
            raise
        if not self._alone.done():
            self._alone.set_result(seen == 1)

    async def _found(self) -> AsyncIterator[Instance]:
        for instance in self.begun:
            yield instance
        async for instance in self.source:
            yield instance

    def ready(self, instance: Instance) -> _Ready | Begun[_Ready] | Coroutine[Any, Any, _Ready]:
        """One instance in a form that the client takes, at once where it is there already."""
        options = self.options(instance)
        if not options:
            return self._made(instance, options)
        form = self._there(instance, options[0].target)
        if form is None:
            begun = _begun(self.serving, instance, options[0].target)
            return Begun(begun, partial(self._made, instance, options, begun))
        try:
            run = cached(form.file)
        except TemporaryFailure:
            run = None  # tidied away just now: it is made anew
        if run is None:
            return self._made(instance, options)
        return form.transfer_syntax, _whole(instance, form, run)

    def _there(self, instance: Instance, target: UID) -> Form | None:
        if target == AS_STORED:
            return Form(instance.file, instance.transfer_syntax)
        if not self._made_before:
            return None  # most likely: whoever is to make it looks again
        derived = self.serving.derivations.ready(instance, target)
        self._made_before = derived is not None
        return Form(derived.file, derived.transfer_syntax) if derived else None

    async def _made(
        self,
        instance: Instance,
        options: Sequence[Option],
        begun: asyncio.Future[Derived] | None = None,
    ) -> _Ready:
        """As it can be had, or else as it is stored. Raises NotAcceptable for the only one."""
        try:
            form, run = await self._had(instance, options, begun)
        except NotAcceptable as failure:
            if instance is self.begun[0] and await self._alone:
                raise
            telemetry.alarm(
                "served as stored", instance=instance.sop_instance_uid, reason=str(failure)
            )
            form = Form(instance.file, instance.transfer_syntax)
            run = await _opened(instance, form)
        wanted = options[0].target if options else AS_STORED
        as_wanted = form.file != instance.file and form.transfer_syntax == wanted
        if wanted != AS_STORED and not as_wanted:
            self.undecoded.add(self.uids[0])
        return form.transfer_syntax, run

    async def _had(
        self,
        instance: Instance,
        options: Sequence[Option],
        begun: asyncio.Future[Derived] | None,
    ) -> tuple[Form, Opened]:
        """A form of it, made anew where its file was tidied away before its turn."""
        form = await form_of(self.serving, instance, options, begun)
        try:
            return form, await _opened(instance, form)
        except TemporaryFailure:
            if form.file == instance.file:
                raise
        form = await form_of(self.serving, instance, options)
        return form, await _opened(instance, form)


async def _opened(instance: Instance, form: Form) -> Opened:
    return _whole(instance, form, await soon_opened(form.file))


def _whole(instance: Instance, form: Form, run: Opened) -> Opened:
    """The run, if all is there. Raises TemporaryFailure."""
    try:
        _check_length(instance, form, run.size)
    except TemporaryFailure:
        run.close()
        raise
    return run


def _check_length(instance: Instance, form: Form, size: int) -> None:
    if size != instance.size and form.file == instance.file:
        raise TemporaryFailure(
            f"the stored file of {instance.sop_instance_uid} has {size} bytes, but "
            f"{instance.size} were received"
        )


async def _retrieve(retrieval: _Retrieval) -> web.StreamResponse:
    request = retrieval.request
    headers = {} if retrieval.uids[2] else await _conditional(retrieval)
    options = await retrieval.first()
    if not options[0].multipart:
        alone = [option for option in options if not option.multipart]
        return await _single(retrieval, alone)
    boundary = new_boundary()
    content_type = MediaType(MULTIPART, {"type": DICOM, "boundary": boundary})
    headers["Content-Type"] = str(content_type)
    if retrieval.uids[2] and retrieval.uids[0] not in retrieval.undecoded:
        tag = tag_of(retrieval.begun, options[0].target, "multipart")
        check_unchanged(request, tag)
        headers |= headers_of(tag)
    response = Body(headers=headers)
    if request.method == "HEAD":
        await response.prepare(request)
        return response
    await _send_parts(retrieval, response, boundary)
    await write(response, closing(boundary))
    return response


async def _conditional(retrieval: _Retrieval) -> dict[str, str]:
    """The headers by which a study or series can be asked for anew; no file is looked at.

    Raises HTTPNotModified where the client has it.
    """
    holdings, root = retrieval.serving.holdings, retrieval.serving.settings.root_url
    version = await holdings.version(*retrieval.uids[:2])
    if not version or retrieval.uids[0] in retrieval.undecoded:
        return {}
    tag = tag_of((), version, repr(retrieval.ranges), root)
    check_unchanged(retrieval.request, tag)
    return headers_of(tag)


async def _single(retrieval: _Retrieval, options: Sequence[Option]) -> web.StreamResponse:
    """An instance as the body itself."""
    instance = retrieval.begun[0]
    form = await while_there(retrieval.request, form_of(retrieval.serving, instance, options))
    return whole_body(retrieval.serving, instance, form)


def whole_body(serving: Serving, instance: Instance, form: Form) -> web.StreamResponse:
    """A file as the body: with its length, and by ranges where asked for.

    Raises TemporaryFailure where it is gone, or not as long as what was received.
    """
    try:
        size = form.file.stat().st_size
    except OSError as error:
        raise unreadable(form.file, error) from error
    _check_length(instance, form, size)
    headers = {
        "Content-Type": part_type(DICOM, form.transfer_syntax),
        "Content-Location": location(serving.settings.root_url, instance),
        "Cache-Control": "private, no-cache",
        "Vary": "Accept, Authorization",
    }
    return web.FileResponse(form.file, headers=headers)


async def _send_parts(retrieval: _Retrieval, response: Body, boundary: str) -> None:
    """The header too, once the first part is there: what cannot be given is refused in words."""
    serving, first = retrieval.serving, True
    window = 2 * serving.pool.workers + 2
    parts = ahead(retrieval.instances(), retrieval.ready, window, _drop)
    with attended(retrieval.request):
        async with aclosing(parts):
            async for instance, (syntax, content) in parts:
                headers = {
                    "Content-Type": part_type(DICOM, syntax),
                    "Content-Length": str(content.size),
                    "Content-Location": location(serving.settings.root_url, instance),
                }
                try:
                    if first:
                        await response.prepare(retrieval.request)
                    await send(response, content, part_head(boundary, headers, first))
                finally:
                    content.close()
                first = False


def _drop(made: _Ready) -> None:
    made[1].close()


def _nothing(study: UID, series: UID, instance: UID) -> str:
    what = f"instance {instance}" if instance else f"series {series}" if series else "study"
    return f"nothing is held of {what}{' of study' if series else ''} {study}"
