"""Bulk data of an instance (PS3.18 10.4.1.1.3): the values that metadata leave out.

``/bulkdata/PATH`` is what the BulkDataURIs of ``metadata`` name; a path leads through sequences.
A value is a body of its own, or the one part of a multipart, as the client accepts; a byte range
(RFC 9110 14) is one of the value's bytes in both. It is given in little endian, text in UTF-8,
pixels uncompressed, and a video as the stream that it is.
"""

import asyncio
import re
from collections.abc import Sequence
from typing import Final

from aiohttp import web

from gateway.dataset.find import is_path
from gateway.dicomweb.accept import MediaRange, parse_accept
from gateway.dicomweb.media_types import MULTIPART, OCTET_STREAM, MediaType
from gateway.dicomweb.multipart import closing, new_boundary, part_head
from gateway.serve.addresses import INSTANCE, location, uids_of
from gateway.serve.body import Body, write
from gateway.serve.conditional import check_unchanged, headers_of, tag_of
from gateway.serve.problems import BadRequest, NotAcceptable, NotHere
from gateway.serve.serving import Serving
from gateway.serve.stored_values import Value
from gateway.serve.streaming import opened, send, while_there
from gateway.serve.values import value_of

_RANGE: Final = re.compile(r"\s*bytes\s*=\s*([0-9]{0,18})\s*-\s*([0-9]{0,18})\s*")


def routes(serving: Serving) -> list[web.RouteDef]:
    """Retrieve one bulk data value of an instance."""

    async def retrieve(request: web.Request) -> web.StreamResponse:
        return await _retrieve(serving, request)

    return [web.get(INSTANCE + "/bulkdata/{path:.+}", retrieve)]


async def _retrieve(serving: Serving, request: web.Request) -> web.StreamResponse:
    uids, path = uids_of(request), request.match_info["path"].strip("/").upper()
    if not is_path(path):
        raise BadRequest(
            f"{path[:80]!r} names no value: 7FE00010, or 54000100/1/54001010 for one in an item"
        )
    instance = await serving.holdings.instance(*uids)
    if instance is None:
        raise NotHere(f"no instance {uids[2]} is held in that series")
    accept = parse_accept(request.headers.getall("Accept", []), request.query.get("accept"))
    value = await while_there(request, value_of(serving, instance, path))
    media_type, multipart = representation(accept, value)
    tag = tag_of([instance], path, media_type, str(multipart))
    check_unchanged(request, tag)
    headers = headers_of(tag) | {"X-Content-Type-Options": "nosniff"}
    url = location(serving.settings.root_url, instance, "bulkdata", path)
    response = Body(headers=headers | {"Accept-Ranges": "bytes"})
    if (asked := _asked_range(request, value.size, tag)) is not None:
        start, stop = asked
        response.set_status(206)
        response.headers["Content-Range"] = f"bytes {start}-{stop - 1}/{value.size}"
        value = value.part(start, stop)
    if multipart:
        return await _as_part(request, response, value, media_type, url)
    response.headers["Content-Location"] = url
    response.headers["Content-Type"] = value.content_type(media_type)
    response.content_length = value.size
    await _send(request, response, value)
    return response


def representation(ranges: Sequence[MediaRange], value: Value) -> tuple[str, bool]:
    """(the media type of the value, whether it is a part of a multipart), as the client likes.

    Raises NotAcceptable.
    """
    offers = dict.fromkeys((value.media_type, OCTET_STREAM))
    for wanted in ranges:
        other = wanted.transfer_syntax not in ("", "*", value.transfer_syntax)
        if not wanted.q or (other and value.transfer_syntax):
            continue
        for offer in offers:
            if wanted.covers(offer.lower()):
                return offer, False
            if wanted.covers_part(offer.lower()):
                return offer, True
    raise NotAcceptable(
        f"the value can be had as {' or '.join(map(value.content_type, offers))}, also as the "
        "part of a multipart/related"
    )


def _asked_range(request: web.Request, size: int, tag: str) -> tuple[int, int] | None:
    """The range of the value that is asked for, unless it is another one by now."""
    if request.headers.get("If-Range", f'"{tag}"') != f'"{tag}"':
        return None
    return range_of(request.headers.get("Range", ""), size)


def range_of(text: str, size: int) -> tuple[int, int] | None:
    """[start, stop) of a Range header; None for the whole, also where several ranges are named.

    Raises HTTPRequestRangeNotSatisfiable (RFC 9110 15.5.17).
    """
    found = _RANGE.fullmatch(text)
    if found is None or found.groups() == ("", ""):
        return None
    first, last = found.groups()
    if first and last and int(last) < int(first):
        return None
    start = int(first) if first else max(size - int(last), 0)
    stop = min(int(last) + 1, size) if first and last else size
    if start >= stop:
        raise web.HTTPRequestRangeNotSatisfiable(
            headers={"Content-Range": f"bytes */{size}"},
            text=f"the value has {size} bytes: {text[:80]!r} asks for none of them",
        )
    return start, stop


async def _as_part(
    request: web.Request, response: Body, value: Value, media_type: str, url: str
) -> web.StreamResponse:
    boundary = new_boundary()
    content_type = MediaType(MULTIPART, {"type": media_type, "boundary": boundary})
    part = {
        "Content-Type": value.content_type(media_type),
        "Content-Length": str(value.size),
        "Content-Location": url,
    }
    if "Content-Range" in response.headers:
        part["Content-Range"] = response.headers["Content-Range"]
    response.headers["Content-Type"] = str(content_type)
    await _send(request, response, value, part_head(boundary, part, first=True), closing(boundary))
    return response


async def _send(
    request: web.Request,
    response: Body,
    value: Value,
    before: bytes = b"",
    after: bytes = b"",
) -> None:
    """The head and, unless only that was asked for, the value between what frames it."""
    await response.prepare(request)
    if request.method == "HEAD":
        return
    await write(response, before + value.data)
    for offset, size in value.spans:
        await send(response, await asyncio.to_thread(opened, value.file, offset, size))
    if after:
        await write(response, after)
