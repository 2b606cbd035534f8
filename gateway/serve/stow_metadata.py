"""The parts of a STOW-RS body that has metadata and bulk data apart (PS3.18 10.5.1.2, 8.7.3).

Metadata are JSON (any number of objects in a part) or XML (one). Each other part is bulk data: it
goes into one scratch file while it arrives, and is found by its Content-Location, which is the
BulkDataURI of the attribute it belongs to. Only a body that came whole becomes instances.
"""

import asyncio
import os
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote, urlsplit

from gateway.dataset.encode_model import (
    BulkData,
    FileRange,
    Piece,
    encode_model,
    said_syntax,
    text_at,
)
from gateway.dataset.parse_model import LONGEST, InvalidMetadata, Model, parse_json, parse_xml
from gateway.dataset.part10 import encode_file_meta
from gateway.dicomweb.media_types import (
    DICOM_JSON,
    DICOM_XML,
    OCTET_STREAM,
    parse_media_type,
)
from gateway.failures import TemporaryFailure
from gateway.incoming import UnknownTransferSyntax
from gateway.model import UID
from gateway.spool import Part
from gateway.transfer_syntax import BY_UID, EXPLICIT_LE

METADATA: Final = (DICOM_JSON, DICOM_XML)
"""The media types of parts that are metadata."""

MOST_INSTANCES: Final = 20_000
"""Instances of one request."""

_PIXEL_DATA: Final = "7FE00010"
_PIECE: Final = 1 << 20
_SOP_CLASS: Final = 0x00080016
_SOP_INSTANCE: Final = 0x00080018


@dataclass(slots=True)
class _Bulk:
    """The parts of one Content-Location; ``transfer_syntax`` is that of frames, "" without."""

    ranges: list[FileRange] = field(default_factory=list)
    media_type: str = ""
    transfer_syntax: UID = ""

    @property
    def compressed(self) -> bool:
        """Whether each part is a frame in a coding, by its transfer syntax or media type."""
        syntax = BY_UID.get(self.transfer_syntax)
        if syntax is not None:
            return syntax.encapsulated
        return self.media_type.startswith(("image/", "video/"))


@dataclass(frozen=True, slots=True)
class Described:
    """One instance as the metadata say it: its UIDs ("" where they lack), its whole tree."""

    sop_class_uid: UID
    sop_instance_uid: UID
    model: Model


class MetadataParts:
    """Takes the parts as they come; ``scratch`` is where bulk data wait, the caller's to abort."""

    def __init__(self, scratch: Part) -> None:
        self._scratch = scratch
        self._texts: list[tuple[str, bytearray]] = []
        self._held = 0
        self._bulk: dict[str, _Bulk] = {}
        self._text: bytearray | None = None
        self._start = 0
        self._into = _Bulk()

    def begin(self, headers: Mapping[str, str]) -> None:
        """A part begins, with these header fields by lower-case name. Raises InvalidMetadata."""
        content = parse_media_type(headers.get("content-type", ""))
        self._text = None
        if content.type in METADATA:
            self._text = bytearray()
            self._texts.append((content.type, self._text))
            return
        where = _name(headers.get("content-location") or headers.get("content-id", ""))
        if not where:
            raise InvalidMetadata(
                f"a part of {content.type[:60] or 'no media type'} without Content-Location: "
                "it is neither metadata nor the bulk data of an attribute"
            )
        self._into = self._bulk.setdefault(where, _Bulk())
        self._into.media_type = content.type or OCTET_STREAM
        self._into.transfer_syntax = content.parameters.get("transfer-syntax", "")
        self._start = self._scratch.size

    def write(self, data: bytes | memoryview) -> None:
        """Some of the part's content. Raises InvalidMetadata, TemporaryFailure."""
        if self._text is None:
            self._scratch.write(data)
            return
        self._held += len(data)
        if self._held > LONGEST:
            raise InvalidMetadata(f"metadata of more than {LONGEST} bytes")
        self._text += data

    def end(self) -> None:
        """The part is whole."""
        if self._text is None:
            length = self._scratch.size - self._start
            self._into.ranges.append(FileRange(self._scratch.path, self._start, length))

    def instances(self) -> list[Described]:
        """What the metadata describe; for a thread. Raises InvalidMetadata."""
        models: list[Model] = []
        for media_type, text in self._texts:
            whole = bytes(text)
            models += [parse_xml(whole)] if media_type == DICOM_XML else parse_json(whole)
            text.clear()
        if not 0 < len(models) <= MOST_INSTANCES:
            raise InvalidMetadata(
                f"the body has metadata of {len(models)} instances: "
                f"1 to {MOST_INSTANCES} are taken"
            )
        return [
            Described(text_at(model, _SOP_CLASS), text_at(model, _SOP_INSTANCE), model)
            for model in models
        ]

    def encoded(self, described: Described) -> list[Piece]:
        """A Part 10 file of one of them, in pieces; for a thread.

        Raises InvalidMetadata, UnknownTransferSyntax.
        """
        syntax = self._syntax(described.model)
        meta = encode_file_meta(
            sop_class_uid=described.sop_class_uid,
            sop_instance_uid=described.sop_instance_uid,
            transfer_syntax=syntax,
        )
        return [meta, *encode_model(described.model, self._resolve)]

    def _resolve(self, uri: str) -> BulkData | None:
        found = self._bulk.get(_name(uri))
        return BulkData(tuple(found.ranges), found.compressed) if found is not None else None

    def _syntax(self, model: Model) -> UID:
        """Explicit VR Little Endian, or that of compressed frames by their part or metadata."""
        pixels = model.get(_PIXEL_DATA)
        uri = pixels.get("BulkDataURI") if isinstance(pixels, dict) else None
        found = self._bulk.get(_name(uri)) if isinstance(uri, str) else None
        if found is None or not found.compressed:
            return EXPLICIT_LE
        syntax = found.transfer_syntax or said_syntax(model)
        if syntax not in BY_UID or not BY_UID[syntax].encapsulated:
            raise UnknownTransferSyntax(
                f"Pixel Data is {found.media_type[:60]} in the transfer syntax "
                f"{syntax[:64] or 'that is not named'}: say it in the Content-Type of the part, "
                "as transfer-syntax=UID"
            )
        return syntax


def _name(uri: str) -> str:
    """What a BulkDataURI and a Content-Location have in common: no scheme, host, or escapes."""
    uri = uri.strip().strip("<>")
    if uri.lower().startswith(("cid:", "urn:uuid:")):
        return uri.rpartition(":")[2]
    try:
        split = urlsplit(uri)
    except ValueError:
        return uri
    path = split._replace(scheme="", netloc="").geturl() if split.netloc else uri
    return unquote(path)


async def content_of(pieces: list[Piece]) -> AsyncGenerator[bytes, None]:
    """The bytes of what was encoded, those of files read off the loop, a MiB at a time."""
    for piece in pieces:
        if isinstance(piece, FileRange):
            for at in range(0, piece.length, _PIECE):
                size = min(_PIECE, piece.length - at)
                yield await asyncio.to_thread(_read, piece, at, size)
        else:
            yield piece


def _read(piece: FileRange, at: int, size: int) -> bytes:
    try:
        with piece.file.open("rb", buffering=0) as opened:
            data = os.pread(opened.fileno(), size, piece.offset + at)
    except OSError as error:
        raise TemporaryFailure(f"bulk data cannot be read again: {error.strerror}") from error
    if len(data) != size:
        raise TemporaryFailure("bulk data became shorter while they were read again")
    return data
