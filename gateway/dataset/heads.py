"""The heads of data elements and items: tag, VR, length (PS3.5 Section 7.1, 7.5).

Forgiven are a head without a VR in an explicit data set, an unknown VR, an explicit item in an
implicit sequence; never a length that does not fit.
"""

import mmap
from collections.abc import Callable
from dataclasses import dataclass
from struct import Struct
from typing import Any, Final, NamedTuple, TypeAlias

from gateway.failures import PermanentFailure
from gateway.transfer_syntax import BY_UID, EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE, TransferSyntax

Buffer: TypeAlias = bytes | bytearray | memoryview | mmap.mmap

UNDEFINED: Final = 0xFFFFFFFF
PIXEL_DATA: Final = 0x7FE00010
ITEM: Final = 0xFFFEE000
ITEM_DELIMITER: Final = 0xFFFEE00D
SEQUENCE_DELIMITER: Final = 0xFFFEE0DD

# fmt: off
SHORT_VRS: Final = frozenset((
    "AE", "AS", "AT", "CS", "DA", "DS", "DT", "FD", "FL", "IS",
    "LO", "LT", "PN", "SH", "SL", "SS", "ST", "TM", "UI", "UL", "US",
))
# fmt: on
"""The VRs whose length takes two bytes, PS3.5 Table 7.1-2."""
LONG_VRS: Final = frozenset(
    ("OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV")
)
"""The VRs whose length takes four bytes after two reserved ones, PS3.5 Table 7.1-1."""

SHORT_CODES: Final = {vr.encode(): vr for vr in SHORT_VRS}
LONG_CODES: Final = {vr.encode(): vr for vr in LONG_VRS}


class MalformedDataSet(PermanentFailure):
    """The bytes are no data set: the text names offset and tag of what does not fit."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a data set may ask of its reader.

    ``header``: bytes before Pixel Data that are held in memory where they have to be inflated.
    ``depth``: sequences within sequences. ``elements``: elements of one data set or item.
    ``items``: items of one sequence, as many as frames. ``heads``: heads walked in all.
    ``fragments``: of encapsulated Pixel Data. ``value``: bytes of one value read as text.
    ``inflated`` and ``ratio``: bytes a deflated data set may come to, and how many times its
    deflated size from the second MiB on.
    """

    header: int = 64 << 20
    depth: int = 64
    elements: int = 50_000
    items: int = 100_000
    heads: int = 4_000_000
    fragments: int = 1_000_000
    value: int = 1 << 20
    inflated: int = 4 << 30
    ratio: int = 1_000


DEFAULT_LIMITS: Final = Limits()


class Form(NamedTuple):
    """How heads are written: with or without VR, in which byte order."""

    explicit: bool
    little: bool
    short: Callable[..., tuple[Any, ...]]
    head: Callable[..., tuple[Any, ...]]
    long: Callable[..., tuple[Any, ...]]


def _form(explicit: bool, order: str) -> Form:
    formats = ("HH2sH", "HHI", "I")
    return Form(explicit, order == "<", *(Struct(order + f).unpack_from for f in formats))


IMPLICIT: Final = _form(False, "<")
EXPLICIT: Final = _form(True, "<")
BIG: Final = _form(True, ">")


def form_of(syntax: TransferSyntax) -> Form:
    """The form of a transfer syntax; that of the inflated bytes where it is deflated."""
    if not syntax.little_endian:
        return BIG
    return EXPLICIT if syntax.explicit else IMPLICIT


def syntax_of(form: Form) -> TransferSyntax:
    """The native transfer syntax that is written in this form."""
    if form.little:
        return BY_UID[EXPLICIT_LE if form.explicit else IMPLICIT_LE]
    return BY_UID[EXPLICIT_BE]


def name(tag: int) -> str:
    """A tag as the standard writes it, (GGGG,EEEE)."""
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


def read_head(data: Buffer, position: int, end: int, form: Form) -> tuple[int, str, int, int]:
    """(tag, vr, offset of the value, length) of the head at ``position``; items have none.

    The length is UNDEFINED or fits before ``end``; otherwise raises MalformedDataSet.
    """
    if end - position < 8:
        raise MalformedDataSet(f"the data set ends inside a head at offset {position}")
    group, number, length = form.head(data, position)
    tag, vr, value = group << 16 | number, "", position + 8
    if form.explicit and group != 0xFFFE:
        _, _, code, length = form.short(data, position)
        vr = SHORT_CODES.get(code, "")
        if not vr:
            vr, value, length = odd_head(data, position, end, form)
    if length != UNDEFINED and length > end - value:
        raise too_long(tag, position, length, end - value)
    return tag, vr, value, length


def odd_head(data: Buffer, position: int, end: int, form: Form) -> tuple[str, int, int]:
    """(vr, offset of the value, length) of a head in an explicit data set without a short VR.

    Two bytes that are no letters are the low half of a length: the head carries no VR. An
    unknown VR has a two-byte length (as most that are met) unless only four bytes make sense;
    so has one of two blanks, which some write, where the next head shows it.
    """
    group, number, code, length = form.short(data, position)
    tag, value = group << 16 | number, position + 8
    if group == 0xFFFE or not code.isalpha() or not code.isupper():
        if code == b"  " and _head_follows(data, value + length, end, tag, form):
            return "UN", value, length
        return "", value, form.head(data, position)[2]
    vr = LONG_CODES.get(code)
    if vr is None and (length or not _four_byte_length(data, value, end, tag, form)):
        return code.decode(), value, length
    if value + 4 > end:
        raise MalformedDataSet(f"{name(tag)} at offset {position}: its head is cut off")
    return vr or code.decode(), value + 4, form.long(data, value)[0]


def _head_follows(data: Buffer, position: int, end: int, tag: int, form: Form) -> bool:
    """A greater tag with a VR that is one stands there, or the end."""
    if end - position < 8:
        return position == end
    group, number, code, _ = form.short(data, position)
    return group << 16 | number > tag and (code in SHORT_CODES or code in LONG_CODES)


def _four_byte_length(data: Buffer, position: int, end: int, tag: int, form: Form) -> bool:
    """What follows is a length that fits, and not the next element's greater tag."""
    if end - position < 8:
        return False
    group, number, _ = form.head(data, position)
    length: int = form.long(data, position)[0]
    return group << 16 | number <= tag and length <= end - position - 4


def zeros(data: Buffer, position: int, end: int) -> bool:
    steps = range(position, end, 65536)
    return not any(any(bytes(data[at : min(at + 65536, end)])) for at in steps)


def too_many(what: str, limit: int, position: int, tag: int) -> MalformedDataSet:
    return MalformedDataSet(f"{name(tag)} at offset {position}: more than {limit} {what}")


def too_long(tag: int, position: int, length: int, room: int) -> MalformedDataSet:
    return MalformedDataSet(
        f"{name(tag)} at offset {position} claims {length} bytes where {max(room, 0)} are left"
    )


def is_fragments(tag: int, vr: str) -> bool:
    """A value of undefined length is fragments and not items of data sets (A.4)."""
    return tag == PIXEL_DATA or (len(vr) == 2 and vr[0] == "O")


def inner_form(data: Buffer, value: int, vr: str, form: Form) -> Form:
    """The form of the items in an element: UN's are Implicit VR Little Endian (6.2.2).

    Some writers leave UN's items big endian in a big endian data set, which their tags show.
    """
    if vr != "UN" or bytes(data[value : value + 4]) == b"\xff\xfe\xe0\x00":
        return form
    return IMPLICIT


def item_form(data: Buffer, value: int, stop: int, form: Form) -> Form:
    """The form an item really has: explicit in an implicit sequence where its VR shows so."""
    if not form.explicit and stop - value >= 8:
        code = bytes(data[value + 4 : value + 6])
        if code in SHORT_CODES or code in LONG_CODES:
            return EXPLICIT
    return form
