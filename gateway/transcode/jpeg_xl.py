"""What a JPEG XL stream says of itself: size, depth, colours (ISO/IEC 18181-1 D.2, 18181-2).

Only the headers are read: bits, least significant first, of the bare codestream or of the first
codestream box in a container. XYB and VarDCT are lossy. What is neither may be lossless: modular
mode can quantise too, which only its entropy coded trees tell.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from struct import unpack_from
from typing import Any, Final, NoReturn

from gateway.failures import PermanentFailure

CODESTREAM: Final = b"\xff\x0a"
CONTAINER: Final = b"\x00\x00\x00\x0cJXL \r\n\x87\n"
STARTS: Final = (CODESTREAM, CONTAINER)
_MAX_BOXES: Final = 1_000
_RATIOS: Final = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
_SIZES: Final = ((1, 9), (1, 13), (1, 18), (1, 30))
_COLOUR_CODES: Final = ((0, 0), (1, 0), (2, 4), (18, 6))
_XY: Final = ((0, 19), (524_288, 19), (1_048_576, 20), (2_097_152, 21))
_WITHIN: Final = 1 << 11
"""Bytes in which the headers stand, but for what has an ICC profile in front."""
_GREY, _XYB, _CUSTOM = 1, 2, 2
_WEIGHTS: Final = (15, 55, 210)
"""Numbers of 16 bits in the upsampling filters that a stream may bring along."""


@dataclass(frozen=True, slots=True)
class Head:
    """The declarations: ``xyb`` that the colours are transformed (a lossy coding),
    ``recompressed`` that a JPEG file was packed losslessly, ``ycc`` that YCbCr is undone by the
    decoder. ``modular`` is the coding of the first frame, None where that cannot be read: behind
    an ICC profile, or where a frame for reference stands first.
    """

    rows: int
    columns: int
    components: int
    precision: int
    xyb: bool
    recompressed: bool
    modular: bool | None = None
    ycc: bool = False

    @property
    def transformed(self) -> bool:
        """The decoder undoes a colour transform: RGB comes out."""
        return self.xyb or self.ycc or self.recompressed


def read_head(frame: Any) -> Head:
    """The declarations of ``frame``. Raises PermanentFailure for what DICOM has no place for."""
    start, end, recompressed = _codestream(frame)
    bits = _Bits(bytes(frame[start + 2 : min(end, start + _WITHIN)]))
    rows, columns = _size(bits)
    precision, components, xyb, icc = _metadata(bits)
    if bits.over():
        _refuse("is cut within its header")
    modular, ycc = (None, False) if icc else _frame(bits, xyb)
    if bits.over():
        modular, ycc = None, False
    return Head(rows, columns, components, precision, xyb, recompressed, modular, ycc)


def _refuse(what: str) -> NoReturn:
    raise PermanentFailure(f"the JPEG XL stream {what}: it is not decoded here")


class _Bits:
    """Bits of ``data``, least significant first; zeros after its end."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0
        self._number = int.from_bytes(data, "little")

    def over(self) -> bool:
        """More was taken than there is."""
        return self.at > 8 * len(self.data)

    def take(self, count: int) -> int:
        value = (self._number >> self.at) & ((1 << count) - 1)
        self.at += count
        return value

    def choice(self, *choices: tuple[int, int]) -> int:
        """One of four (offset, bits), by a selector of two bits (B.2.2)."""
        offset, count = choices[self.take(2)]
        return offset + self.take(count)

    def long(self) -> int:
        """Up to 64 bits (B.2.5)."""
        kind = self.take(2)
        if kind < 3:
            offset, count = ((0, 0), (1, 4), (17, 8))[kind]
            return offset + self.take(count)
        value, shift = self.take(12), 12
        while shift < 64 and self.take(1):
            value += self.take(4 if shift == 60 else 8) << shift
            shift += 8
        return value


def _codestream(frame: Any) -> tuple[int, int, bool]:
    """Where the codestream begins, and its first box ends; whether a JPEG file was packed."""
    if bytes(frame[:2]) == CODESTREAM:
        return 0, len(frame), False
    boxes = list(_boxes(frame))
    for kind, start, end in boxes:
        begin = start + 4 if kind == b"jxlp" else start
        if kind in (b"jxlc", b"jxlp"):
            if bytes(frame[begin : begin + 2]) != CODESTREAM:
                _refuse("has no codestream in its first codestream box")
            return begin, end, any(box[0] == b"jbrd" for box in boxes)
    _refuse("holds no codestream box")


def _boxes(frame: Any) -> Iterator[tuple[bytes, int, int]]:
    """The kind of each box of a container, and where its content starts and ends."""
    at = len(CONTAINER)
    for _ in range(_MAX_BOXES):
        if at + 8 > len(frame):
            return
        length, kind = unpack_from(">I4s", frame, at)
        head = 16 if length == 1 else 8
        size = unpack_from(">Q", frame, at + 8)[0] if length == 1 else length
        last = size < head
        yield kind, at + head, len(frame) if last else min(at + size, len(frame))
        if last:
            return
        at += size


def _size(bits: _Bits) -> tuple[int, int]:
    """Rows and columns (D.2.2)."""
    small = bits.take(1)
    rows = 8 * (1 + bits.take(5)) if small else bits.choice(*_SIZES)
    ratio = bits.take(3)
    if ratio:
        numerator, denominator = _RATIOS[ratio - 1]
        return rows, rows * numerator // denominator
    return rows, 8 * (1 + bits.take(5)) if small else bits.choice(*_SIZES)


def _metadata(bits: _Bits) -> tuple[int, int, bool, bool]:
    """Bits per sample, components, the use of XYB, and an ICC profile to come (D.3)."""
    if bits.take(1):
        _filters(bits, xyb=True)
        return 8, 3, True, False
    further = bits.take(1)
    if further:
        bits.take(3)  # the orientation: samples are taken as they are coded
        if bits.take(1):
            _size(bits)
        if bits.take(2):
            _refuse("holds a preview or an animation")
    if bits.take(1):
        _refuse("holds floating point samples")
    precision = bits.choice((8, 0), (10, 0), (12, 0), (1, 6))
    bits.take(1)
    if bits.choice((0, 0), (1, 0), (2, 4), (1, 12)):
        _refuse("has extra channels")
    xyb = bool(bits.take(1))
    grey, icc = _colours(bits)
    if further and not bits.take(1):  # the tone mapping is not the default
        bits.take(16 + 16 + 1 + 16)
    if extensions := bits.long():
        sizes = [bits.long() for _ in range(extensions.bit_count())]
        bits.take(min(sum(sizes), 8 * _WITHIN))
    _filters(bits, xyb)
    return precision, 1 if grey else 3, xyb, icc


def _colours(bits: _Bits) -> tuple[bool, bool]:
    """Whether the image is grey, and whether an ICC profile says so (D.3.5)."""
    if bits.take(1):
        return False, False
    icc, space = bits.take(1), bits.choice(*_COLOUR_CODES)
    if icc:
        return space == _GREY, True
    if space != _XYB:
        if bits.choice(*_COLOUR_CODES) == _CUSTOM:
            _chromaticities(bits, 1)
        if space != _GREY and bits.choice(*_COLOUR_CODES) == _CUSTOM:
            _chromaticities(bits, 3)
        if bits.take(1):
            bits.take(24)  # gamma
        else:
            bits.choice(*_COLOUR_CODES)
    bits.choice(*_COLOUR_CODES)  # the rendering intent
    return space == _GREY, False


def _chromaticities(bits: _Bits, count: int) -> None:
    for _ in range(2 * count):
        bits.choice(*_XY)


def _filters(bits: _Bits, xyb: bool) -> None:
    """The upsampling filters and the inverse of XYB, where they are not the default."""
    if bits.take(1):
        return
    if xyb and not bits.take(1):
        bits.take(16 * (9 + 3 + 4))
    mask = bits.take(3)
    for index, count in enumerate(_WEIGHTS):
        if mask >> index & 1:
            bits.take(16 * count)


def _frame(bits: _Bits, xyb: bool) -> tuple[bool | None, bool]:
    """Of the first frame: modular mode, and YCbCr (F.2)."""
    bits.at += -bits.at % 8
    if bits.take(1):
        return False, False
    kind, modular = bits.take(2), bool(bits.take(1))
    bits.long()  # flags
    ycc = not xyb and bool(bits.take(1))
    return (None if kind else modular), ycc
