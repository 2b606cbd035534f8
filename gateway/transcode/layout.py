"""Where the elements of a data set stand, told by one look where another one had them there too.

The objects of a series have most of their elements at the same places. What a scan finds depends
on the heads it passes and on the sequences of undefined length it walks, and on no other byte:
where these are the same, at the same places, so is what is found.
"""

import itertools
import re
from collections.abc import Sequence
from struct import Struct
from typing import Any, Final, NamedTuple

from gateway.dataset.elements import UNDEFINED, Element
from gateway.dataset.heads import EXPLICIT, LONG_CODES, SHORT_CODES

_PIXEL_DATA: Final = b"\xe0\x7f\x10\0"
_ODD_VR: Final = re.compile(rb"  |(?!%s)[A-Z]{2}\0\0" % b"|".join((*SHORT_CODES, *LONG_CODES)))
"""A VR of blanks, and an unknown one before no length: heads that are read by what stands far
behind them, be it the end."""
_MOST: Final = 32
_LONGEST: Final = 1 << 16
"""Bytes before Pixel Data of which a layout is kept."""
_MOST_MET: Final = 1024
_kept: Final[list["Layout"]] = []
_met: Final[set[tuple[int, int, int]]] = set()
"""Ends and number of elements of what was scanned: what is met twice may come again."""


class Layout(NamedTuple):
    """``found`` is what the scan found from ``start`` up to Pixel Data, which begins at ``stop``.

    ``heads`` has the values as its pad bytes, so it takes from a data set what the scan looked
    at; ``seen`` is what it saw.
    """

    start: int
    stop: int
    heads: Struct
    seen: tuple[bytes, ...]
    found: dict[int, Element]


def recall(data: Any, start: int) -> Layout | None:
    """The layout of this data set in Explicit VR Little Endian, where it is a known one."""
    for one in _kept:
        fits = one.start == start and bytes(data[one.stop : one.stop + 4]) == _PIXEL_DATA
        if fits and one.heads.unpack_from(data, start) == one.seen:
            return one
    return None


def remember(data: Any, starts: Sequence[int], found: dict[int, Element]) -> None:
    """Keep a layout that is met for the second time.

    ``starts`` are those of the top-level elements that were scanned, Pixel Data being the last.
    """
    start, stop = starts[0], starts[-1]
    if stop - start > _LONGEST:
        return
    sign = (start, stop, len(starts))
    if sign not in _met:
        if len(_met) >= _MOST_MET:
            _met.clear()
        _met.add(sign)
    elif (heads := _heads(data, starts)) is not None:
        _kept.insert(0, Layout(start, stop, heads, heads.unpack_from(data, start), dict(found)))
        del _kept[_MOST:]


def _heads(data: Any, starts: Sequence[int]) -> Struct | None:
    """The heads between what a scan does not look at; None where some element is not plain."""
    parts: list[str] = []
    for at, after in itertools.pairwise(starts):
        _, _, code, length = EXPLICIT.short(data, at)
        looked_at = 8
        if code in LONG_CODES:
            length = EXPLICIT.long(data, at + 8)[0]
            looked_at = 12
        elif code not in SHORT_CODES:
            return None
        if length == UNDEFINED and not _ODD_VR.search(bytes(data[at:after])):
            looked_at = after - at
        elif at + looked_at + length != after:
            return None
        parts.append(f"{looked_at}s{after - at - looked_at}x")
    return Struct("".join(parts))
