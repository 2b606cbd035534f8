"""The Icon Image Sequence (0088,0200) of an encapsulated object (PS3.3 C.7.6.1.1.6).

An icon's Pixel Data is coded as the image's is (PS3.5 A.4), so it is decoded along with it.
"""

from struct import pack
from typing import Any, Final

from gateway.dataset.elements import UNDEFINED, Element, elements, items
from gateway.dataset.elements import Item as DataSetItem
from gateway.failures import PermanentFailure
from gateway.model import Rendition
from gateway.transcode.around import data_set_part, pixel_head
from gateway.transcode.decode import DecoderFailed, Decoding, decoded_frames
from gateway.transcode.decoders import candidates
from gateway.transcode.image_pixel import PIXEL_DATA
from gateway.transcode.plan import Pixels, plan_frames
from gateway.transcode.source import Source
from gateway.transfer_syntax import TransferSyntax

ICON: Final = 0x00880200


def icon_parts(source: Source, element: Element, target: TransferSyntax) -> list[Any] | None:
    """The sequence in the target's encoding, None where no icon is encapsulated.

    Raises PermanentFailure where an icon cannot be decoded.
    """
    icons = [
        (item, _as_source(source, item)) for item in items(source.data, element, source.syntax)
    ]
    if not any(one.pixels and one.pixels.length == UNDEFINED for _, one in icons):
        return None
    value = b"".join(_item(item, one, target) for item, one in icons)
    return [_head(target, 0x0088, 0x0200, len(value)), value]


def _as_source(source: Source, item: DataSetItem) -> Source:
    """The item's data set as if it were an instance of its own."""
    found: dict[int, Element] = {}
    pixels = None
    for element in elements(source.data, item.value, item.stop, source.syntax):
        if element.tag == PIXEL_DATA:
            pixels = element
        found[element.tag] = element
    return Source(source.meta, source.syntax, source.data, item.value, found, pixels)


def _item(item: DataSetItem, icon: Source, target: TransferSyntax) -> bytes:
    if icon.pixels is None or icon.pixels.length != UNDEFINED:
        content = data_set_part(icon, item.value, item.stop, target, {})
    else:
        pixels = plan_frames(icon, target, Rendition())
        content = [
            *data_set_part(icon, item.value, icon.pixels.start, target, pixels.changes),
            pixel_head(pixels.vr, pixels.length + (pixels.length & 1), target),
            *_decoded(pixels),
            b"\0" * (pixels.length & 1),
            *data_set_part(icon, icon.pixels.end, item.stop, target, {}),
        ]
    body = b"".join(content)
    order = "<" if target.little_endian else ">"
    return pack(f"{order}HHI", 0xFFFE, 0xE000, len(body)) + body


def _decoded(pixels: Pixels) -> list[bytes]:
    reasons: list[str] = []
    for backend in candidates(pixels.form):
        decoding = Decoding(pixels.form, pixels.finish, pixels.frames)
        try:
            return [bytes(frame) for frame in decoded_frames(decoding, pixels.data, backend)]
        except DecoderFailed as failure:
            reasons.append(str(failure))
    raise PermanentFailure("the icon: " + ("; ".join(reasons) or "no decoder is at hand"))


def _head(target: TransferSyntax, group: int, number: int, length: int) -> bytes:
    if not target.explicit:
        return pack("<HHI", group, number, length)
    order = "<" if target.little_endian else ">"
    return pack(f"{order}HH2sHI", group, number, b"SQ", 0, length)
