"""Native Pixel Data in another byte order (PS3.5 8.1.1, 8.1.2): words are swapped, bytes not."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from gateway.transcode.image_pixel import read_image_pixel
from gateway.transcode.source import Source
from gateway.transfer_syntax import TransferSyntax

_CHUNK = 1 << 22


@dataclass(frozen=True, slots=True)
class NativeBody:
    """The value of native Pixel Data on its way: ``vr`` goes out, ``swap`` is the word's width
    in bytes (0: as stored), ``unit`` the width of the words as stored.
    """

    value: memoryview
    vr: str
    swap: int
    stored_swap: int

    def parts(self) -> Iterator[Any]:
        """The value in the target's byte order, in pieces."""
        return self._swapped(self.swap)

    def little_endian(self) -> Any:
        """The whole value in little endian."""
        return b"".join(self._swapped(self.stored_swap)) if self.stored_swap else self.value

    def _swapped(self, width: int) -> Iterator[Any]:
        if width < 2:
            yield self.value
            return
        whole = len(self.value) // width * width
        for start in range(0, whole, _CHUNK):
            piece = self.value[start : min(start + _CHUNK, whole)]
            yield np.frombuffer(piece, f"u{width}").byteswap().data
        yield self.value[whole:]


def native_body(source: Source, target: TransferSyntax) -> NativeBody:
    """How the value of native Pixel Data gets into the target's byte order.

    8-bit and single-bit samples go to explicit syntaxes as OB, which is never swapped, unless
    the source says OW, whose bytes are words in a big-endian data set.
    """
    element, allocated = source.pixel_data, read_image_pixel(source.values).allocated
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
