"""A mapped file that is read from its beginning on: the memory of what was read is given back."""

import mmap
from collections.abc import Iterator
from typing import Any, Final

LET_GO: Final = 32 << 20
"""Bytes of a mapped file that are read before their memory is given back."""


def let_go(data: Any, start: int, end: int) -> int:
    """Where memory is held from, once ``data`` was read from ``start`` to ``end``.

    Nothing is given back of less than ``LET_GO`` bytes, nor of what is no mapped file.
    """
    if end - start <= LET_GO:
        return start
    start, end = start - start % mmap.PAGESIZE, end - end % mmap.PAGESIZE
    if isinstance(data, mmap.mmap):
        data.madvise(mmap.MADV_DONTNEED, start, end - start)
    return end


def read_through(value: memoryview) -> Iterator[memoryview]:
    """``value`` in pieces; of a mapped file no more than one of them is held in memory."""
    for start in range(0, len(value), LET_GO):
        yield value[start : start + LET_GO]
        if len(value) > LET_GO and isinstance(value.obj, mmap.mmap):
            value.obj.madvise(mmap.MADV_DONTNEED)
