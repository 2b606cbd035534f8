"""WADO-RS metadata of a study, a series or an instance (PS3.18 10.4.1.1.2), streamed.

The metadata describe the object that the gateway serves by default, the uncompressed one: where
the stored form's attributes would not be true of uncompressed pixels (Photometric Interpretation
YBR_RCT or YBR_FULL_422, Planar Configuration, bits that contradict the codestream), they are
those that frames and instances in Explicit VR Little Endian have. Who asks for the pixels as they
are stored (``transfer-syntax=*``) decodes them into just that, since decoders undo the colour
transforms of their codestreams and interleave the samples; Available Transfer Syntax UID
(0008,3002) says how they are stored. What cannot be decoded here (video) is described as stored.

Long values and pixels are BulkDataURIs that ``bulkdata`` answers, absolute where a root URL is
configured, relative to the server otherwise. JSON is the default; XML comes as one document for
each instance.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Final

from aiohttp import web

from gateway.dataset.xml_model import to_xml
from gateway.dicomweb.accept import MediaRange, parse_accept
from gateway.dicomweb.media_types import DICOM_JSON, DICOM_XML, JSON, MULTIPART, MediaType
from gateway.dicomweb.multipart import closing, new_boundary, part_head
from gateway.model import Instance
from gateway.serve.addresses import INSTANCE, SERIES, STUDY, location, uids_of
from gateway.serve.body import write
from gateway.serve.conditional import check_unchanged, headers_of, tag_of
from gateway.serve.descriptions import Descriptions
from gateway.serve.problems import NotAcceptable, NotHere
from gateway.serve.serving import Serving
from gateway.serve.text_stream import TextStream

_FIRST: Final = 16
_BATCH: Final = 64
"""Instances that are described at once: few at first, so that the answer begins soon."""


def routes(serving: Serving) -> list[web.RouteDef]:
    """Retrieve the metadata of a study, a series, an instance."""
    descriptions = Descriptions(serving)

    async def retrieve(request: web.Request) -> web.StreamResponse:
        return await _retrieve(serving, descriptions, request)

    return [web.get(f"{path}/metadata", retrieve) for path in (STUDY, SERIES, INSTANCE)]


async def _retrieve(
    serving: Serving, descriptions: Descriptions, request: web.Request
) -> web.StreamResponse:
    uids = uids_of(request)
    accept = parse_accept(request.headers.getall("Accept", []), request.query.get("accept"))
    media_type = representation(accept, single=bool(uids[2]))
    if not media_type:
        raise NotAcceptable(
            "metadata can be had as application/dicom+json, application/json, or "
            'multipart/related; type="application/dicom+xml"'
        )
    instances = serving.holdings.instances(*uids)
    headers: dict[str, str] = {}
    one = [instance async for instance in instances] if uids[2] else []
    version = "" if uids[2] else await serving.holdings.version(*uids[:2])
    if one or version:
        tag = tag_of(one, version, media_type, serving.settings.root_url)
        check_unchanged(request, tag)
        headers = headers_of(tag)
    if uids[2]:
        instances = _each(one)
    described = _described(instances, descriptions)
    boundary = new_boundary()
    if media_type in (DICOM_JSON, JSON):
        body = _json_body(described)
    else:
        body = _xml_body(
            described, serving.settings.root_url, boundary if media_type == MULTIPART else ""
        )
    async with aclosing(described), aclosing(body):
        first = await anext(body, None)
        if first is None:
            raise NotHere(f"nothing is held of {'/'.join(filter(None, uids))}")
        content_type = MediaType(media_type)
        if media_type == MULTIPART:
            content_type = MediaType(MULTIPART, {"type": DICOM_XML, "boundary": boundary})
        response = TextStream(request, headers | {"Content-Type": str(content_type)})
        await response.prepare(request)
        if request.method != "HEAD":
            await write(response, first)
            async for piece in body:
                await write(response, piece)
    return response


def representation(ranges: Sequence[MediaRange], *, single: bool) -> str:
    """The media type of the answer that the client likes best, "" where it takes none.

    One XML document can be the body itself where a ``single`` instance is asked for. JSON is
    also given to those who ask for it in a multipart.
    """
    for wanted in ranges:
        if not wanted.q:
            continue
        for offer in (DICOM_JSON, JSON, DICOM_XML):
            if wanted.covers(offer):
                return offer if offer != DICOM_XML or single else MULTIPART
        if wanted.covers_part(DICOM_XML):
            return MULTIPART
        if wanted.covers_part(DICOM_JSON):
            return DICOM_JSON
    return ""


async def _each(instances: Sequence[Instance]) -> AsyncIterator[Instance]:
    for instance in instances:
        yield instance


async def _described(
    instances: AsyncIterator[Instance], descriptions: Descriptions
) -> AsyncGenerator[list[tuple[Instance, bytes]], None]:
    """The instances in batches, with the DICOM JSON of each."""
    batch: list[Instance] = []
    most = _FIRST
    async for instance in instances:
        batch.append(instance)
        if len(batch) == most:
            yield list(zip(batch, await descriptions.of(batch), strict=True))
            batch, most = [], _BATCH
    if batch:
        yield list(zip(batch, await descriptions.of(batch), strict=True))


async def _json_body(
    described: AsyncIterator[list[tuple[Instance, bytes]]],
) -> AsyncGenerator[bytes, None]:
    """One array of all objects; nothing where there are none."""
    begins = b"["
    async for batch in described:
        yield begins + b",".join([text for _, text in batch])
        begins = b","
    if begins == b",":
        yield b"]"


async def _xml_body(
    described: AsyncIterator[list[tuple[Instance, bytes]]], root_url: str, boundary: str
) -> AsyncGenerator[bytes, None]:
    """A part for each instance, or the document of the only one where ``boundary`` is ""."""
    first = True
    async for batch in described:
        documents = await asyncio.to_thread(_documents, [text for _, text in batch])
        for (instance, _), document in zip(batch, documents, strict=True):
            if boundary:
                headers = {
                    "Content-Type": DICOM_XML,
                    "Content-Location": location(root_url, instance, "metadata"),
                }
                yield part_head(boundary, headers, first)
            yield document
            first = False
    if boundary and not first:
        yield closing(boundary)


def _documents(objects: Sequence[bytes]) -> list[bytes]:
    return [to_xml(text) for text in objects]
