"""The part of a file in which the wanted attributes of its header stand, read into memory.

It is read, never mapped: touching a map of a file that was cut short, or has a bad sector, ends
the process (SIGBUS).
"""

import os
from pathlib import Path
from typing import Final, NamedTuple

from gateway.dataset.elements import elements
from gateway.dataset.heads import (
    DEFAULT_LIMITS,
    EXPLICIT,
    ITEM,
    UNDEFINED,
    Limits,
    MalformedDataSet,
    form_of,
    read_head,
)
from gateway.dataset.part10 import read_file_meta
from gateway.transfer_syntax import BY_UID, EXPLICIT_LE, TransferSyntax

_FIRST_LOOK: Final = 64 << 10
_LONG: Final = 16 << 20
"""Bytes of a value from which on it is left out."""
_PIXELS: Final = range(0x7FE00008, 0x7FE00011)


def first_look(file: Path) -> tuple[bytes, bool]:
    """A file's first 64 KiB, and whether that is all. Raises OSError.

    In most files all that is wanted stands there, as its reader finds out.
    """
    with file.open("rb", buffering=0) as opened:
        data = opened.read(_FIRST_LOOK + 1)
    return data[:_FIRST_LOOK], len(data) <= _FIRST_LOOK


class _Walked(NamedTuple):
    """The first ``whole`` bytes are whole elements; ``passed``: one of a greater tag follows."""

    whole: int
    passed: bool = False
    syntax: TransferSyntax | None = None


def beginning(file: Path, until: int, limits: Limits = DEFAULT_LIMITS) -> bytes:
    """A Part 10 file's bytes up to the elements of tags beyond ``until``.

    Pixels and values that are longer than 16 MiB are left out as if they had never been there, so
    offsets hold up to the first of them only. At most ``limits.header`` bytes, and a file that is
    damaged or deflated as far as that. Raises OSError, MalformedDataSet for an empty file.
    """
    with file.open("rb", buffering=0) as opened:
        descriptor = opened.fileno()
        size = os.fstat(descriptor).st_size
        if not size:
            raise MalformedDataSet("the file is empty")
        data, at, step, bound = b"", 0, _FIRST_LOOK, min(until, _PIXELS[0] - 1)
        while at < size and len(data) < limits.header:
            more = os.pread(descriptor, min(step, limits.header - len(data)), at)
            if not more:
                break  # it was cut short meanwhile
            data, at, step = data + more, at + len(more), 4 * step
            walked = _walk(data, bound, limits)
            if walked.passed and bound == until:
                break
            bound = until if walked.passed else bound
            if (after := _end_of_long(descriptor, data, at, size, walked)) is not None:
                data, at, step = data[: walked.whole], after, _FIRST_LOOK
    return data


def _walk(data: bytes, until: int, limits: Limits) -> _Walked:
    """How far the data set stands in ``data``, which may be cut anywhere."""
    whole, syntax = 0, None
    try:
        meta = read_file_meta(data)
        syntax = BY_UID.get(meta.transfer_syntax, BY_UID[EXPLICIT_LE])
        if syntax.deflated:
            return _Walked(0)
        whole = meta.dataset_offset
        for element in elements(data, whole, len(data), syntax, limits, until):
            if element.tag > until:
                return _Walked(whole, True, syntax)
            whole = element.end
    except MalformedDataSet:
        pass
    return _Walked(whole, False, syntax)


def _end_of_long(descriptor: int, data: bytes, at: int, size: int, walked: _Walked) -> int | None:
    """Where in the file the element behind the whole ones ends, if it is one to be left out.

    ``data`` ends at ``at`` of a file of ``size`` bytes.
    """
    if walked.syntax is None:
        return None
    shift = at - len(data)
    try:
        head = read_head(data, walked.whole, size - shift, form_of(walked.syntax))
    except MalformedDataSet:
        return None
    tag, _, value, length = head
    if length == UNDEFINED:
        return _end_of_fragments(descriptor, value + shift, size) if tag in _PIXELS else None
    return value + length + shift if tag in _PIXELS or length > _LONG else None


def _end_of_fragments(descriptor: int, at: int, size: int) -> int:
    """Where encapsulated Pixel Data end that begin at ``at`` (PS3.5 A.4)."""
    for _ in range(DEFAULT_LIMITS.fragments):
        head = os.pread(descriptor, 8, at)
        if len(head) < 8:
            return size
        group, number, length = EXPLICIT.head(head, 0)
        at += 8
        if group << 16 | number != ITEM:
            break
        at += length
    return at
