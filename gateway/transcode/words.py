"""Words in the other byte order (PS3.5 7.3), swapped piece by piece where they are asked for."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from gateway.dataset.mapped import read_through

_PIECE = 1 << 22


class Swapped:
    """The bytes of ``value`` with each word of ``width`` bytes turned round.

    Bytes at the end that fill no word stay as they are. Nothing is held but ``value`` itself, a
    view of the stored file: a slice is made anew each time.
    """

    def __init__(self, value: memoryview, width: int) -> None:
        self.value, self.width = value, width

    @property
    def nbytes(self) -> int:
        """The length in bytes."""
        return len(self.value)

    def __getitem__(self, span: slice) -> Any:
        """The bytes of a slice without a step; it need not begin or end with a word."""
        start, stop, _ = span.indices(len(self.value))
        before, after = start % self.width, -stop % self.width
        piece = self.value[start - before : stop + after]
        whole = len(piece) // self.width * self.width
        words = np.frombuffer(piece[:whole], f"u{self.width}").byteswap().view("u1").data
        if whole < len(piece):
            words = memoryview(b"".join((words, piece[whole:])))
        return words[before : before + stop - start]

    def pieces(self) -> Iterator[Any]:
        """All bytes in order, a few at a time."""
        for part in map(self._like, read_through(self.value)):
            for start in range(0, part.nbytes, _PIECE):
                yield part[start : start + _PIECE]

    def _like(self, value: memoryview) -> "Swapped":
        return Swapped(value, self.width)
