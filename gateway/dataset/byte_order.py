"""Values turned from one byte order to the other, by VR (PS3.5 Section 7.3)."""

from array import array
from collections.abc import Iterator
from typing import Final

from gateway.dataset.heads import LONG_VRS, SHORT_VRS

WIDTHS: Final = {
    **dict.fromkeys(SHORT_VRS | LONG_VRS, 1),
    **dict.fromkeys(("AT", "US", "SS", "OW"), 2),
    **dict.fromkeys(("UL", "SL", "FL", "OL", "OF"), 4),
    **dict.fromkeys(("FD", "OD", "OV", "SV", "UV"), 8),
}
"""Bytes of the words that each VR's value is made of: 1 where it has no byte order."""

_CODES: Final = {array(code).itemsize: code for code in "HIQ"}


def swapped(value: bytes | bytearray | memoryview, width: int) -> bytes:
    """A value of ``width``-byte words (1, 2, 4, 8) in the other byte order.

    What is left over after the last whole word stays as it is.
    """
    if width == 1:
        return bytes(value)
    words = array(_CODES[width])
    whole = len(value) // width * width
    words.frombytes(value[:whole])
    words.byteswap()
    return words.tobytes() + bytes(value[whole:])


def swapped_pieces(value: memoryview, width: int, step: int = 1 << 20) -> Iterator[bytes]:
    """As ``swapped``, in pieces of ``step`` bytes (a multiple of 8), for long values."""
    for at in range(0, len(value), step):
        yield swapped(value[at : at + step], width)
