"""What a JPEG XL stream says of itself: size, depth, colours (ISO/IEC 18181-1 D.2, 18181-2).

Only the headers are read: bits, least significant first, of the bare codestream or of the first
codestream box in a container.
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


@dataclass(frozen=True, slots=True)
class Head:
    """The declarations: ``xyb`` that the colours are transformed (a lossy coding),
    ``recompressed`` that a JPEG file was packed losslessly.
    """

    rows: int
    columns: int
    components: int
    precision: int
    xyb: bool
    recompressed: bool


def read_head(frame: Any) -> Head:
    """The declarations of ``frame``. Raises PermanentFailure for what DICOM has no place for."""
    start, recompressed = _codestream(frame)
    bits = _Bits(bytes(frame[start + 2 : start + 66]))
    rows, columns = _size(bits)
    precision, components, xyb = _metadata(bits)
    if bits.at > 8 * len(bits.data):
        _refuse("is cut within its header")
    return Head(rows, columns, components, precision, xyb, recompressed)


def _refuse(what: str) -> NoReturn:
    raise PermanentFailure(f"the JPEG XL stream {what}: it is not decoded here")


class _Bits:
    """Bits of ``data``, least significant first; zeros after its end."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0
        self._number = int.from_bytes(data, "little")

    def take(self, count: int) -> int:
        value = (self._number >> self.at) & ((1 << count) - 1)
        self.at += count
        return value

    def choice(self, *choices: tuple[int, int]) -> int:
        """One of four (offset, bits), by a selector of two bits (B.2.2)."""
        offset, count = choices[self.take(2)]
        return offset + self.take(count)


def _codestream(frame: Any) -> tuple[int, bool]:
    """The offset of the codestream's signature, and whether a JPEG file was packed."""
    if bytes(frame[:2]) == CODESTREAM:
        return 0, False
    boxes = list(_boxes(frame))
    for kind, start in boxes:
        begin = start + 4 if kind == b"jxlp" else start
        if kind in (b"jxlc", b"jxlp"):
            if bytes(frame[begin : begin + 2]) != CODESTREAM:
                _refuse("has no codestream in its first codestream box")
            return begin, any(other == b"jbrd" for other, _ in boxes)
    _refuse("holds no codestream box")


def _boxes(frame: Any) -> Iterator[tuple[bytes, int]]:
    """The kind of each box of a container, and where its content starts."""
    at = len(CONTAINER)
    for _ in range(_MAX_BOXES):
        if at + 8 > len(frame):
            return
        length, kind = unpack_from(">I4s", frame, at)
        head = 16 if length == 1 else 8
        yield kind, at + head
        size = unpack_from(">Q", frame, at + 8)[0] if length == 1 else length
        if size < head:
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


def _metadata(bits: _Bits) -> tuple[int, int, bool]:
    """Bits per sample, components, and the use of XYB (D.3)."""
    if bits.take(1):
        return 8, 3, True
    if bits.take(1):
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
    if bits.take(1):
        return precision, 3, xyb
    bits.take(1)
    grey = bits.choice((0, 0), (1, 0), (2, 4), (18, 6)) == 1
    return precision, 1 if grey else 3, xyb
