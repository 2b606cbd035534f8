"""Attributes of a data set and of items in it, as numbers and texts, for those who display it.

What cannot be read counts as absent: a wrong Window Width is no reason to show nothing.
"""

import math
from typing import Any, Final

from gateway.dataset.dictionary import vr_of
from gateway.dataset.elements import UNDEFINED, Element, Item, elements, item_syntax, items
from gateway.dataset.heads import PIXEL_DATA
from gateway.dataset.text import text_of
from gateway.transfer_syntax import TransferSyntax

_LONGEST: Final = 1 << 20
"""Bytes of a value of numbers or text that are looked at."""
_CHARACTER_SET: Final = 0x00080005


class Attributes:
    """The elements of ``data`` in [start, end), up to Pixel Data.

    ``signed`` is Pixel Representation, which decides on values of US or SS. Raises
    MalformedDataSet where it is no data set.
    """

    def __init__(
        self,
        data: Any,
        start: int,
        end: int,
        syntax: TransferSyntax,
        *,
        signed: bool = False,
        charsets: bytes = b"",
    ) -> None:
        self._data, self._syntax, self.signed = data, syntax, signed
        self._found: dict[int, Element] = {}
        self._walked: dict[int, list[Item]] = {}
        for element in elements(data, start, end, syntax, until=PIXEL_DATA):
            if element.tag >= PIXEL_DATA:
                break
            self._found[element.tag] = element
        self._charsets = self.raw(_CHARACTER_SET) or charsets

    def __contains__(self, tag: int) -> bool:
        return tag in self._found

    def raw(self, tag: int) -> bytes | None:
        """The value's bytes as stored, None where there is none of a defined length."""
        element = self._found.get(tag)
        if element is None or element.length == UNDEFINED:
            return None
        return bytes(self._data[element.value : element.end])

    def text(self, tag: int) -> str:
        """The value as text, its values joined by a backslash; "" where it is absent."""
        element = self._found.get(tag)
        if element is None or not 0 < element.length <= _LONGEST:
            return ""
        value = self.raw(tag) or b""
        little = self._syntax.little_endian or element.vr == "UN"
        return text_of(self._vr(element), value, little, self._charsets)

    def numbers(self, tag: int) -> tuple[float, ...]:
        """All values as numbers; empty where one of them is none."""
        try:
            found = tuple(float(part) for part in self.text(tag).split("\\"))
        except ValueError:
            return ()
        return found if all(map(math.isfinite, found)) else ()

    def number(self, tag: int) -> float | None:
        """The first value as a number."""
        found = self.numbers(tag)
        return found[0] if found else None

    def item(self, tag: int, index: int = 0) -> "Attributes | None":
        """One item of a sequence, None where it has not so many."""
        element = self._found.get(tag)
        if element is None or element.length == 0:
            return None
        if tag not in self._walked:
            self._walked[tag] = list(items(self._data, element, self._syntax))
        found = self._walked[tag]
        return self._inside(element, found[index]) if index < len(found) else None

    def _inside(self, element: Element, item: Item) -> "Attributes":
        syntax = item_syntax(self._data, element, item, self._syntax)
        return Attributes(
            self._data,
            item.value,
            item.stop,
            syntax,
            signed=self.signed,
            charsets=self._charsets,
        )

    @property
    def order(self) -> str:
        """NumPy's sign for the byte order of values."""
        return "<" if self._syntax.little_endian else ">"

    def _vr(self, element: Element) -> str:
        vr = element.vr
        if vr in ("", "UN"):
            vr = vr_of(element.tag)
        if vr.startswith("US or"):
            vr = "SS" if self.signed and "SS" in vr else "US"
        return vr[:2]
