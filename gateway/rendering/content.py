"""Objects that hold a finished document or video: where its bytes stand in the stored file.

They are passed through as stored (PS3.18 8.7.4): the MPEG stream in the fragments of Pixel Data
(PS3.5 8.2.5 and following), or the Encapsulated Document (PS3.3 C.24.2).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

from gateway.dataset.elements import UNDEFINED, Element, elements, fragments
from gateway.rendering.attributes import Attributes
from gateway.rendering.refusals import NothingToShow
from gateway.transcode.limits import allow
from gateway.transcode.source import Source, open_source
from gateway.transfer_syntax import name_of

Span: TypeAlias = tuple[int, int]
"""(offset, length) of a run of bytes in the file."""

_DOCUMENT: Final = 0x00420011
_MEDIA_TYPE: Final = 0x00420012
_LENGTH: Final = 0x00420015
_PACKET: Final = 188
_NAMES: Final = {"mpeg2": "video/mpeg", "mpeg4": "video/mp4", "hevc": "video/H265"}


@dataclass(frozen=True, slots=True)
class Content:
    """``spans`` of the stored file, one behind the other, are a file of ``media_types``.

    The first media type is what it is by its own bytes, another one what PS3.18 8.7.4 calls
    objects of its transfer syntax.
    """

    media_types: tuple[str, ...]
    spans: tuple[Span, ...]

    @property
    def size(self) -> int:
        """Bytes in all."""
        return sum(length for _, length in self.spans)


def video(path: Path) -> Content:
    """The video stream of a stored object. Runs in a worker.

    Raises NothingToShow where there is none, PermanentFailure for what is no such object.
    """
    allow(0)
    source = open_source(path, path.parent)
    if source.pixels is None:
        raise NothingToShow("the object has no Pixel Data: there is no video in it")
    spans = _stream(source, source.pixels)
    if not spans:
        raise NothingToShow("Pixel Data holds no fragment with content: there is no video in it")
    head = bytes(source.data[spans[0][0] : spans[0][0] + min(spans[0][1], _PACKET + 1)])
    found = dict.fromkeys((*_by_its_bytes(head), _by_syntax(source)))
    return Content(tuple(found), spans)


def document(path: Path) -> Content:
    """The document that a stored object encapsulates. Runs in a worker; raises as ``video``."""
    allow(0)
    source = open_source(path, path.parent)
    if source.inflated:
        raise NothingToShow("a document in a deflated object is given as application/dicom only")
    found = elements(source.data, source.start, source.end, source.syntax)
    element = next((one for one in found if one.tag == _DOCUMENT), None)
    if element is None or element.length in (0, UNDEFINED):
        raise NothingToShow("the object has no Encapsulated Document")
    attributes = Attributes(source.data, source.start, source.end, source.syntax)
    media_type = attributes.text(_MEDIA_TYPE).lower()
    stated = int(attributes.number(_LENGTH) or element.length)
    whole = element.length - 1 <= stated <= element.length
    length = stated if whole else element.length
    return Content((_plain(media_type),), ((element.value, length),))


def _plain(media_type: str) -> str:
    """A media type that can stand in a header; what is none is a run of bytes."""
    main, slash, rest = media_type.partition("/")
    letters = f"{main}{rest}"
    fit = slash and main and rest and letters.isascii()
    fit = fit and all(letter.isalnum() or letter in "-+._" for letter in letters)
    return media_type if fit else "application/octet-stream"


def _stream(source: Source, element: Element) -> tuple[Span, ...]:
    if element.length != UNDEFINED:
        return ((element.value, element.length),)
    found: list[Any] = fragments(source.data, element)
    return tuple(span for span in found[1:] if span[1])


def _by_its_bytes(head: bytes) -> list[str]:
    """By container: MP4 (ISO 14496-12), MPEG-2 transport or program stream (ISO 13818-1)."""
    if head[4:8] == b"ftyp":
        return ["video/mp4"]
    if head[:1] == b"G" and head[_PACKET : _PACKET + 1] in (b"G", b""):
        return ["video/mp2t"]
    return ["video/mpeg"] if head[:4] in (b"\0\0\1\xba", b"\0\0\1\xb3") else []


def _by_syntax(source: Source) -> str:
    return _NAMES.get(name_of(source.meta.transfer_syntax).partition("-")[0], "video/mpeg")
