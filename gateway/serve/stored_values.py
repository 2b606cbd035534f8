"""The value of one attribute where it stands in a Part 10 file: found in a thread, or a worker."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from gateway.dataset.elements import UNDEFINED, fragments
from gateway.dataset.find import Place, find
from gateway.dataset.json_model import PIXELS
from gateway.dataset.part10 import FileMeta, read_file_meta
from gateway.dataset.text import decoded
from gateway.dicomweb.media_types import OCTET_STREAM, of_frames, part_type
from gateway.failures import PermanentFailure
from gateway.transcode.limits import allow
from gateway.transcode.source import open_bytes
from gateway.transfer_syntax import BY_UID, EXPLICIT_LE

_DOCUMENT: Final = "00420011"
_DOCUMENT_TYPE: Final = "00420012"
_DOCUMENT_LENGTH: Final = "00420015"
_SAID: Final = re.compile(r"application/pdf|text/xml|model/[a-z0-9.+-]{1,64}")
"""Media types of documents that are said. Any other is octets, so that a document that came with
an instance (text/html) is never taken for a page of this server."""

_IN_CHARACTER_SET: Final = frozenset(("LO", "LT", "SH", "ST", "UC", "UT"))
_LONGEST_TEXT: Final = 64 << 20


class NoValue(PermanentFailure):
    """Nothing stands at that path."""


class IsSequence(PermanentFailure):
    """What stands at that path has no value of its own."""


@dataclass(frozen=True, slots=True)
class Value:
    """A value: ``spans`` (offset, length) of ``file``, or ``data`` where it had to be made.

    ``media_type`` is its own; ``transfer_syntax`` that of pixels, "" for all others.
    """

    file: Path
    spans: tuple[tuple[int, int], ...]
    media_type: str = OCTET_STREAM
    transfer_syntax: str = ""
    data: bytes = b""

    @property
    def size(self) -> int:
        """Its length in bytes."""
        return len(self.data) or sum(size for _, size in self.spans)

    def content_type(self, media_type: str) -> str:
        """What a header says of it, given as ``media_type``."""
        return part_type(media_type, self.transfer_syntax) if self.transfer_syntax else media_type

    def part(self, start: int, stop: int) -> "Value":
        """The bytes [start, stop) of it."""
        if self.data:
            return replace(self, data=self.data[start:stop])
        return replace(self, spans=tuple(within(self.spans, start, stop)))


def within(spans: Sequence[tuple[int, int]], start: int, stop: int) -> Iterator[tuple[int, int]]:
    """The parts of ``spans`` that make up the bytes [start, stop) of what they are together."""
    at = 0
    for offset, size in spans:
        first, last = max(start - at, 0), min(stop - at, size)
        if first < last:
            yield offset + first, last - first
        at += size


def value_in(file: Path, path: str) -> Value | None:
    """The value at a path of a Part 10 file (``dataset.find``); None where it has to be derived.

    Raises NoValue, IsSequence, MalformedDataSet, TemporaryFailure where it cannot be read.
    """
    allow(0)
    data = open_bytes(file)
    meta = read_file_meta(data)
    syntax = BY_UID.get(meta.transfer_syntax, BY_UID[EXPLICIT_LE])
    if syntax.deflated or not syntax.little_endian:
        return None
    place = find(data, meta.dataset_offset, len(data), syntax, path)
    if place is None:
        raise NoValue(f"the instance has no value at {path}")
    tag, _, _, at, length, _ = place.element
    if tag in PIXELS:
        return _pixels(file, data, meta, place, nested="/" in path)
    if place.vr == "SQ" or length == UNDEFINED:
        raise IsSequence(f"{path} is a sequence; bulk data are values")
    if path == _DOCUMENT:
        return _document(file, data, meta, place)
    if place.vr in _IN_CHARACTER_SET and place.charsets.strip() and length <= _LONGEST_TEXT:
        text = decoded(bytes(data[at : at + length]), place.charsets)
        return Value(file, (), data=text.encode(errors="replace"))
    return Value(file, ((at, length),))


def _pixels(file: Path, data: Any, meta: FileMeta, place: Place, *, nested: bool) -> Value | None:
    """Native pixels where they stand, a video as its stream; None for what is compressed.

    ``nested`` pixels are an icon's.
    """
    element, syntax = place.element, None if nested else BY_UID.get(meta.transfer_syntax)
    framed = element.length == UNDEFINED
    if syntax is not None and syntax.video:
        spans = fragments(data, element)[1:] if framed else [(element.value, element.length)]
        return Value(file, tuple(spans), of_frames(syntax.uid), syntax.uid)
    if framed or (syntax is not None and syntax.encapsulated):
        return None
    return Value(file, ((element.value, element.length),), transfer_syntax=EXPLICIT_LE)


def _document(file: Path, data: Any, meta: FileMeta, place: Place) -> Value:
    """An Encapsulated Document by its media type, without the byte that pads it (C.24.2)."""

    def sibling(path: str) -> bytes:
        found = find(data, meta.dataset_offset, len(data), place.syntax, path)
        return bytes(data[found.element.value : found.element.end][:256]) if found else b""

    at, length = place.element.value, place.element.length
    stated = sibling(_DOCUMENT_LENGTH)
    if len(stated) == 4 and int.from_bytes(stated, "little") == length - 1:
        length -= 1
    said = sibling(_DOCUMENT_TYPE).decode("latin-1").strip(" \0").lower()
    return Value(file, ((at, length),), said if _SAID.fullmatch(said) else OCTET_STREAM)
