"""Documents and videos out of stored objects, passed through by ranges (PS3.18 10.4, RFC 9110 14).

The bytes are read from the stored file as they are sent: a video is never held.
"""

import asyncio
from collections.abc import Sequence

from aiohttp import web

from gateway.dicomweb.accept import MediaRange, best_of
from gateway.model import Instance
from gateway.rendering.content import Content, document, video
from gateway.serve.body import Body
from gateway.serve.bulkdata import range_of
from gateway.serve.conditional import check_unchanged, headers_of, tag_of
from gateway.serve.problems import NotAcceptable
from gateway.serve.serving import Serving
from gateway.serve.stored_values import within
from gateway.serve.streaming import opened, send
from gateway.transfer_syntax import BY_UID

_DOCUMENTS = "1.2.840.10008.5.1.4.1.1.104."
"""The SOP classes of encapsulated documents begin so (PS3.4 B.5)."""


def is_stored_media(instance: Instance) -> bool:
    """Whether an object holds a document or a video, not frames that are rendered."""
    return _is_video(instance) or instance.sop_class_uid.startswith(_DOCUMENTS)


async def pass_through(
    serving: Serving, request: web.Request, instance: Instance, ranges: Sequence[MediaRange]
) -> web.StreamResponse:
    """The document or video of an object, whole or the range asked for.

    Raises NotAcceptable where the client takes no such media type, NothingToShow where there
    is none.
    """
    read = video if _is_video(instance) else document
    content = await serving.pool.run(read, instance.file)
    media_type = best_of(ranges, content.media_types)
    if media_type is None:
        raise NotAcceptable(
            f"the object is given as {' or '.join(content.media_types)}, as it is stored, and as "
            "nothing else"
        )
    return await _send(request, instance, content, media_type)


def _is_video(instance: Instance) -> bool:
    syntax = BY_UID.get(instance.transfer_syntax)
    return syntax is not None and syntax.video


async def _send(
    request: web.Request, instance: Instance, content: Content, media_type: str
) -> web.StreamResponse:
    tag = tag_of([instance], media_type)
    check_unchanged(request, tag)
    headers = {"Content-Type": media_type, "Accept-Ranges": "bytes", **headers_of(tag)}
    asked = None
    if request.headers.get("If-Range", f'"{tag}"') == f'"{tag}"':
        asked = range_of(request.headers.get("Range", "").replace(" ", ""), content.size)
    start, stop = asked or (0, content.size)
    if asked:
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{content.size}"
    response = Body(status=206 if asked else 200, headers=headers)
    response.content_length = stop - start
    await response.prepare(request)
    if request.method != "HEAD":
        for offset, length in within(content.spans, start, stop):
            run = await asyncio.to_thread(opened, instance.file, offset, length)
            await send(response, run)
    await response.write_eof()
    return response
