"""Media types as HTTP and multipart headers write them, and those of pixels (RFC 9110 8.3.1).

What peers send is read tolerantly: values quoted or not, a "/" in an unquoted one, a quote that is
never closed. What is written is strict.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from gateway.model import UID
from gateway.transfer_syntax import (
    BY_UID,
    J2K,
    J2K_LOSSLESS,
    J2K_PART2,
    J2K_PART2_LOSSLESS,
    JPEG_LS,
    JPEG_LS_NEAR,
    RLE,
)

DICOM: Final = "application/dicom"
DICOM_JSON: Final = "application/dicom+json"
DICOM_XML: Final = "application/dicom+xml"
JSON: Final = "application/json"
OCTET_STREAM: Final = "application/octet-stream"
MULTIPART: Final = "multipart/related"
ANYTHING: Final = "*/*"
OLD_NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "image/x-dicom-rle": "image/dicom-rle",
        "image/dicom+rle": "image/dicom-rle",
        "image/x-jls": "image/jls",
        "image/dicom+jpeg-ls": "image/jls",
        "image/dicom+jpeg": "image/jpeg",
        "image/dicom+jp2": "image/jp2",
        "image/dicom+jpx": "image/jpx",
        "image/jll": "image/jpeg",
        "video/mpeg2": "video/mpeg",
    }
)
"""Names of earlier editions of PS3.18 that clients still send, and those of today."""

_NO_PARAMETERS: Final[Mapping[str, str]] = MappingProxyType({})
_TOKEN: Final = re.compile(r"[0-9A-Za-z!#$%&'*+.^_`|~-]+")
_4: Final = "1.2.840.10008.1.2.4."
_FRAMES: Final = {
    RLE: "image/dicom-rle",
    JPEG_LS: "image/jls",
    JPEG_LS_NEAR: "image/jls",
    J2K_LOSSLESS: "image/jp2",
    J2K: "image/jp2",
    J2K_PART2_LOSSLESS: "image/jpx",
    J2K_PART2: "image/jpx",
    **dict.fromkeys((_4 + "201", _4 + "202", _4 + "203"), "image/jphc"),
    **dict.fromkeys((_4 + "110", _4 + "111", _4 + "112"), "image/jxl"),
    **dict.fromkeys((_4 + "100", _4 + "100.1", _4 + "101", _4 + "101.1"), "video/mpeg"),
    **dict.fromkeys((_4 + "107", _4 + "108"), "video/H265"),
}


@dataclass(frozen=True, slots=True)
class MediaType:
    """``type`` in lower case, such as "multipart/related"; ``parameters`` by lower-case name."""

    type: str
    parameters: Mapping[str, str] = field(default_factory=lambda: _NO_PARAMETERS)

    def __str__(self) -> str:
        """As it stands in a header; values that are no tokens are quoted."""
        texts = (f"{name}={_written(value)}" for name, value in self.parameters.items())
        return "; ".join((self.type, *texts))


def parse_media_type(text: str) -> MediaType:
    """The media type in a Content-Type header; the type is "" where there is none."""
    pieces = list(pieces_of(text, ";"))
    return MediaType(pieces[0].lower() if pieces else "", parameters_of(pieces[1:]))


def parameters_of(pieces: list[str]) -> dict[str, str]:
    """``name=value`` texts by lower-case name, the first of a name counts."""
    found: dict[str, str] = {}
    for piece in pieces:
        name, equals, value = piece.partition("=")
        if equals:
            found.setdefault(name.strip().lower(), unquoted(value.strip()))
    return found


def pieces_of(text: str, separator: str) -> Iterator[str]:
    """The texts between separators that stand in no quotes, stripped; empty ones are left out.

    A quote opens only behind "=", and one that is never closed is taken for a letter.
    """
    start = position = 0
    while position < len(text):
        letter = text[position]
        if letter == '"' and text[start:position].rstrip().endswith("="):
            position = _closing_quote(text, position)
        elif letter == separator:
            if piece := text[start:position].strip():
                yield piece
            start = position + 1
        position += 1
    if piece := text[start:].strip():
        yield piece


def _closing_quote(text: str, opening: int) -> int:
    """Where the quoted text that opens here closes; ``opening`` itself where it never does."""
    position = opening + 1
    while position < len(text):
        if text[position] == '"':
            return position
        position += 2 if text[position] == "\\" else 1
    return opening


def unquoted(value: str) -> str:
    """A parameter's value without quotes and escapes, also where the closing quote is missing."""
    if not value.startswith('"'):
        return value
    inside = value[1:-1] if len(value) > 1 and value.endswith('"') else value[1:]
    letters = iter(inside)
    return "".join(next(letters, "") if letter == "\\" else letter for letter in letters)


def of_frames(transfer_syntax: UID) -> str:
    """The media type of frames as stored in a transfer syntax (PS3.18 8.7.3.3)."""
    known = BY_UID.get(transfer_syntax)
    if transfer_syntax in _FRAMES:
        return _FRAMES[transfer_syntax]
    if known is not None and known.video:
        return "video/mp4"
    return "image/jpeg" if transfer_syntax.startswith(_4) else OCTET_STREAM


def part_type(media_type: str, transfer_syntax: UID) -> str:
    """The Content-Type of a part, or of a body that is one: clients need the transfer syntax."""
    return f"{media_type}; transfer-syntax={transfer_syntax}"


def _written(value: str) -> str:
    if _TOKEN.fullmatch(value):
        return value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
