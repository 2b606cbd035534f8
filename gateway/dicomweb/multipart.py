"""multipart/related bodies read and written as streams (RFC 2046 5.1, RFC 2387), without I/O.

The reader holds no more than a delimiter's length or one part's header, whatever comes. Forgiven
are a preamble, an epilogue, line feeds alone, white space behind a boundary, and a part without
content whose line break is missing; never a body that ends before its closing delimiter.
"""

import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

from gateway.dicomweb.media_types import MediaType
from gateway.failures import PermanentFailure

_LONGEST_BOUNDARY: Final = 256
"""RFC 2046 allows 70 characters; Orthanc sends 73."""
_PADDING: Final = 256
"""White space between a boundary and its line break that is waited for."""
_RETURN: Final = 0x0D


class MalformedMultipart(PermanentFailure):
    """The body is no multipart of its Content-Type; the text names what, and the offset."""


@dataclass(frozen=True, slots=True)
class Limits:
    """``header``: bytes of one part's header; ``parts``; ``preamble``: bytes before the first."""

    header: int = 16 << 10
    parts: int = 100_000
    preamble: int = 64 << 10


DEFAULT_LIMITS: Final = Limits()


@dataclass(frozen=True, slots=True)
class PartBegins:
    """A part's header fields, by lower-case name."""

    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class PartData:
    """Some of the part's content, as it comes."""

    data: memoryview


@dataclass(frozen=True, slots=True)
class PartEnds:
    """The part is whole."""


Event: TypeAlias = PartBegins | PartData | PartEnds


class _Delimiter(NamedTuple):
    """From the line break before the boundary on, ``end`` is behind that after it."""

    start: int
    end: int
    closes: bool


class Reader:
    """Turns the bytes of a body into parts, however the bytes are cut."""

    def __init__(self, boundary: str, limits: Limits = DEFAULT_LIMITS) -> None:
        self._needle = b"\n--" + boundary.encode("latin-1", "replace")
        self._limits = limits
        # The line break before a delimiter may be the one that ends the header, or stand before
        # the body: it is waiting, and ``_own`` says how much of what waits is no content.
        self._waiting = b"\n"
        self._at = 0
        self._own = 1
        self._offset = -1
        self._strict: bool | None = None
        self._parts = 0
        self._lines: list[bytes] = []
        self._header_at = 0
        self._step: Callable[[], list[Event] | None] = self._preamble

    def feed(self, data: bytes | bytearray | memoryview) -> Iterator[Event]:
        """What ``data`` adds; to be exhausted before the next call. Raises MalformedMultipart."""
        rest = self._waiting[self._at :]
        self._offset += self._at
        self._waiting = b"".join((rest, data)) if rest else bytes(data)
        self._at = 0
        while (events := self._step()) is not None:
            yield from events

    def close(self) -> None:
        """The body has ended. Raises MalformedMultipart when no closing delimiter was met."""
        if self._step == self._epilogue:
            return
        end = self._offset + len(self._waiting)
        if self._step == self._preamble and not self._parts:
            raise MalformedMultipart(
                f"the multipart body of {end} bytes ends before its first boundary "
                f"{self._needle[1:].decode('latin-1')!r}: is it the boundary of the Content-Type?"
            )
        raise MalformedMultipart(
            f"the multipart body is cut off at offset {end}, inside part {self._parts}"
        )

    def _preamble(self) -> list[Event] | None:
        found = self._delimiter()
        if self._offset + (found.start if found else len(self._waiting)) > self._limits.preamble:
            raise MalformedMultipart(
                f"no boundary {self._needle[1:].decode('latin-1')!r} in the first "
                f"{self._limits.preamble} bytes of the multipart body"
            )
        if found is not None and found.end:
            return self._pass(found)
        self._at = self._safe(found)
        return None

    def _content(self) -> list[Event] | None:
        start = self._at + self._own
        found = self._delimiter()
        if found is not None and found.end:
            returns = self._strict and found.start > start
            returns = returns and self._waiting[found.start - 1] == _RETURN
            stop = found.start - 1 if returns else found.start
            return [*self._piece(start, stop), PartEnds(), *self._pass(found)]
        stop = self._safe(found)
        if stop <= start:
            return None
        self._at, self._own = stop, 0
        return self._piece(start, stop)

    def _epilogue(self) -> list[Event] | None:
        self._at = len(self._waiting)
        return None

    def _header(self) -> list[Event] | None:
        """Header fields up to an empty line, whose line break may also begin a delimiter.

        Each line is looked at once, however small the pieces are that it comes in.
        """
        most = self._header_at + self._limits.header - self._offset
        while (end := self._waiting.find(b"\n", self._at, most)) >= 0:
            line = self._waiting[self._at : end].removesuffix(b"\r")
            if not line:
                headers = self._fields(self._lines)
                self._at, self._own, self._step = end, 1, self._content
                return [PartBegins(headers)]
            self._lines.append(line)
            self._at = end + 1
        if len(self._waiting) >= most:
            raise MalformedMultipart(
                f"the header of part {self._parts} at offset {self._header_at} is longer "
                f"than {self._limits.header} bytes"
            )
        return None

    def _fields(self, lines: list[bytes]) -> dict[str, str]:
        found: dict[str, str] = {}
        last = ""
        for line in lines:
            text = line.decode("latin-1")
            name, colon, value = text.partition(":")
            if text[0] in " \t" and last:
                found[last] += f" {text.strip()}"
            elif colon and name.strip():
                last = name.strip().lower()
                found[last] = value.strip()
            else:
                raise MalformedMultipart(
                    f"the header of part {self._parts} at offset {self._header_at} has a "
                    "line without a colon"
                )
        return found

    def _delimiter(self) -> _Delimiter | None:
        """The next one from ``_at`` on; its end is 0 where the bytes that decide are to come."""
        start = self._at
        while (start := self._waiting.find(self._needle, start)) >= 0:
            name_ends = start + len(self._needle)
            tail = self._waiting[name_ends : name_ends + _PADDING + 2]
            after = _after_boundary(tail)
            if after is None:
                return _Delimiter(start, 0, False)
            if after:
                return _Delimiter(start, name_ends + after, tail.startswith(b"--"))
            start += 1
        return None

    def _pass(self, found: _Delimiter) -> list[Event]:
        self._at = found.end
        if found.closes:
            self._step = self._epilogue
            return []
        if self._strict is None:
            self._strict = self._waiting[found.end - 2] == _RETURN
        self._parts += 1
        if self._parts > self._limits.parts:
            raise MalformedMultipart(
                f"more than {self._limits.parts} parts, at offset {self._offset + found.start}"
            )
        self._lines, self._header_at = [], self._offset + found.end
        self._step = self._header
        return []

    def _safe(self, open_one: _Delimiter | None) -> int:
        """The place up to which no delimiter begins, not even one that is still to come."""
        waiting, needle = self._waiting, self._needle
        line = open_one.start if open_one else -1
        if line < 0:
            line = waiting.rfind(b"\n", max(self._at, len(waiting) - len(needle)))
            if line < 0 or not needle.startswith(waiting[line:]):
                line = len(waiting)
        return line - 1 if line > self._at and waiting[line - 1] == _RETURN else line

    def _piece(self, start: int, stop: int) -> list[Event]:
        return [PartData(memoryview(self._waiting)[start:stop])] if stop > start else []


def _after_boundary(tail: bytes) -> int | None:
    """How many bytes belong to the delimiter; 0 where it is none, None where that is open yet."""
    if tail.startswith(b"--"):
        return 2
    text = tail.lstrip(b" \t")
    padding = len(tail) - len(text)
    if text.startswith(b"\n"):
        return padding + 1
    if text.startswith(b"\r\n"):
        return padding + 2
    undecided = text in (b"", b"\r") or tail == b"-"
    return None if undecided and padding <= _PADDING else 0


def boundary_of(content_type: MediaType) -> str:
    """The boundary of a multipart Content-Type. Raises MalformedMultipart where it has none."""
    if not content_type.type.startswith("multipart/"):
        raise MalformedMultipart(
            f"the Content-Type is {content_type.type[:80] or 'missing'}, not multipart/related"
        )
    boundary = content_type.parameters.get("boundary", "").rstrip()
    if not 1 <= len(boundary) <= _LONGEST_BOUNDARY or not boundary.isprintable():
        raise MalformedMultipart(
            f"the multipart Content-Type needs a boundary of 1 to {_LONGEST_BOUNDARY} printable "
            "characters"
        )
    return boundary


def new_boundary() -> str:
    """A boundary that stands in no content: 128 random bits."""
    return secrets.token_hex(16)


def part_head(boundary: str, headers: Mapping[str, str], first: bool = False) -> bytes:
    """The delimiter and header that go before a part's content; ``first`` of the body."""
    start = "" if first else "\r\n"
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"{start}--{boundary}\r\n{lines}\r\n".encode("latin-1", "replace")


def closing(boundary: str) -> bytes:
    """What goes behind the last part; a body without parts is this alone."""
    return f"\r\n--{boundary}--\r\n".encode("ascii")
