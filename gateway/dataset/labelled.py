"""Whether Pixel Data stands as the transfer syntax says: as fragments or one value (PS3.5 A.4).

Every instance that comes in is asked, so it must cost next to nothing: the tag of Pixel Data is
searched for among the bytes, past each value of defined length. Only what then seems to contradict
the transfer syntax is walked, element by element, which decides.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from gateway.dataset.beginning import beginning
from gateway.dataset.elements import elements
from gateway.dataset.heads import (
    BIG,
    DEFAULT_LIMITS,
    EXPLICIT,
    LONG_CODES,
    PIXEL_DATA,
    UNDEFINED,
    MalformedDataSet,
)
from gateway.dataset.part10 import read_file_meta
from gateway.transfer_syntax import BY_UID, TransferSyntax

_LOOK: Final = 1 << 17
_MOST: Final = DEFAULT_LIMITS.header
_LONG_HEAD: Final = 12
_BEFORE: Final = 0x7FE00007
"""The last tag before the elements that hold pixels."""

Read = Callable[[int], bytes]
"""Bytes of a file from an offset on, none where it is not looked at any more."""


def mislabelled_by_head(head: bytes, size: int, syntax: TransferSyntax) -> bool | None:
    """As ``mislabelled``, by the first bytes of a file of ``size``; None: they do not tell."""
    if syntax.deflated or syntax.video:
        return False
    found = _fragments(lambda at: head[at:], size, little_endian=syntax.little_endian)
    return False if found is syntax.encapsulated else None


def mislabelled(file: Path, syntax: TransferSyntax) -> bool:
    """Whether Pixel Data is fragments under a native transfer syntax, or one value under an
    encapsulated one; never of a deflated data set or video, nor behind 64 MiB of header.

    Reads the file as far as its Pixel Data: for a thread. Raises OSError.
    """
    if syntax.deflated or syntax.video:
        return False
    with file.open("rb", buffering=0) as opened:
        descriptor = opened.fileno()

        def read(at: int) -> bytes:
            return os.pread(descriptor, _LOOK, at) if at < _MOST else b""

        size = os.fstat(descriptor).st_size
        found = _fragments(read, size, little_endian=syntax.little_endian)
    return found is (not syntax.encapsulated) and _contradicts(file, syntax)


def _fragments(read: Read, size: int, *, little_endian: bool) -> bool | None:
    """Whether any Pixel Data, be it an icon's, has no length; None where not all was seen."""
    tag = PIXEL_DATA.to_bytes(4)
    tag = tag[1::-1] + tag[:1:-1] if little_endian else tag
    long = (EXPLICIT if little_endian else BIG).long
    at = base = 0
    data = b""
    while size - at >= _LONG_HEAD:
        if at - base > len(data) - _LONG_HEAD:
            base, data = at, read(at)
            if len(data) < _LONG_HEAD:
                return None
        start = data.find(tag, at - base)
        if not 0 <= start <= len(data) - _LONG_HEAD:
            at = base + (start if start >= 0 else len(data) - _LONG_HEAD + 1)
            continue
        value = start + (12 if data[start + 4 : start + 6] in LONG_CODES else 8)
        length = long(data, value - 4)[0]
        if length == UNDEFINED:
            return True
        end = base + value + length
        at = end if end <= size else base + start + len(tag)
    return False


def _contradicts(file: Path, syntax: TransferSyntax) -> bool:
    """What the data set's own Pixel Data says, found by a walk through its elements."""
    data = beginning(file, _BEFORE)
    try:
        meta = read_file_meta(data)
        form = BY_UID.get(meta.transfer_syntax, syntax)
        for element in elements(data, meta.dataset_offset, len(data), form, until=_BEFORE):
            if element.tag == PIXEL_DATA:
                framed = element.length == UNDEFINED
                return element.length != 0 and framed is not syntax.encapsulated
    except MalformedDataSet:
        pass  # its reader will say it
    return False
