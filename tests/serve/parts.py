"""What a client makes of a multipart answer."""

import aiohttp

from gateway.dicomweb.media_types import parse_media_type
from gateway.dicomweb.multipart import PartBegins, PartData, Reader, boundary_of

Parts = list[tuple[dict[str, str], bytes]]


async def parts_of(answer: aiohttp.ClientResponse) -> Parts:
    """Header and content of each part. Raises MalformedMultipart where the body is cut."""
    reader = Reader(boundary_of(parse_media_type(answer.headers["Content-Type"])))
    found: list[tuple[dict[str, str], bytearray]] = []
    async for piece in answer.content.iter_any():
        for event in reader.feed(piece):
            if isinstance(event, PartBegins):
                found.append((dict(event.headers), bytearray()))
            elif isinstance(event, PartData):
                found[-1][1].extend(event.data)
    reader.close()
    return [(headers, bytes(content)) for headers, content in found]
