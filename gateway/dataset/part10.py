"""The File Meta Information before a data set in a file (PS3.10 Section 7.1).

What is written is complete and the same for every instance but for its UIDs; what is read may
lack the preamble, the group length, the transfer syntax, or all of it.
"""

from collections.abc import Iterator
from functools import lru_cache
from struct import Struct
from typing import Final, NamedTuple

from gateway.dataset.elements import Element, elements
from gateway.dataset.heads import (
    BIG,
    EXPLICIT,
    IMPLICIT,
    LONG_CODES,
    SHORT_CODES,
    UNDEFINED,
    Buffer,
    Form,
    MalformedDataSet,
    read_head,
    syntax_of,
)
from gateway.failures import PermanentFailure
from gateway.model import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION, UID
from gateway.transfer_syntax import BY_UID, DEFLATED, EXPLICIT_LE, NATIVE

_PREAMBLE: Final = bytes(128) + b"DICM"
_HEAD: Final = Struct("<HH2sH")
_LENGTH: Final = Struct("<HH2sHI")
_VERSION: Final = _LENGTH.pack(2, 1, b"OB", 0, 2) + b"\0\1"
_VRS: Final = frozenset((*SHORT_CODES, *LONG_CODES))

_READ: Final = frozenset((0x00020002, 0x00020003, 0x00020010, 0x00020016))
_SOP_CLASS: Final = 0x00080016
_SOP_INSTANCE: Final = 0x00080018


class FileMeta(NamedTuple):
    """What a file says of its data set, which begins at ``dataset_offset``.

    ``transfer_syntax`` is the one stated, or the native one the data set's first bytes show
    where none is stated or a stated native one is wrong. Unknown texts are "".
    """

    sop_class_uid: UID
    sop_instance_uid: UID
    transfer_syntax: UID
    source_ae: str
    dataset_offset: int


def encode_file_meta(
    *, sop_class_uid: UID, sop_instance_uid: UID, transfer_syntax: UID, source_ae: str = ""
) -> bytes:
    """Preamble, "DICM" and group 0002, to stand before a data set (PS3.10 Table 7.1-1).

    ``source_ae`` is left out where it is "". Raises PermanentFailure for a UID that is not
    ASCII or longer than its element can be.
    """
    instance = _text(3, b"UI", sop_instance_uid, b"\0")
    before, after = _constant_parts(sop_class_uid, transfer_syntax, source_ae)
    length = len(before) + len(instance) + len(after)
    group_length = _HEAD.pack(2, 0, b"UL", 4) + length.to_bytes(4, "little")
    return b"".join((_PREAMBLE, group_length, before, instance, after))


def end_of_file_meta(head: Buffer) -> int:
    """Where the data set begins behind what ``encode_file_meta`` made, by its group length."""
    return 144 + int.from_bytes(head[140:144], "little")


@lru_cache(maxsize=1024)
def _constant_parts(
    sop_class_uid: UID, transfer_syntax: UID, source_ae: str
) -> tuple[bytes, bytes]:
    """What stands before and after the instance's own UID."""
    before = _VERSION + _text(2, b"UI", sop_class_uid, b"\0")
    after = (
        _text(0x10, b"UI", transfer_syntax, b"\0")
        + _text(0x12, b"UI", IMPLEMENTATION_CLASS_UID, b"\0")
        + _text(0x13, b"SH", IMPLEMENTATION_VERSION, b" ")
        + (_text(0x16, b"AE", source_ae, b" ") if source_ae else b"")
    )
    return before, after


def _text(element: int, vr: bytes, text: str, pad: bytes) -> bytes:
    if not text.isascii() or len(text) > 0xFFFE:
        raise PermanentFailure(f"(0002,{element:04X}) would be no ASCII text of a fitting length")
    value = text.encode()
    if len(value) & 1:
        value += pad
    return _HEAD.pack(2, element, vr, len(value)) + value


def read_file_meta(data: Buffer) -> FileMeta:
    """What a file's beginning says; ``data`` is the whole file.

    Without a File Meta Information the encoding is told from the first element's bytes and the
    UIDs are those of the data set. Raises MalformedDataSet where nothing resembles a data set.
    """
    position = _beginning(data)
    found: dict[int, str] = {}
    end = len(data)
    for tag, _, _, value, length, stop in _elements(data, position):
        if tag in _READ and length <= 0xFFFE:
            found[tag & 0xFFFF] = bytes(data[value:stop]).decode("latin-1").strip("\0 ")
        position = stop
    stated = found.get(0x10, "")
    if stated in ("", *NATIVE):
        shown = _shown(data, position, end)
        if shown is None and not stated:
            raise MalformedDataSet(f"no data set is recognised at offset {position}")
        stated = syntax_of(shown).uid if shown is not None else stated
    uids = found.get(2, ""), found.get(3, "")
    if not all(uids) and stated in BY_UID and stated != DEFLATED:
        uids = _uids(data, position, end, stated, *uids)
    return FileMeta(*uids, stated or EXPLICIT_LE, found.get(0x16, ""), position)


def meta_elements(data: Buffer) -> Iterator[Element]:
    """The elements of group 0002, in Explicit VR Little Endian; none where there is no such group.

    The group length only decides where the next bytes could be of group 0002 by chance.
    """
    return _elements(data, _beginning(data))


def _elements(data: Buffer, position: int) -> Iterator[Element]:
    end, stated_end, short, new = len(data), -1, EXPLICIT.short, tuple.__new__
    while end - position >= 8:
        group, number, code, length = short(data, position)
        if group != 2 or (position == stated_end and code not in _VRS):
            return
        vr, value = SHORT_CODES.get(code), position + 8
        if vr is None or length > end - value:
            _, vr, value, length = read_head(data, position, end, EXPLICIT)
            if length == UNDEFINED:
                raise MalformedDataSet(f"(0002,{number:04X}) has no defined length")
        if number == 0 and length == 4:
            stated_end = value + 4 + EXPLICIT.long(data, value)[0]
        stop = value + length
        yield new(Element, (0x20000 | number, vr, position, value, length, stop))
        position = stop


def _beginning(data: Buffer) -> int:
    """Behind preamble and "DICM", which may also stand in a value where there is no preamble."""
    if bytes(data[128:132]) != b"DICM":
        return 0
    end = len(data)
    by_chance = _shown(data, 132, end) is None and _shown(data, 0, end) is not None
    return 0 if by_chance else 132


def _shown(data: Buffer, position: int, end: int) -> Form | None:
    """The form that the first element at ``position`` is written in; None where it is unclear."""
    if end - position < 8:
        return None
    little, big = (form.head(data, position)[0] for form in (EXPLICIT, BIG))
    explicit = bytes(data[position + 4 : position + 6]) in _VRS
    if min(little, big) > 0x7FE0 or max(little, big) == 0:
        return None
    if explicit:
        return EXPLICIT if little <= big else BIG
    return IMPLICIT if little <= big and _leads_on(data, position, end) else None


def _leads_on(data: Buffer, position: int, end: int) -> bool:
    """Read without a VR, the element at ``position`` is followed by one of a greater tag."""
    group, number, length = IMPLICIT.head(data, position)
    after = position + 8 + length
    if length == UNDEFINED or after == end:
        return True
    if after > end - 8:
        return False
    next_group, next_number, _ = IMPLICIT.head(data, after)
    return bool((next_group, next_number) > (group, number))


def _uids(
    data: Buffer, position: int, end: int, transfer_syntax: UID, sop_class: UID, instance: UID
) -> tuple[UID, UID]:
    """The SOP Class and Instance UID, from the data set where the file meta lacks one."""
    found: dict[int, str] = {}
    try:
        syntax = BY_UID[transfer_syntax]
        for element in elements(data, position, end, syntax, until=_SOP_INSTANCE):
            if element.tag > _SOP_INSTANCE:
                break
            if element.tag in (_SOP_CLASS, _SOP_INSTANCE):
                value = bytes(data[element.value : element.end])
                found[element.tag] = value.decode("latin-1").strip("\0 ")
    except MalformedDataSet:
        pass  # the reader of the data set will say it
    return sop_class or found.get(_SOP_CLASS, ""), instance or found.get(_SOP_INSTANCE, "")
