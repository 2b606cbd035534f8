"""A JSON array of objects, read one by one while it comes."""

import codecs
import json
from collections.abc import Iterator
from typing import Any, Final

MOST: Final = 2 << 20
"""Characters of one object."""
_BLANK: Final = " \t\r\n"


class MalformedJson(ValueError):
    """The text is no JSON array of objects; the message says where."""


class ArrayReader:
    """Holds no more than one object that is not whole yet."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._json = json.JSONDecoder()
        self._text = ""
        self._began = self._ended = False

    def feed(self, data: bytes) -> Iterator[dict[str, Any]]:
        """The objects that ``data`` completes. Raises MalformedJson."""
        try:
            self._text += self._decoder.decode(data)
        except UnicodeDecodeError:
            raise MalformedJson("it is not UTF-8") from None
        at = 0
        while (found := self._next(at)) is not None:
            at, made = found
            if made is not None:
                yield made
        self._text = self._text[self._after_blanks(at) :]
        if len(self._text) > MOST:
            raise MalformedJson(f"an object is malformed, or longer than {MOST} characters")

    def close(self) -> None:
        """The text has ended. Raises MalformedJson where the array has not."""
        if not self._ended and (self._began or self._text.strip()):
            raise MalformedJson("it ends inside the array, or is none")

    def _next(self, at: int) -> tuple[int, dict[str, Any] | None] | None:
        """(where to go on, an object or None) after one bracket or object; None for more text."""
        at = self._after_blanks(at)
        if at == len(self._text) or self._ended:
            return None
        letter = self._text[at]
        if not self._began:
            if letter != "[":
                raise MalformedJson("it is no array")
            self._began = True
            return at + 1, None
        if letter == "]":
            self._ended = True
            return at + 1, None
        if letter == ",":
            return at + 1, None
        if letter != "{":
            raise MalformedJson("the array holds something else than objects")
        try:
            made, end = self._json.raw_decode(self._text, at)
        except ValueError:
            return None
        except RecursionError:
            raise MalformedJson("it is nested too deep") from None
        return end, made

    def _after_blanks(self, at: int) -> int:
        while at < len(self._text) and self._text[at] in _BLANK:
            at += 1
        return at
