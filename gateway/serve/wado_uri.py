"""WADO-URI: one instance by query parameters, at /wado (PS3.18 9).

Without ``contentType`` an image of one frame is a picture, anything else application/dicom; that
is in Explicit VR Little Endian unless ``transferSyntax`` asks for another, "*" for as stored.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from aiohttp import web

from gateway.dataset.header import read_header
from gateway.dicomweb.accept import MediaRange, parse_accept
from gateway.dicomweb.media_types import ANYTHING, DICOM
from gateway.failures import TemporaryFailure
from gateway.model import UID, Instance
from gateway.serve.addresses import checked
from gateway.serve.negotiation import held_as, instance_options
from gateway.serve.problems import BadRequest, NotAcceptable, NotHere, NotSupported
from gateway.serve.serving import Serving
from gateway.serve.wado_rs import form_of, whole_body

Render = Callable[
    [Serving, web.Request, Instance, Sequence[MediaRange]], Awaitable[web.StreamResponse]
]
"""Answers with a picture of an instance, of one of the media types; raises NotAcceptable."""

_DEFAULT_PICTURE: Final = MediaRange("image/jpeg")
_FRAMES: Final = {0x00280004: "PhotometricInterpretation", 0x00280008: "NumberOfFrames"}


def routes(serving: Serving, render: Render) -> list[web.RouteDef]:
    """The one resource; its path is that of the application it is mounted as."""

    async def retrieve(request: web.Request) -> web.StreamResponse:
        return await _retrieve(serving, render, request)

    return [web.get("", retrieve), web.get("/", retrieve)]


async def _retrieve(serving: Serving, render: Render, request: web.Request) -> web.StreamResponse:
    if request.query.get("requestType", "").upper() != "WADO":
        raise BadRequest("requestType must be WADO")
    if request.query.get("anonymize"):
        raise NotSupported("anonymize: this gateway gives objects as they are")
    instance = await _instance(serving, request)
    ranges = await _wanted(request, instance)
    if ranges[0].covers(DICOM):
        return await _as_dicom(serving, request, instance)
    pictures = [wanted for wanted in ranges if not wanted.covers(DICOM)]
    try:
        return await render(serving, request, instance, pictures)
    except NotAcceptable:
        if len(pictures) == len(ranges):
            raise
        return await _as_dicom(serving, request, instance)


async def _instance(serving: Serving, request: web.Request) -> Instance:
    study, series, sop = (_uid(request, name) for name in ("studyUID", "seriesUID", "objectUID"))
    instance = await serving.holdings.instance(study, series, sop)
    if instance is None:
        raise NotHere(f"no instance {sop} of series {series} of study {study} is held")
    return instance


def _uid(request: web.Request, name: str) -> UID:
    uid = request.query.get(name, "").strip()
    if not uid:
        raise BadRequest(f"{name} is missing")
    return checked(name, uid)


async def _wanted(request: web.Request, instance: Instance) -> Sequence[MediaRange]:
    """What may be answered, best first; what is not said depends on the object (PS3.18 9.4.1)."""
    asked = request.query.get("contentType", "")
    ranges = [wanted for wanted in parse_accept((), asked) if wanted.q]
    if ranges and ranges[0].type != ANYTHING:
        return ranges
    try:
        header = await asyncio.to_thread(read_header, instance.file, _FRAMES)
    except OSError as error:
        raise TemporaryFailure(f"the stored file cannot be read: {error.strerror}") from error
    one = header.get("PhotometricInterpretation") and header.get("NumberOfFrames", "") in "1"
    return [_DEFAULT_PICTURE if one else MediaRange(DICOM)]


async def _as_dicom(
    serving: Serving, request: web.Request, instance: Instance
) -> web.StreamResponse:
    if "frameNumber" in request.query:
        raise BadRequest("frameNumber goes with pictures; application/dicom has all frames")
    wanted = MediaRange(DICOM, transfer_syntax=request.query.get("transferSyntax", "").strip())
    options = instance_options((wanted,), held_as(instance))
    return whole_body(serving, instance, await form_of(serving, instance, options))
