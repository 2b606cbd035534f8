"""What is remembered of data elements that repeat from instance to instance: their JSON text.

The text is found by the element's bytes, head and value, so what is found is right by itself.
"""

from collections.abc import Container
from typing import Final, TypeAlias

from gateway.dataset.heads import EXPLICIT, IMPLICIT, LONG_CODES, SHORT_CODES

Texts: TypeAlias = dict[int, str]
"""Attribute objects by tag, each with its name."""

_NO_RUN: Final[tuple[bytes, Texts]] = (b"", {})
_OWN_SIZE: Final = 128


class Memory:
    """Elements of one encoding and character set by their bytes, and runs of them.

    A run is what was met in a row; it is found by its first head, and held against the bytes.
    ``size`` is about how many bytes all of it takes.
    """

    __slots__ = ("_elements", "_runs", "size")

    def __init__(self) -> None:
        self._elements: dict[bytes, str] = {}
        self._runs: dict[bytes, tuple[bytes, Texts]] = {}
        self.size = _OWN_SIZE

    def get(self, element: bytes) -> str | None:
        """The text of an element, head and value; None where it was not met."""
        return self._elements.get(element)

    def put(self, element: bytes, text: str) -> None:
        """Remember a text that follows from the element's bytes alone."""
        self._elements[element] = text
        self.size += len(element) + len(text) + _OWN_SIZE

    def recall(
        self,
        data: bytes,
        position: int,
        end: int,
        explicit: bool,
        watched: Container[int],
        texts: Texts,
    ) -> int:
        """Put what is known from ``position`` on into ``texts``; where the unknown begins."""
        while True:
            first = data[position : position + 8]
            run, known = self._runs.get(first, _NO_RUN)
            stop = position + len(run)
            if run and stop <= end and data.startswith(run, position):
                texts.update(known)
                position = stop
                continue
            known = {}
            pass_over = self._explicit if explicit else self._implicit
            stop = pass_over(data, position, end, watched, known)
            if len(known) > 1:
                self._runs[first] = (data[position:stop], known)
                self.size += stop - position + len(known) * _OWN_SIZE
            texts.update(known)
            return stop

    def _explicit(
        self, data: bytes, position: int, end: int, watched: Container[int], texts: Texts
    ) -> int:
        head, long, text_of = EXPLICIT.short, EXPLICIT.long, self._elements.get
        short_codes, long_codes, last = SHORT_CODES, LONG_CODES, end - 12
        while position <= last:
            group, number, code, length = head(data, position)
            if code in short_codes:
                stop = position + 8 + length
            elif code in long_codes:
                stop = position + 12 + long(data, position + 8)[0]
            else:
                return position
            if stop > end or group in watched:
                return position
            text = text_of(data[position:stop])
            if text is None:
                return position
            texts[group << 16 | number] = text
            position = stop
        return position

    def _implicit(
        self, data: bytes, position: int, end: int, watched: Container[int], texts: Texts
    ) -> int:
        head, text_of, last = IMPLICIT.head, self._elements.get, end - 8
        while position <= last:
            group, number, length = head(data, position)
            stop = position + 8 + length
            if stop > end or group in watched:
                return position
            text = text_of(data[position:stop])
            if text is None:
                return position
            texts[group << 16 | number] = text
            position = stop
        return position
