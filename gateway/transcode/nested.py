"""Pixel Data within sequences: the Icon Image Sequence (PS3.3 C.7.6.1.1.6), private thumbnails.

It is coded as the image's is (PS3.5 A.4), so it is decoded along with it: no native transfer
syntax can hold fragments, at whatever depth.
"""

import re
from collections.abc import Iterator
from struct import pack
from typing import Any, Final

from gateway.dataset.elements import UNDEFINED, Element, elements, items
from gateway.dataset.elements import Item as DataSetItem
from gateway.dataset.heads import name
from gateway.failures import PermanentFailure
from gateway.model import Rendition
from gateway.transcode.around import data_set_part, pixel_head
from gateway.transcode.decode import DecoderFailed, Decoding, decoded_frames
from gateway.transcode.decoders import candidates
from gateway.transcode.image_pixel import PIXEL_DATA, Changes
from gateway.transcode.plan import Pixels, plan_frames
from gateway.transcode.source import Source
from gateway.transfer_syntax import BY_UID, TransferSyntax

_HEAD: Final = re.compile(rb"\xe0\x7f\x10\0(?:OB|OW|UN)\0\0\xff\xff\xff\xff")
"""Of encapsulated Pixel Data, in Explicit VR Little Endian as all of it is."""


def has_coded_pixels_within(source: Source) -> bool:
    """Whether sequences seem to hold encapsulated Pixel Data; other values rarely look like it."""
    end = source.pixels.start if source.pixels else source.end
    return any(_coded(source, source.start, end))


def _coded(source: Source, start: int, end: int) -> Iterator[int]:
    """Where heads of encapsulated Pixel Data stand in [start, end)."""
    syntax = BY_UID.get(source.meta.transfer_syntax)
    if syntax is None or not syntax.encapsulated:
        return
    for head in _HEAD.finditer(source.data, start, end):
        yield head.start()


def part_with_nested(
    source: Source, start: int, end: int, target: TransferSyntax, changes: Changes
) -> list[Any]:
    """As ``data_set_part``, and Pixel Data within sequences decoded on the way.

    Raises PermanentFailure where one cannot be decoded.
    """
    coded = list(_coded(source, start, end))
    if not coded:
        return data_set_part(source, start, end, target, changes)
    parts: list[Any] = []
    at, due = start, dict(changes)
    for element in elements(source.data, start, end, source.syntax):
        if element.vr != "SQ" or not any(element.value <= one < element.end for one in coded):
            continue
        before = {tag: due.pop(tag) for tag in list(due) if tag < element.tag}
        parts += data_set_part(source, at, element.start, target, before)
        value = b"".join(
            _item(source, item, element.tag, target)
            for item in items(source.data, element, source.syntax)
        )
        parts += [_head(target, element.tag, len(value)), value]
        at = element.end
    return parts + data_set_part(source, at, end, target, due)


def _item(source: Source, item: DataSetItem, sequence: int, target: TransferSyntax) -> bytes:
    inner = _as_source(source, item)
    if inner.pixels is None or inner.pixels.length != UNDEFINED:
        content = part_with_nested(inner, item.value, item.stop, target, {})
    else:
        try:
            pixels = plan_frames(inner, target, Rendition())
            value = _decoded(pixels)
        except PermanentFailure as failure:
            raise PermanentFailure(f"Pixel Data within {name(sequence)}: {failure}") from failure
        content = [
            *part_with_nested(inner, item.value, inner.pixels.start, target, pixels.changes),
            pixel_head(pixels.vr, pixels.length + (pixels.length & 1), target),
            *value,
            b"\0" * (pixels.length & 1),
            *part_with_nested(inner, inner.pixels.end, item.stop, target, {}),
        ]
    body = b"".join(content)
    order = "<" if target.little_endian else ">"
    return pack(f"{order}HHI", 0xFFFE, 0xE000, len(body)) + body


def _as_source(source: Source, item: DataSetItem) -> Source:
    """The item's data set as if it were an instance of its own."""
    found: dict[int, Element] = {}
    pixels = None
    for element in elements(source.data, item.value, item.stop, source.syntax):
        if element.tag == PIXEL_DATA:
            pixels = element
        found[element.tag] = element
    return Source(source.meta, source.syntax, source.data, item.value, found, pixels)


def _decoded(pixels: Pixels) -> list[bytes]:
    reasons: list[str] = []
    for backend in candidates(pixels.form):
        decoding = Decoding(pixels.form, pixels.finish, pixels.frames)
        try:
            return [bytes(frame) for frame in decoded_frames(decoding, pixels.data, backend)]
        except DecoderFailed as failure:
            reasons.append(str(failure))
    raise PermanentFailure("; ".join(reasons) or "no decoder is at hand")


def _head(target: TransferSyntax, tag: int, length: int) -> bytes:
    group, number = tag >> 16, tag & 0xFFFF
    if not target.explicit:
        return pack("<HHI", group, number, length)
    order = "<" if target.little_endian else ">"
    return pack(f"{order}HH2sHI", group, number, b"SQ", 0, length)
