"""QIDO-RS: searching for studies, series and instances (PS3.18 §10.6)."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.dataset.xml_model import to_xml
from gateway.dicomweb.accept import best_of, parse_accept
from gateway.dicomweb.matching import BadQuery, Condition, Exactly
from gateway.dicomweb.media_types import DICOM_JSON, DICOM_XML, JSON, MULTIPART, MediaType
from gateway.dicomweb.multipart import closing, new_boundary, part_head
from gateway.dicomweb.query import Query, parse_query
from gateway.index import Found, Index, Level, Row
from gateway.index.attributes import (
    ALWAYS,
    AVAILABILITY,
    AVAILABLE_SYNTAX,
    KEPT,
    MODALITIES_IN_STUDY,
    RETRIEVE_URL,
    SERIES_RELATED_INSTANCES,
    SERIES_UID,
    STUDY_RELATED_INSTANCES,
    STUDY_RELATED_SERIES,
    STUDY_UID,
    level_of,
)
from gateway.serve.addresses import MOUNTED_AT, SERIES, STUDY, uids_of
from gateway.serve.problems import BadRequest, NotAcceptable
from gateway.serve.serving import ServeSettings

_PATHS: Final = (
    ("/studies", Level.STUDY),
    ("/series", Level.SERIES),
    ("/instances", Level.INSTANCE),
    (f"{STUDY}/series", Level.SERIES),
    (f"{STUDY}/instances", Level.INSTANCE),
    (f"{SERIES}/instances", Level.INSTANCE),
)
_BATCH: Final = 200
"""Rows that are written out at once."""


def routes(index: Index, settings: ServeSettings) -> list[web.RouteDef]:
    """Search at every level."""

    def at(level: Level) -> Handler:
        async def search(request: web.Request) -> web.StreamResponse:
            return await _search(index, settings, request, level)

        return search

    return [web.get(path, at(level)) for path, level in _PATHS]


async def _search(
    index: Index, settings: ServeSettings, request: web.Request, level: Level
) -> web.StreamResponse:
    study, series, _ = uids_of(request)
    media_type = _representation(request)
    try:
        query = parse_query(request.query.items())
        found = await index.search(level, _within(query, study, series))
    except BadQuery as error:
        raise BadRequest(str(error)) from error
    answers = _answers(index, settings, found, level, query, bool(study), bool(series))
    boundary = new_boundary()
    content_type = MediaType(media_type)
    if media_type == MULTIPART:
        content_type = MediaType(MULTIPART, {"type": DICOM_XML, "boundary": boundary})
    response = web.StreamResponse(headers={"Content-Type": str(content_type)})
    response.headers["X-Total-Count"] = str(found.total)
    for warning in _warnings(query, found):
        response.headers.add("Warning", f'299 dicom-gateway "{warning}"')
    if media_type != MULTIPART:
        response.enable_compression()
    await response.prepare(request)
    if request.method != "HEAD":
        body = _xml(answers, boundary) if media_type == MULTIPART else _json(answers)
        async for piece in body:
            await response.write(piece)
    return response


def _representation(request: web.Request) -> str:
    ranges = parse_accept(request.headers.getall("Accept", ()), request.query.get("accept"))
    best = best_of(ranges, (DICOM_JSON, JSON))
    if best:
        return best
    if any(each.q and each.covers_part(DICOM_XML) for each in ranges):
        return MULTIPART
    if any(each.q and each.covers_part(DICOM_JSON) for each in ranges):
        return DICOM_JSON
    raise NotAcceptable(
        "answers can be had as application/dicom+json, application/json, or "
        'multipart/related; type="application/dicom+xml"'
    )


def _within(query: Query, study: str, series: str) -> Query:
    """The query below a study or a series that the path names."""
    path = [(STUDY_UID, study), (SERIES_UID, series)]
    named = [Condition((tag,), "UI", (Exactly(uid),)) for tag, uid in path if uid]
    return Query(
        conditions=(*named, *query.conditions),
        fields=query.fields,
        all=query.all,
        limit=query.limit,
        offset=query.offset,
        fuzzy=query.fuzzy,
    )


def _warnings(query: Query, found: Found) -> Iterator[str]:
    shown = query.offset + len(found.rows)
    if shown < found.total and (query.limit is None or len(found.rows) < query.limit):
        yield f"there are {found.total - shown} more results: ask by offset"
    if query.ignored:
        names = ", ".join(name[:40] for name in query.ignored[:5])
        yield f"unknown includefield ignored: {names.encode('ascii', 'replace').decode()}"


async def _answers(
    index: Index,
    settings: ServeSettings,
    found: Found,
    level: Level,
    query: Query,
    in_study: bool,
    in_series: bool,
) -> AsyncIterator[list[bytes]]:
    """The rows as DICOM JSON objects, in batches."""
    levels = [Level.STUDY] if level is Level.STUDY or not in_study else []
    if level >= Level.SERIES and not in_series:
        levels.append(Level.SERIES)
    if level is Level.INSTANCE:
        levels.append(Level.INSTANCE)
    tags = {tag for at in levels for tag in (KEPT if query.all else ALWAYS)[at]}
    tags |= {STUDY_UID} | ({SERIES_UID} if level >= Level.SERIES else set())
    asked = {path[0] for path in query.fields}
    tags |= {tag for tag in asked if (at := level_of(tag)) is not None and at <= level}
    elsewhere = frozenset(tag for tag in asked if level_of(tag) is None) - _DERIVED
    everything = query.all and level is Level.INSTANCE
    for start in range(0, len(found.rows), _BATCH):
        rows = found.rows[start : start + _BATCH]
        headers: Sequence[Mapping[int, str]] = [{}] * len(rows)
        if elsewhere or everything:
            headers = await index.headers([row.spool_id for row in rows])
        yield [
            _object(settings.root_url, row, level, tags, header, None if everything else elsewhere)
            for row, header in zip(rows, headers, strict=True)
        ]


_DERIVED: Final = frozenset(
    (
        MODALITIES_IN_STUDY,
        STUDY_RELATED_SERIES,
        STUDY_RELATED_INSTANCES,
        SERIES_RELATED_INSTANCES,
        RETRIEVE_URL,
        AVAILABILITY,
        AVAILABLE_SYNTAX,
    )
)


def _object(
    root: str,
    row: Row,
    level: Level,
    tags: set[int],
    header: Mapping[int, str],
    elsewhere: frozenset[int] | None,
) -> bytes:
    """One result: what is kept, what is read from the header, what is derived."""
    texts = {
        tag: text
        for tag, text in header.items()
        if (elsewhere is None or tag in elsewhere) and '"BulkDataURI":""' not in text
    }
    for attributes in row.attributes:
        for line in attributes.split("\n") if attributes else ():
            tag = int(line[1:9], 16)
            if tag in tags:
                texts[tag] = line
    texts |= _derived(root, row, level)
    return ("{" + ",".join([texts[tag] for tag in sorted(texts)]) + "}").encode()


def _derived(root: str, row: Row, level: Level) -> dict[int, str]:
    url = f"{root.rstrip('/')}{MOUNTED_AT}/studies/{row.study}"
    if level >= Level.SERIES:
        url += f"/series/{row.series}"
    if level is Level.INSTANCE:
        url += f"/instances/{row.instance}"
    found = {
        AVAILABILITY: _text(AVAILABILITY, "CS", "ONLINE"),
        RETRIEVE_URL: _text(RETRIEVE_URL, "UR", url),
    }
    if level is Level.STUDY:
        modalities = '","'.join(filter(None, row.modalities.split(",")))
        found[MODALITIES_IN_STUDY] = _text(MODALITIES_IN_STUDY, "CS", modalities)
        found[STUDY_RELATED_SERIES] = _count(STUDY_RELATED_SERIES, row.study_series)
        found[STUDY_RELATED_INSTANCES] = _count(STUDY_RELATED_INSTANCES, row.study_instances)
    elif level is Level.SERIES:
        found[SERIES_RELATED_INSTANCES] = _count(SERIES_RELATED_INSTANCES, row.series_instances)
    else:
        found[AVAILABLE_SYNTAX] = _text(AVAILABLE_SYNTAX, "UI", row.transfer_syntax)
    return found


def _text(tag: int, vr: str, value: str) -> str:
    return f'"{tag:08X}":{{"vr":"{vr}"' + (f',"Value":["{value}"]}}' if value else "}")


def _count(tag: int, number: int) -> str:
    return f'"{tag:08X}":{{"vr":"IS","Value":[{number}]}}'


async def _json(answers: AsyncIterator[list[bytes]]) -> AsyncIterator[bytes]:
    begins = b"["
    async for batch in answers:
        yield begins + b",".join(batch)
        begins = b","
    yield b"]" if begins == b"," else b"[]"


async def _xml(answers: AsyncIterator[list[bytes]], boundary: str) -> AsyncIterator[bytes]:
    first = True
    async for batch in answers:
        for text in batch:
            yield part_head(boundary, {"Content-Type": DICOM_XML}, first) + to_xml(text)
            first = False
    yield closing(boundary)
