"""The few attributes of an instance that routes, ledger and logs read, as text.

Only the file's beginning is looked at: the walk ends at the first element beyond the highest
wanted tag, and of a deflated data set only so much is inflated.
"""

import mmap
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from gateway.dataset.dictionary import vr_of
from gateway.dataset.elements import Element, elements
from gateway.dataset.heads import DEFAULT_LIMITS, UNDEFINED, Buffer, Limits, MalformedDataSet
from gateway.dataset.inflate import inflated
from gateway.dataset.part10 import FileMeta, meta_elements, read_file_meta
from gateway.dataset.text import text_of
from gateway.transfer_syntax import BY_UID, DEFLATED, EXPLICIT_LE, TransferSyntax

_CHARACTER_SET: Final = 0x00080005
_PIXEL_REPRESENTATION: Final = 0x00280103
_FIRST_LOOK: Final = 65536


def read_header(
    file: Path, tags: Mapping[int, str], limits: Limits = DEFAULT_LIMITS
) -> dict[str, str]:
    """The wanted attributes of a Part 10 file that are present: keyword -> text.

    ``tags`` maps 0xGGGGEEEE to the keyword; group 0002 may be among them. Values are joined by a
    backslash, padding is removed; sequences and bytes are "". Raises MalformedDataSet.
    """
    with file.open("rb") as opened:
        if not opened.seek(0, 2):
            raise MalformedDataSet("the file is empty")
        with mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return header_of(data, tags, limits)


def header_of(
    data: Buffer, tags: Mapping[int, str], limits: Limits = DEFAULT_LIMITS
) -> dict[str, str]:
    """As ``read_header``, of a Part 10 file's bytes."""
    meta = read_file_meta(data)
    found: dict[str, str] = {}
    if any(tag < 0x00030000 for tag in tags):
        for element in meta_elements(data):
            if element.tag in tags:
                value = bytes(data[element.value : element.end])
                found[tags[element.tag]] = text_of(element.vr, value)
    if meta.transfer_syntax == DEFLATED:
        return found | _deflated_texts(data, meta, tags, limits)
    syntax = BY_UID.get(meta.transfer_syntax, BY_UID[EXPLICIT_LE])
    return found | texts(data, meta.dataset_offset, len(data), syntax, tags, limits)[0]


def texts(
    data: Buffer,
    start: int,
    end: int,
    syntax: TransferSyntax,
    tags: Mapping[int, str],
    limits: Limits = DEFAULT_LIMITS,
) -> tuple[dict[str, str], bool]:
    """({keyword: text} of the top-level elements in [start, end), whether all were passed).

    The second is False where the data ended before an element beyond the highest wanted tag.
    """
    highest = max(tags, default=0)
    found: dict[str, str] = {}
    charsets, signed = b"", False
    for element in elements(data, start, end, syntax, limits, highest):
        tag = element.tag
        if tag > highest:
            return found, True
        if tag in tags:
            found[tags[tag]] = _text(data, element, syntax, limits, (charsets, signed))
        if tag == _CHARACTER_SET:
            charsets = _value(data, element, limits)
        elif tag == _PIXEL_REPRESENTATION:
            signed = _value(data, element, limits).strip(b"\0") == b"\1"
    return found, False


def _value(data: Buffer, element: Element, limits: Limits) -> bytes:
    if element.length == UNDEFINED:
        return b""
    return bytes(data[element.value : min(element.end, element.value + limits.value)])


def _text(
    data: Buffer,
    element: Element,
    syntax: TransferSyntax,
    limits: Limits,
    known: tuple[bytes, bool],
) -> str:
    charsets, signed = known
    vr, little = element.vr, syntax.little_endian
    if vr in ("", "UN"):
        vr, little = vr_of(element.tag), little or vr == "UN"
    if vr.startswith("US or"):
        vr = "SS" if signed and "SS" in vr else "US"
    return text_of(vr[:2], _value(data, element, limits), little, charsets)


def _deflated_texts(
    data: Buffer, meta: FileMeta, tags: Mapping[int, str], limits: Limits
) -> dict[str, str]:
    """Inflate so much, and four times so much, until the highest wanted tag is passed."""
    plain, enough = bytearray(), _FIRST_LOOK
    syntax = BY_UID[EXPLICIT_LE]
    for piece in inflated(data, meta.dataset_offset, limits):
        plain += piece
        if len(plain) >= enough:
            try:
                found, passed = texts(plain, 0, len(plain), syntax, tags, limits)
            except MalformedDataSet:
                passed, found = False, {}
            if passed:
                return found
            enough *= 4
        if len(plain) > limits.header:
            raise MalformedDataSet(
                f"the deflated header is longer than {limits.header} bytes or malformed"
            )
    return texts(plain, 0, len(plain), syntax, tags, limits)[0]
