"""A data set in Explicit VR Little Endian from its JSON Model (PS3.18 Annex F, PS3.5 7.1).

What is elsewhere (BulkDataURI) stays there: the result is a list of pieces, bytes and ranges of
files, so that pixels never come into memory. Specific Character Set becomes ISO_IR 192, since
the text is UTF-8. Group lengths, group 0002 and Available Transfer Syntax UID are left out: they
are of the file, not of the data set.
"""

import binascii
import re
from base64 import b64decode
from collections.abc import Callable, Mapping
from pathlib import Path
from struct import Struct
from typing import Any, Final, NamedTuple, TypeAlias

from gateway.dataset.dictionary import vr_of
from gateway.dataset.encode_values import value_bytes
from gateway.dataset.heads import (
    DEFAULT_LIMITS,
    LONG_VRS,
    PIXEL_DATA,
    SHORT_VRS,
    UNDEFINED,
    Limits,
)
from gateway.dataset.json_model import CHARACTER_SET, UTF_8
from gateway.dataset.parse_model import InvalidMetadata, Model
from gateway.model import UID
from gateway.value_representation import BINARY

_TAG: Final = re.compile(r"[0-9A-F]{8}").fullmatch
_CONTENTS: Final = ("Value", "InlineBinary", "BulkDataURI")
_AVAILABLE: Final = 0x00083002
_LONGEST: Final = 2**32 - 2
_LONGEST_SHORT: Final = 0xFFFE
_ITEM: Final = Struct("<HHI")
_SHORT: Final = Struct("<HH2sH")
_LONG: Final = Struct("<HH2sHI")
_NUL_PADDED: Final = frozenset(("UI", *BINARY))


class FileRange(NamedTuple):
    """``length`` bytes of a file from ``offset`` on."""

    file: Path
    offset: int
    length: int


class BulkData(NamedTuple):
    """Where bulk data is. ``frames`` says that it is compressed: each range is one frame."""

    ranges: tuple[FileRange, ...]
    frames: bool = False


Piece: TypeAlias = bytes | FileRange
Resolve: TypeAlias = Callable[[str], BulkData | None]
"""Where the bulk data of a BulkDataURI is, None where it names nothing that came along."""


def encode_model(model: Model, resolve: Resolve, limits: Limits = DEFAULT_LIMITS) -> list[Piece]:
    """The data set, without File Meta Information, in the order of its tags.

    Raises InvalidMetadata, which names the path of the offending attribute.
    """
    return _Encoder(resolve, limits).data_set(model, "", 0, top=True)


def text_at(model: Model, tag: int) -> str:
    """The first value of a top-level attribute that is text, "" where there is none."""
    attribute = model.get(f"{tag:08X}") or model.get(f"{tag:08x}")
    values = attribute.get("Value") if isinstance(attribute, dict) else None
    first = values[0] if isinstance(values, list) and values else ""
    return first.strip(" \0") if isinstance(first, str) else ""


def said_syntax(model: Model) -> UID:
    """The transfer syntax that metadata name for the pixels, "" where they name none."""
    return text_at(model, _AVAILABLE) or text_at(model, 0x00020010)


def size_of(pieces: list[Piece]) -> int:
    """The length of what was encoded, in bytes."""
    return sum(piece.length if isinstance(piece, FileRange) else len(piece) for piece in pieces)


class _Encoder:
    def __init__(self, resolve: Resolve, limits: Limits) -> None:
        self._resolve, self._limits = resolve, limits
        self._beyond_ascii = False

    def data_set(self, model: Any, path: str, depth: int, *, top: bool = False) -> list[Piece]:
        """The elements of a data set or item; ``path`` stands before the tags in it."""
        if not isinstance(model, dict):
            raise InvalidMetadata(f"{path or 'the data set'}: no object where a data set is due")
        if depth > self._limits.depth:
            raise InvalidMetadata(
                f"{path}: more than {self._limits.depth} sequences within each other"
            )
        tagged = _by_tag(model, path)
        if len(tagged) > self._limits.elements:
            raise InvalidMetadata(f"{path}: more than {self._limits.elements} attributes")
        encoded = {
            tag: self._element(tag, attribute, f"{path}{tag:08X}", depth)
            for tag, attribute in tagged.items()
            if tag != CHARACTER_SET
        }
        needed = (top and self._beyond_ascii) or _has_value(tagged.get(CHARACTER_SET))
        if needed or CHARACTER_SET in tagged:
            said = UTF_8.encode() if needed else b""
            encoded[CHARACTER_SET] = _framed(CHARACTER_SET, "CS", [said], "")
        return _joined([piece for tag in sorted(encoded) for piece in encoded[tag]])

    def _element(self, tag: int, attribute: Any, path: str, depth: int) -> list[Piece]:
        if not isinstance(attribute, dict):
            raise InvalidMetadata(f"{path}: no object where an attribute is due")
        vr = _vr(tag, attribute, path)
        present = [name for name in _CONTENTS if attribute.get(name) is not None]
        if len(present) > 1:
            raise InvalidMetadata(f"{path}: has {' and '.join(present)}; at most one may be there")
        content = attribute[present[0]] if present else []
        if present == ["BulkDataURI"]:
            return self._bulk(tag, vr, content, path)
        if present == ["InlineBinary"]:
            return _framed(tag, vr, [_inline(vr, content, path)], path)
        if not isinstance(content, list):
            raise InvalidMetadata(f"{path}: Value is no array")
        if vr == "SQ":
            return _framed(tag, vr, self._items(content, path, depth), path)
        return _framed(tag, vr, [self._value(vr, content, path)], path)

    def _value(self, vr: str, values: list[Any], path: str) -> bytes:
        if vr in BINARY and values:
            raise InvalidMetadata(f"{path}: {vr} has InlineBinary or BulkDataURI, and no Value")
        try:
            value = value_bytes(vr, values)
        except UnicodeEncodeError:
            raise InvalidMetadata(f"{path}: half of a surrogate pair, which is no text") from None
        except ValueError as error:
            raise InvalidMetadata(f"{path}: {error}") from error
        if vr not in ("US", "SS", "UL", "SL", "UV", "SV", "FL", "FD", "AT"):
            self._beyond_ascii = self._beyond_ascii or not value.isascii()
        return value

    def _items(self, items: list[Any], path: str, depth: int) -> list[Piece]:
        if len(items) > self._limits.items:
            raise InvalidMetadata(f"{path}: more than {self._limits.items} items")
        pieces: list[Piece] = []
        for number, item in enumerate(items, 1):
            inside = self.data_set(item, f"{path}/{number}/", depth + 1)
            pieces += [_ITEM.pack(0xFFFE, 0xE000, _fitting(size_of(inside), path)), *inside]
        return pieces

    def _bulk(self, tag: int, vr: str, uri: Any, path: str) -> list[Piece]:
        if isinstance(uri, list) and len(uri) == 1:
            uri = uri[0]
        found = self._resolve(uri) if isinstance(uri, str) and vr != "SQ" else None
        if found is None:
            raise InvalidMetadata(f"{path}: its BulkDataURI names nothing that was sent along")
        if found.frames:
            if tag != PIXEL_DATA or "/" in path:
                raise InvalidMetadata(f"{path}: compressed frames can only be Pixel Data")
            return _encapsulated(found, path)
        self._beyond_ascii = self._beyond_ascii or vr in ("LT", "ST", "UT", "UC")
        return _framed(tag, vr, list(found.ranges), path)


def _joined(pieces: list[Piece]) -> list[Piece]:
    """The same with bytes that follow each other in one piece."""
    found: list[Piece] = []
    together: list[bytes] = []
    for piece in pieces:
        if isinstance(piece, FileRange):
            found += [b"".join(together), piece]
            together = []
        else:
            together.append(piece)
    return [*found, b"".join(together)]


def _has_value(attribute: Any) -> bool:
    values = attribute.get("Value") if isinstance(attribute, dict) else None
    return bool(values) and values != [None]


def _by_tag(model: Mapping[str, Any], path: str) -> dict[int, Any]:
    """The attributes by their tags, without those that no data set has."""
    found: dict[int, Any] = {}
    for name, attribute in model.items():
        if not _TAG(name.upper()):
            raise InvalidMetadata(f"{path}{name[:40]!r} is no tag: eight hexadecimal digits")
        tag = int(name, 16)
        group = tag >> 16
        if group in (0xFFFE, 0xFFFF) or (group < 8 and group not in (2, 4)):
            raise InvalidMetadata(f"{path}{name}: a tag that no data set can have")
        if tag in found:
            raise InvalidMetadata(f"{path}{name} stands twice in one data set")
        if group != 2 and tag & 0xFFFF and (tag != _AVAILABLE or path):
            found[tag] = attribute
    return found


def _vr(tag: int, attribute: Mapping[str, Any], path: str) -> str:
    """The VR as said, or that of the dictionary where none is said and only one is possible."""
    vr = attribute.get("vr") or vr_of(tag)
    if not isinstance(vr, str) or (vr not in SHORT_VRS and vr not in LONG_VRS):
        said = repr(vr)[:16] if "vr" in attribute else "none"
        raise InvalidMetadata(f"{path}: its VR is {said}, which PS3.5 does not define")
    return vr


def _inline(vr: str, content: Any, path: str) -> bytes:
    if isinstance(content, list) and len(content) == 1:
        content = content[0]
    if vr not in BINARY or not isinstance(content, str):
        raise InvalidMetadata(
            f"{path}: InlineBinary is the base64 text of a binary VR, not of {vr}"
        )
    try:
        return b64decode(content, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidMetadata(f"{path}: InlineBinary is not base64") from error


def _fitting(length: int, path: str) -> int:
    if length > _LONGEST:
        raise InvalidMetadata(f"{path}: {length} bytes, more than a length can say")
    return length


def _framed(tag: int, vr: str, value: list[Any], path: str) -> list[Piece]:
    """A whole element: its head, its value, a byte to pad it."""
    length = _fitting(size_of(value), path)
    odd = length & 1
    words = tag >> 16, tag & 0xFFFF
    if vr in SHORT_VRS and length + odd > _LONGEST_SHORT:
        if "OW" not in vr_of(tag):
            raise InvalidMetadata(f"{path}: {length} bytes, more than a {vr} can have")
        vr = "OW"
    if vr in SHORT_VRS:
        head = _SHORT.pack(*words, vr.encode(), length + odd)
    else:
        head = _LONG.pack(*words, vr.encode(), 0, length + odd)
    pad = [b"\0" if vr in _NUL_PADDED else b" "] if odd else []
    return [head, *value, *pad]


def _encapsulated(found: BulkData, path: str) -> list[Piece]:
    """Compressed frames, each in one fragment, with an empty Basic Offset Table (A.4)."""
    pieces: list[Piece] = [
        _LONG.pack(0x7FE0, 0x0010, b"OB", 0, UNDEFINED),
        _ITEM.pack(0xFFFE, 0xE000, 0),
    ]
    for frame in found.ranges:
        odd = frame.length & 1
        pieces.append(_ITEM.pack(0xFFFE, 0xE000, _fitting(frame.length + odd, path)))
        pieces.append(frame)
        pieces += [b"\0"] if odd else []
    return [*pieces, _ITEM.pack(0xFFFE, 0xE0DD, 0)]
