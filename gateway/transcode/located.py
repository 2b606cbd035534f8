"""Where each frame stands in a Part 10 file, so that one can be read without the others.

Encapsulated frames are their fragments as stored. Native ones are runs of bits, little endian
when they are given out; single-bit frames need not begin on a byte (PS3.5 8.1.1).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from gateway.dataset.elements import UNDEFINED, Element
from gateway.failures import PermanentFailure
from gateway.model import NativeFrames
from gateway.transcode.frames import Frame
from gateway.transcode.image_pixel import read_image_pixel
from gateway.transcode.limits import allow
from gateway.transcode.native import native_body
from gateway.transcode.source import Source, open_source, read_span
from gateway.transcode.stored_frames import fragments_of, spans_frames, stored_frames
from gateway.transcode.words import Swapped
from gateway.transfer_syntax import BY_UID, EXPLICIT_LE

_FLOAT_PIXELS: Final = (0x7FE00008, 0x7FE00009)


class NoPixels(PermanentFailure):
    """The instance has no Pixel Data of any kind."""


class Mislabelled(PermanentFailure):
    """Pixel Data is not as the transfer syntax says: uncompressed, it is what it is."""


@dataclass(frozen=True, slots=True)
class Located:
    """The frames of one file.

    ``frames`` is their number, ``bits`` the size of a native one. ``spans`` are the fragments of
    each, empty where Pixel Data is native: then its value begins at ``offset``, ``length`` bytes
    in words of ``swap`` bytes that stand the other way round (0: little endian).
    """

    frames: int
    bits: int
    spans: Sequence[Frame] = ()
    offset: int = 0
    length: int = 0
    swap: int = 0

    def run(self, number: int) -> Frame | None:
        """Where frame ``number``, from 1, can be copied from; None where ``frame`` makes it."""
        if self.spans:
            return self.spans[number - 1]
        if self.swap or self.bits % 8:
            return None
        size = self.bits // 8
        return ((self.offset + (number - 1) * size, size),)


def located_at(native: NativeFrames) -> Located:
    """Frames of which a transcode has told where they stand, little endian."""
    return Located(native.number, 8 * native.size, (), native.offset, native.number * native.size)


def located(file: Path) -> Located:
    """Look where the frames stand; not of a deflated file, in which nothing does.

    Video counts as one frame. Raises NoPixels, Mislabelled, and PermanentFailure where fragments
    or length do not fit Number of Frames. A large file is looked at in a worker.
    """
    allow(0)
    source = open_source(file, file.parent)
    element = source.pixels or _floats(source)
    header = read_image_pixel(source.values)
    bits = header.frame_bits
    stored = BY_UID[source.meta.transfer_syntax]
    framed = element.length == UNDEFINED
    if stored.video:
        fragments = fragments_of(source, element)
        return Located(1, 0, [tuple(span for span in fragments[1:] if span[1])])
    if framed is not stored.encapsulated:
        is_so = "encapsulated" if framed else "not encapsulated"
        raise Mislabelled(f"Pixel Data labelled {stored.name} is {is_so}")
    if framed:
        if spans_frames(source, header):
            raise PermanentFailure("its codestreams hold several frames each, none by itself")
        return Located(header.frames, bits, stored_frames(source, header, element))
    pixels = header.frames * header.rows * header.columns
    if header.photometric == "YBR_FULL_422" and element.length < 3 * pixels:
        bits = header.rows * header.columns * 16
    if not 0 < bits * header.frames <= 8 * element.length:
        raise PermanentFailure(
            f"Pixel Data of {element.length} bytes does not hold {header.frames} frames of "
            f"{bits} bits"
        )
    swap = native_body(source, BY_UID[EXPLICIT_LE]).swap if source.pixels else 0
    return Located(header.frames, bits, (), element.value, element.length, swap)


def _floats(source: Source) -> Element:
    """Float or Double Float Pixel Data in its place (PS3.3 C.7.6.24, C.7.6.25)."""
    for tag in _FLOAT_PIXELS:
        if tag in source.found and source.syntax.native and source.syntax.little_endian:
            return source.found[tag]
    raise NoPixels("the instance has no Pixel Data")


def frame(file: Path, where: Located, number: int) -> bytes:
    """A native frame that cannot be copied as it stands: swapped, and from a byte on.

    Raises TemporaryFailure where the file cannot be read.
    """
    bit, width = (number - 1) * where.bits, max(where.swap, 1)
    start, stop = bit // 8, -(-(bit + where.bits) // 8)
    low, high = start - start % width, min(stop + -stop % width, where.length)
    data = memoryview(read_span(file, where.offset + low, high - low))
    value: Any = Swapped(data, width) if width > 1 else data
    piece = value[start - low : stop - low]
    if where.bits % 8 == 0:
        return bytes(piece)
    bits = np.unpackbits(np.frombuffer(piece, "u1"), bitorder="little")
    return np.packbits(bits[bit % 8 : bit % 8 + where.bits], bitorder="little").tobytes()
