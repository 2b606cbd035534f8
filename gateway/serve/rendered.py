"""Rendered resources and thumbnails: pictures for people (PS3.18 10.4.1.1.3, 10.4.1.1.4).

A single frame is a picture. Of a multi-frame object a picture shows the representative frame, a
GIF moves through all frames, and a multipart has each frame as a part. Series and studies are
multiparts of their instances; those with nothing to look at are left out, and one whose pixels
cannot be read has its part say so, so that nobody takes the rest for the whole.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Iterable, Sequence
from dataclasses import replace
from itertools import chain
from typing import Final, TypeVar

from aiohttp import web

from gateway.dataset.header import read_header
from gateway.dicomweb.accept import MediaRange, best_of
from gateway.failures import PermanentFailure, TemporaryFailure
from gateway.model import UID, Instance
from gateway.rendering.encode import GIF, MEDIA_TYPES
from gateway.rendering.parameters import (
    rendered_view,
    thumbnail_view,
    wado_uri_frame,
    wado_uri_view,
)
from gateway.rendering.refusals import NoSuchFrame, NothingToShow, WrongParameter
from gateway.serve.addresses import INSTANCE, SERIES, STUDY, location, uids_of
from gateway.serve.conditional import check_unchanged, tag_of
from gateway.serve.pictures import Part, Wish, made, refused, send_parts, send_picture
from gateway.serve.problems import BadRequest, NotAcceptable, NotHere
from gateway.serve.serving import Serving
from gateway.serve.stored_media import is_stored_media, pass_through
from gateway.serve.streaming import while_there
from gateway.serve.wado_rs import accepted

_Item = TypeVar("_Item")

FRAMES: Final = INSTANCE + "/frames/{frames}"
MOST_FRAMES: Final = 10_000
"""Frames that one request can name."""
TRIES: Final = 16
"""Instances of a study that are looked at for one with a picture."""
_COUNTED: Final = 100_000
_NUMBER: Final = re.compile(r"[0-9]{1,12}")
_NO_THUMBNAIL: Final = "no picture is made of a video or a document; ask for /rendered"
_NUMBER_OF_FRAMES: Final = {0x00280008: "NumberOfFrames"}
_STORAGE: Final = "1.2.840.10008.5.1.4.1.1."
_WITHOUT_PICTURES: Final = tuple(
    _STORAGE + tail
    for tail in ("88.", "11.", "104.", "9.", "66", "67", "78.", "79.", "80.", "481.3", "481.5")
)
"""SOP classes that mostly hold no pixels; they are looked at last. (66.4 is tried late too.)"""


def routes(serving: Serving) -> list[web.RouteDef]:
    """Rendered and thumbnail of study, series, instance and frames."""

    async def rendered(request: web.Request) -> web.StreamResponse:
        return await _said(_rendered(serving, request))

    async def thumbnail(request: web.Request) -> web.StreamResponse:
        return await _said(_thumbnail(serving, request))

    return [
        web.get(f"{path}/{name}", handler)
        for path in (STUDY, SERIES, INSTANCE, FRAMES)
        for name, handler in (("rendered", rendered), ("thumbnail", thumbnail))
    ]


async def rendered_by_uri(
    serving: Serving, request: web.Request, instance: Instance, ranges: Sequence[MediaRange]
) -> web.StreamResponse:
    """The answer to a WADO-URI request for another type than application/dicom (PS3.18 9.4).

    ``ranges`` are those of ``contentType``, best first. Raises BadRequest, NotAcceptable,
    NotHere, and what reading pixels raises.
    """
    return await _said(_by_uri(serving, request, instance, ranges))


async def _said(answer: Awaitable[web.StreamResponse]) -> web.StreamResponse:
    """What ``answer`` gives; what rendering refuses, in HTTP's words."""
    try:
        return await answer
    except WrongParameter as failure:
        raise BadRequest(str(failure)) from failure
    except NothingToShow as failure:
        raise NotAcceptable(str(failure)) from failure
    except NoSuchFrame as failure:
        raise NotHere(str(failure)) from failure


async def _by_uri(
    serving: Serving, request: web.Request, instance: Instance, ranges: Sequence[MediaRange]
) -> web.StreamResponse:
    view, frame = wado_uri_view(request.query), wado_uri_frame(request.query)
    if is_stored_media(instance):
        return await pass_through(serving, request, instance, ranges)
    media_type, _ = _chosen(ranges)
    frames = () if frame is None else (frame,)
    wish = Wish(media_type, view, frames, animated=media_type == GIF and frame is None)
    return await _one(serving, request, instance, wish)


async def _rendered(serving: Serving, request: web.Request) -> web.StreamResponse:
    study, series, sop = uids_of(request)
    view, ranges = rendered_view(request.query), accepted(request)
    if not sop:
        wish = Wish(media_type := _chosen(ranges)[0], view, animated=media_type == GIF)
        return await _many(serving, request, study, series, wish)
    instance = await _instance(serving, study, series, sop)
    frames = _frames(request)
    if is_stored_media(instance):
        if frames:
            raise NotAcceptable("a video or a document has no single frames; ask without /frames")
        return await pass_through(serving, request, instance, ranges)
    media_type, multipart = _chosen(ranges)
    animated = media_type == GIF and len(frames) != 1
    wish = Wish(media_type, view, frames, animated)
    if not animated and (multipart or len(frames) > 1):
        return await _frame_by_frame(serving, request, instance, wish)
    answer = _whole if multipart else _one
    return await answer(serving, request, instance, wish)


async def _thumbnail(serving: Serving, request: web.Request) -> web.StreamResponse:
    study, series, sop = uids_of(request)
    view, ranges = thumbnail_view(request.query), accepted(request)
    media_type, multipart = _chosen(ranges)
    wish = Wish(media_type, view, _frames(request)[:1])
    if sop:
        instance = await _instance(serving, study, series, sop)
        if is_stored_media(instance):
            raise NothingToShow(_NO_THUMBNAIL)
        return await (_whole if multipart else _one)(serving, request, instance, wish)
    held = await serving.holdings.sample(study, series, TRIES)
    if not held:
        raise NotHere(_nothing(study, series))
    candidates = [each for each in representatives(held) if not is_stored_media(each)]
    return await _first_of(serving, request, candidates, wish)


def representatives(held: Sequence[Instance]) -> list[Instance]:
    """The instances that may stand for a study or series, best first.

    The middle one of each series, then those around; what mostly has no pixels comes last.
    """
    series: dict[str, list[Instance]] = {}
    for instance in held:
        series.setdefault(instance.series_uid, []).append(instance)
    orders = [_outward(each) for each in series.values()]
    middles, others = [each[0] for each in orders], chain(*(each[1:] for each in orders))
    return sorted((*middles, *others), key=_is_late)


def _is_late(instance: Instance) -> bool:
    return instance.sop_class_uid.startswith(_WITHOUT_PICTURES)


def _outward(instances: Sequence[Instance]) -> list[Instance]:
    middle = len(instances) // 2
    order = sorted(range(len(instances)), key=lambda place: abs(place - middle))
    return [instances[place] for place in order]


def _chosen(ranges: Sequence[MediaRange]) -> tuple[str, bool]:
    """(media type, whether in a multipart) by the best range that can be met.

    Raises NotAcceptable.
    """
    for wanted in ranges:
        if wanted.q and (single := best_of(ranges, MEDIA_TYPES)) and wanted.covers(single):
            return single, False
        found = [offer for offer in MEDIA_TYPES if wanted.q and wanted.covers_part(offer)]
        if found:
            return found[0], True
    raise NotAcceptable(
        f"pictures are made as {', '.join(MEDIA_TYPES)}, alone or in multipart/related; the "
        "client accepts none of them"
    )


def _frames(request: web.Request) -> tuple[int, ...]:
    """The frame numbers in the path, from 1. Raises BadRequest."""
    text = request.match_info.get("frames", "")
    if not text:
        return ()
    parts = text.split(",")
    fine = all(part.isascii() and part.isdigit() and len(part) < 11 for part in parts)
    if not fine or len(parts) > MOST_FRAMES or not all(map(int, parts)):
        raise BadRequest(
            f"the frames {text[:64]!r} are no list of up to {MOST_FRAMES} numbers from 1, "
            "separated by commas"
        )
    return tuple(map(int, parts))


async def _instance(serving: Serving, study: str, series: str, sop: str) -> Instance:
    instance = await serving.holdings.instance(study, series, sop)
    if instance is None:
        raise NotHere(f"nothing is held of instance {sop} of series {series} of study {study}")
    return instance


async def _one(
    serving: Serving, request: web.Request, instance: Instance, wish: Wish
) -> web.StreamResponse:
    tag = tag_of([instance], repr(wish))
    check_unchanged(request, tag)
    body = await while_there(request, made(serving, instance, wish))
    return await send_picture(request, wish.media_type, body, tag)


async def _first_of(
    serving: Serving, request: web.Request, candidates: Sequence[Instance], wish: Wish
) -> web.StreamResponse:
    """The picture of the first instance that has one. Raises the first one's reason."""
    tag = tag_of(candidates, repr(wish))
    check_unchanged(request, tag)
    reason: PermanentFailure | None = None
    for instance in candidates[:TRIES]:
        try:
            body = await while_there(request, made(serving, instance, wish))
        except WrongParameter:
            raise
        except PermanentFailure as failure:
            reason = reason or failure
        else:
            return await send_picture(request, wish.media_type, body, tag)
    raise reason or NothingToShow(_NO_THUMBNAIL)


async def _frame_by_frame(
    serving: Serving, request: web.Request, instance: Instance, wish: Wish
) -> web.StreamResponse:
    """A multipart of the frames named, or of all; where the first cannot be had, none is."""
    count = await asyncio.to_thread(_count, instance)
    numbers = wish.frames or range(1, count + 1)
    if max(numbers) > count:
        raise NoSuchFrame(f"frame {max(numbers)} was asked for; the object has {count}")

    async def make(number: int) -> Part:
        place = location(serving.settings.root_url, instance, "frames", str(number), "rendered")
        alone = replace(wish, frames=(number,))
        if number == numbers[0]:
            return Part(wish.media_type, await made(serving, instance, alone), place)
        return await _part(serving, instance, alone, place)

    return await send_parts(serving, request, wish.media_type, _each(numbers), make)


def _count(instance: Instance) -> int:
    """Number of Frames, 1 where it is not said. Raises TemporaryFailure, PermanentFailure."""
    try:
        header = read_header(instance.file, _NUMBER_OF_FRAMES)
    except OSError as error:
        raise TemporaryFailure(f"the stored file cannot be read: {error.strerror}") from error
    text = header.get("NumberOfFrames", "")
    count = (int(text) if _NUMBER.fullmatch(text) else 0) or 1
    if count > _COUNTED:
        raise PermanentFailure(f"Number of Frames is {count}: more than {_COUNTED} are not shown")
    return count


async def _whole(
    serving: Serving, request: web.Request, instance: Instance, wish: Wish
) -> web.StreamResponse:
    """A multipart of one picture: a client asked for it so."""

    async def make(one: Instance) -> Part:
        place = location(serving.settings.root_url, one, "rendered")
        return await _part(serving, one, wish, place)

    return await send_parts(serving, request, wish.media_type, _each((instance,)), make)


async def _many(
    serving: Serving, request: web.Request, study: UID, series: UID, wish: Wish
) -> web.StreamResponse:
    """A multipart of the instances of a study or series; those without a picture are left out."""
    held = serving.holdings.instances(study, series)
    found: list[Instance] = []

    async def counted() -> AsyncIterator[Instance]:
        async for instance in held:
            found[:] = [instance]
            yield instance

    async def make(instance: Instance) -> Part | None:
        if is_stored_media(instance):
            return None
        place = location(serving.settings.root_url, instance, "rendered")
        try:
            return await _part(serving, instance, wish, place)
        except NothingToShow:
            return None

    try:
        return await send_parts(serving, request, wish.media_type, counted(), make)
    except NothingToShow:
        if found:
            raise
        raise NotHere(_nothing(study, series)) from None


async def _part(serving: Serving, instance: Instance, wish: Wish, place: str) -> Part:
    try:
        body = await made(serving, instance, wish)
    except NothingToShow:
        raise
    except PermanentFailure as failure:
        return refused(failure, place)
    return Part(wish.media_type, body, place)


async def _each(items: Iterable[_Item]) -> AsyncIterator[_Item]:
    for item in items:
        yield item


def _nothing(study: UID, series: UID) -> str:
    return f"nothing is held of {f'series {series} of ' if series else ''}study {study}"
