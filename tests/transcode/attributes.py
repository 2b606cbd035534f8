"""Whether two data sets hold the same attributes, whatever encoding they are written in."""

from collections.abc import Iterator

import numpy as np
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset

_IMAGE_PIXEL = (0x00280002, 0x00280004, 0x00280006, 0x00280100, 0x00280101, 0x00280102)
_PROVENANCE = (0x00280103, 0x00282110, 0x00282112, 0x00282114)
_PIXEL_DATA = (0x7FE00001, 0x7FE00002, 0x7FE00003, 0x7FE00010)
CHANGING = frozenset((*_IMAGE_PIXEL, *_PROVENANCE, *_PIXEL_DATA))
"""What a decoder may change: DESIGN's list for decompression."""

_WIDTHS = {
    **dict.fromkeys(("AT", "OW", "SS", "US", "US or SS", "US or OW", "OB or OW"), 2),
    **dict.fromkeys(("FL", "OF", "OL", "SL", "UL"), 4),
    **dict.fromkeys(("FD", "OD", "OV", "SV", "UV"), 8),
}


def differences(old: Dataset, new: Dataset, path: str = "") -> Iterator[str]:
    """One text per attribute that is missing, added, or has other bytes than it had."""
    tags = sorted({*old.keys(), *new.keys()})
    for tag in tags:
        if int(tag) in CHANGING or tag.element == 0 or tag.group == 0xFFFC:
            continue
        where = f"{path}{tag}"
        if tag not in new or tag not in old:
            yield f"{where} {'missing' if tag not in new else 'added'}"
            continue
        before, after = old._dict[tag], new._dict[tag]  # get_item() would interpret them
        vr = before.VR or _dictionary_vr(tag)
        raw = isinstance(before, RawDataElement) and isinstance(after, RawDataElement)
        if vr == "SQ" or not raw:
            yield from _items(old, new, tag, where)
        elif _bytes(before, vr) != _bytes(after, after.VR or vr):
            yield f"{where} {vr} has another value"


def _items(old: Dataset, new: Dataset, tag: int, where: str) -> Iterator[str]:
    before, after = old[tag], new[tag]
    if before.VR != "SQ" or after.VR != "SQ":
        if before.tag.is_private and after.VR == "UN":
            return  # a private sequence in Implicit VR: only its owner knows that it is one
        if before.value != after.value:
            yield f"{where} {before.VR} to {after.VR}"
        return
    if len(before.value) != len(after.value):
        yield f"{where} has {len(after.value)} items, had {len(before.value)}"
        return
    for index, (one, other) in enumerate(zip(before.value, after.value, strict=True)):
        yield from differences(one, other, f"{where}[{index}]")


def _dictionary_vr(tag: int) -> str:
    try:
        return dictionary_VR(tag)
    except KeyError:
        return "UN"


def _bytes(element: object, vr: str) -> bytes:
    """The value in little endian, padding apart."""
    assert isinstance(element, RawDataElement)
    value = element.value or b""
    width = _WIDTHS.get(vr, 1)
    if not element.is_little_endian and width > 1 and len(value) % width == 0:
        return np.frombuffer(value, f"u{width}").byteswap().tobytes()
    return bytes(value)
