"""The data set of a Part 10 file as P-DATA-TF PDUs, read straight into what is sent (PS3.8 §E.2).

The file meta information stays behind: the presentation context says what it said.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gateway.dataset.part10 import read_file_meta
from gateway.failures import TemporaryFailure
from gateway.upper_layer import pdu

_CHUNK: Final = 1 << 19
_MOST_PIECES: Final = 1024
"""What one ``preadv`` fills at most (IOV_MAX)."""
_META: Final = 1 << 16


@contextlib.contextmanager
def open_data_set(file: Path) -> Iterator[tuple[int, int]]:
    """The descriptor of a Part 10 file and where its data set begins; closed at the end.

    Raises TemporaryFailure where it cannot be read, PermanentFailure where it is none.
    """
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise TemporaryFailure(f"{file} cannot be read: {error.strerror}") from error
    try:
        yield descriptor, read_file_meta(os.pread(descriptor, _META, 0)).dataset_offset
    finally:
        os.close(descriptor)


def p_data(
    descriptor: int, offset: int, context_id: int, length: int, before: bytes = b""
) -> Iterator[bytearray]:
    """A file's bytes from ``offset`` as P-DATA-TF PDUs with ``length`` bytes of data each.

    Several PDUs stand in each buffer, the first of which begins with ``before``; the file is read
    straight into its place in it. A buffer is never reused, since the transport may keep a view
    of what it could not send at once.
    """
    end = os.fstat(descriptor).st_size
    together = max(1, min(_CHUNK // length, _MOST_PIECES))
    while True:
        pieces = _pieces(end - offset, length, together)
        size = sum(pieces)
        yield _filled(descriptor, offset, pieces, context_id, before, size == end - offset)
        before = b""
        offset += size
        if offset >= end:
            return


def _pieces(left: int, length: int, together: int) -> list[int]:
    whole, rest = divmod(min(left, length * together), length)
    return [length] * whole + ([rest] if rest or not whole else [])


def _filled(
    descriptor: int,
    offset: int,
    pieces: list[int],
    context_id: int,
    before: bytes,
    is_end: bool,
) -> bytearray:
    overhead, at = pdu.P_DATA_OVERHEAD, len(before)
    buffer = bytearray(at + sum(pieces) + overhead * len(pieces))
    buffer[:at] = before
    views = []
    for number, piece in enumerate(pieces, 1):
        is_last = is_end and number == len(pieces)
        pdu.pack_p_data_head(buffer, at, context_id, is_last, piece)
        views.append(memoryview(buffer)[at + overhead : at + overhead + piece])
        at += overhead + piece
    try:
        read = os.preadv(descriptor, views, offset)
    except OSError as error:
        raise TemporaryFailure(f"the spool cannot be read: {error.strerror}") from error
    if read != sum(pieces):
        raise TemporaryFailure("the spool file became shorter while it was being sent")
    return buffer
