"""QIDO-RS: searching for studies, series and instances (PS3.18 10.6).

Nothing found is 200 with an empty array, which every client takes. ``X-Total-Count`` says how many
match in all where that is known; where more match than are returned, a Warning says so (8.3.4.4).
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.dataset.xml_model import to_xml
from gateway.dicomweb.accept import parse_accept
from gateway.dicomweb.matching import BadQuery
from gateway.dicomweb.media_types import DICOM_XML, MULTIPART, MediaType
from gateway.dicomweb.multipart import closing, new_boundary, part_head
from gateway.dicomweb.query import Level, parse_query
from gateway.index import Answer, Asked, Index, TooBroad
from gateway.serve.addresses import MOUNTED_AT, SERIES, STUDY, uids_of
from gateway.serve.body import write
from gateway.serve.metadata import representation
from gateway.serve.problems import BadRequest, NotAcceptable, TooLarge
from gateway.serve.serving import ServeSettings
from gateway.serve.text_stream import TextStream
from gateway.serve.upstream_search import UpstreamSearch

_PATHS: Final = (
    ("/studies", Level.STUDY),
    ("/series", Level.SERIES),
    ("/instances", Level.INSTANCE),
    (f"{STUDY}/series", Level.SERIES),
    (f"{STUDY}/instances", Level.INSTANCE),
    (f"{SERIES}/instances", Level.INSTANCE),
)
_MOST_REMARKS: Final = 5


def routes(
    index: Index, settings: ServeSettings, upstream: UpstreamSearch | None = None
) -> list[web.RouteDef]:
    """Search at every level, in what is here and, where there is one, in what ``upstream`` has."""

    def at(level: Level) -> Handler:
        async def search(request: web.Request) -> web.StreamResponse:
            return await _search(index, upstream, settings, request, level)

        return search

    return [web.get(path, at(level)) for path, level in _PATHS]


async def _search(
    index: Index,
    upstream: UpstreamSearch | None,
    settings: ServeSettings,
    request: web.Request,
    level: Level,
) -> web.StreamResponse:
    media_type = _representation(request)
    asked = _asked(settings, request, level)
    try:
        if upstream is None or not upstream.servers:
            answer = await index.search(asked)
        else:
            study, series, _ = uids_of(request)
            given = list(request.query.items())
            answer = await upstream.search(asked, given, study, series)
    except TooBroad as failure:
        raise TooLarge(str(failure)) from failure
    boundary = new_boundary()
    body = _json(answer.pages) if media_type != MULTIPART else _xml(answer.pages, boundary)
    async with aclosing(answer.pages), aclosing(body):
        return await _respond(request, media_type, boundary, asked, answer, body)


def _asked(settings: ServeSettings, request: web.Request, level: Level) -> Asked:
    """Raises BadRequest for what is no query, and no UID in the path."""
    study, series, _ = uids_of(request)
    try:
        query = parse_query(request.query.items())
    except BadQuery as failure:
        raise BadRequest(str(failure)) from failure
    query = query.within(StudyInstanceUID=study, SeriesInstanceUID=series)
    base = settings.root_url.rstrip("/") + MOUNTED_AT
    return Asked(level, query, base, study=bool(study), series=bool(series))


def _representation(request: web.Request) -> str:
    ranges = parse_accept(request.headers.getall("Accept", []), request.query.get("accept"))
    media_type = representation(ranges, single=False)
    if not media_type:
        raise NotAcceptable(
            "results can be had as application/dicom+json, application/json, or "
            'multipart/related; type="application/dicom+xml"'
        )
    return media_type


async def _respond(
    request: web.Request,
    media_type: str,
    boundary: str,
    asked: Asked,
    answer: Answer,
    body: AsyncGenerator[bytes, None],
) -> web.StreamResponse:
    content_type = MediaType(media_type)
    if media_type == MULTIPART:
        content_type = MediaType(MULTIPART, {"type": DICOM_XML, "boundary": boundary})
    response = TextStream(request, {"Content-Type": str(content_type)})
    if answer.matches is not None:
        response.headers["X-Total-Count"] = str(answer.matches)
    for remark in _remarks(asked, answer):
        response.headers.add("Warning", f'299 {asked.base} "{remark}"')
    first = await anext(body)  # what fails before the first byte is still answered by its status
    await response.prepare(request)
    if request.method != "HEAD":
        await write(response, first)
        async for piece in body:
            await write(response, piece)
    return response


def _remarks(asked: Asked, answer: Answer) -> Iterator[str]:
    """The texts of Warning headers: what more there is, what was passed over."""
    if answer.more:
        following = ""
        if answer.matches is not None:
            following = f"{answer.matches - asked.query.offset - answer.results} "
        yield f"There are {following}additional results that can be requested"
    for remark in (*answer.remarks, *asked.query.remarks)[:_MOST_REMARKS]:
        yield remark.encode("ascii", "backslashreplace").decode().replace('"', "'")


async def _json(pages: AsyncIterator[list[bytes]]) -> AsyncGenerator[bytes, None]:
    begins = b"["
    async for page in pages:
        if page:
            yield begins + b",".join(page)
            begins = b","
    yield b"[]" if begins == b"[" else b"]"


async def _xml(pages: AsyncIterator[list[bytes]], boundary: str) -> AsyncGenerator[bytes, None]:
    """A part for each result (PS3.18 8.7.3.2); of nothing, the end alone."""
    head, first = {"Content-Type": DICOM_XML}, True
    async for page in pages:
        for document in await asyncio.to_thread(lambda texts: [*map(to_xml, texts)], page):
            yield part_head(boundary, head, first) + document
            first = False
    yield closing(boundary)
