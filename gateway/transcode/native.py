"""Native Pixel Data in another byte order (PS3.5 8.1.1, 8.1.2): words are swapped, bytes not."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gateway.dataset.elements import UNDEFINED
from gateway.failures import PermanentFailure
from gateway.transcode.image_pixel import ALLOCATED, read_image_pixel
from gateway.transcode.source import Source
from gateway.transcode.words import Swapped
from gateway.transfer_syntax import BY_UID, TransferSyntax


@dataclass(frozen=True, slots=True)
class NativeBody:
    """The value of native Pixel Data on its way: ``vr`` goes out, ``swap`` is the word's width
    in bytes (0: as stored), ``stored_swap`` that of the words as stored (0: little endian).
    """

    value: memoryview
    vr: str
    swap: int
    stored_swap: int

    def parts(self) -> Sequence[Any]:
        """The value in the target's byte order."""
        return [Swapped(self.value, self.swap) if self.swap > 1 else self.value]

    def little_endian(self) -> Swapped | None:
        """The value in little endian, None where it is stored so."""
        return Swapped(self.value, self.stored_swap) if self.stored_swap > 1 else None


def native_body(source: Source, target: TransferSyntax) -> NativeBody:
    """How the value of native Pixel Data gets into the target's byte order.

    8-bit and single-bit samples go to explicit syntaxes as OB, which is never swapped, unless
    the source says OW, whose bytes are words in a big-endian data set.
    """
    element, allocated = source.pixel_data, source.values.number(ALLOCATED)
    value = memoryview(source.data)[element.value : element.value + element.length]
    words = allocated // 8 if allocated in (16, 32, 64) else 2
    width = words if allocated > 8 or element.vr == "OW" else 0
    stored_swap = 0 if source.syntax.little_endian else width
    vr = element.vr if element.vr in ("OB", "OW") else "OB" if allocated <= 8 else "OW"
    if not target.little_endian and source.syntax.little_endian:
        vr = "OB" if allocated <= 8 else "OW"
        width = 0 if allocated <= 8 else width
    changed = source.syntax.little_endian != target.little_endian
    return NativeBody(value, vr, width if changed else 0, stored_swap)


def is_native(source: Source) -> bool:
    """Whether there is Pixel Data that no codec and no fragments stand around."""
    if source.pixels is None or source.pixels.length == UNDEFINED:
        return False
    return not BY_UID[source.meta.transfer_syntax].encapsulated


def stored_value(source: Source) -> memoryview:
    """The value of native Pixel Data as it stands in the file, without its pad byte.

    Swapped words have none at their end: they count whole.
    """
    element = source.pixel_data
    value = memoryview(source.data)[element.value : element.end]
    try:
        header = read_image_pixel(source.values)
    except PermanentFailure:  # nothing is decoded: what makes no sense goes as it stands
        return value
    bits = header.rows * header.columns * header.samples * header.allocated * header.frames
    size = -(-bits // 8)
    in_order = source.syntax.little_endian or element.vr == "OB"
    return value[:size] if in_order and len(value) == size + (size & 1) else value
