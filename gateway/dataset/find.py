"""One element found by its path: in the data set, or in items of sequences (PS3.5 7.5).

A path is what ``json_model`` hands out for bulk data: tags and numbers of items, counted from 1,
such as "7FE00010" and "54000100/1/54001010".
"""

import re
from typing import Final, NamedTuple

from gateway.dataset.dictionary import vr_of
from gateway.dataset.elements import Element, elements, item_syntax, items
from gateway.dataset.heads import DEFAULT_LIMITS, Buffer, Limits
from gateway.transfer_syntax import TransferSyntax

_PATH: Final = re.compile(r"[0-9A-Fa-f]{8}(/[1-9][0-9]{0,8}/[0-9A-Fa-f]{8}){0,64}")
_CHARACTER_SET: Final = 0x00080005
_LONGEST_CHARSETS: Final = 1024


class Place(NamedTuple):
    """Where an element stands: its VR ("" where nobody knows), the encoding around it, and the
    value of Specific Character Set that holds for it.
    """

    element: Element
    vr: str
    syntax: TransferSyntax
    charsets: bytes


def is_path(text: str) -> bool:
    """Whether a text is a path of this form."""
    return _PATH.fullmatch(text) is not None


def find(
    data: Buffer,
    start: int,
    end: int,
    syntax: TransferSyntax,
    path: str,
    limits: Limits = DEFAULT_LIMITS,
) -> Place | None:
    """The element at ``path`` of the data set in [start, end), None where there is none.

    Raises MalformedDataSet.
    """
    tag, *rest = path.split("/", 2)
    wanted, charsets = int(tag, 16), b""
    while True:
        found, charsets = _in_data_set(data, (start, end), syntax, wanted, charsets, limits)
        if found is None:
            return None
        if not rest:
            return Place(found, found.vr or vr_of(wanted)[:2], syntax, charsets)
        number, tail = int(rest[0]), rest[1]
        counted = enumerate(items(data, found, syntax, limits), 1)
        item = next((each for at, each in counted if at == number), None)
        if item is None:
            return None
        syntax = item_syntax(data, found, item, syntax)
        start, end = item.value, item.stop
        tag, *rest = tail.split("/", 2)
        wanted = int(tag, 16)


def _in_data_set(
    data: Buffer,
    span: tuple[int, int],
    syntax: TransferSyntax,
    wanted: int,
    charsets: bytes,
    limits: Limits,
) -> tuple[Element | None, bytes]:
    """The element of that tag, and the character sets that hold there."""
    for element in elements(data, *span, syntax, limits, wanted):
        if element.tag == wanted:
            return element, charsets
        if element.tag == _CHARACTER_SET:
            stop = min(element.end, element.value + _LONGEST_CHARSETS)
            charsets = bytes(data[element.value : stop])
        elif element.tag > wanted:
            break
    return None, charsets
