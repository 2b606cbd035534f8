"""What stands in an instance's header, as DICOM JSON and as the values that are matched.

The file is read up to the last attribute that is wanted; of a deflated one as much is inflated.
"""

import json
from base64 import b64decode
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from gateway.dataset.beginning import beginning, first_look
from gateway.dataset.elements import Element
from gateway.dataset.heads import DEFAULT_LIMITS, Buffer, MalformedDataSet
from gateway.dataset.inflate import inflated
from gateway.dataset.json_model import PIXELS, BulkDataURI, JsonModel
from gateway.dataset.part10 import read_file_meta
from gateway.transfer_syntax import BY_UID, EXPLICIT_LE

_GROUPS: Final = ("Alphabetic", "Ideographic", "Phonetic")
_BEGINNING: Final = 1 << 20
_ALL: Final = 0xFFFFFFFF


def attributes(
    model: JsonModel, file: Path, only: Collection[int] | None, bulk: BulkDataURI | None = None
) -> dict[int, str]:
    """The JSON members of the wanted top-level attributes by tag, ``only`` None for all.

    What stands before damage is given. Pixels are left out, and values of more than 16 MiB.
    Raises OSError, MalformedDataSet where it is no Part 10 file.
    """
    data, whole = first_look(file)
    if not data:
        raise MalformedDataSet("the file is empty")
    texts: dict[int, str] | None = None
    last = _ALL if only is None else max(only, default=0)
    if not whole and last != _ALL:
        texts = _whole_of(model, data, only, bulk, last)
    if texts is None:
        texts = _attributes(model, data if whole else beginning(file, last), only, bulk)
    return {tag: text for tag, text in texts.items() if tag not in PIXELS}


def _whole_of(
    model: JsonModel,
    data: bytes,
    only: Collection[int] | None,
    bulk: BulkDataURI | None,
    last: int,
) -> dict[int, str] | None:
    """What is wanted in a file's first bytes; None where there may be more behind them."""
    found: dict[int, Element] = {}
    with suppress(MalformedDataSet):
        texts = _attributes(model, data, only, bulk, found)
        if max(found, default=0) > last:
            return texts
    return None


def _attributes(
    model: JsonModel,
    data: bytes,
    only: Collection[int] | None,
    bulk: BulkDataURI | None,
    found: dict[int, Element] | None = None,
) -> dict[int, str]:
    meta = read_file_meta(data)
    syntax = BY_UID.get(meta.transfer_syntax, BY_UID[EXPLICIT_LE])
    damage: list[MalformedDataSet] = []
    if not syntax.deflated:
        start = meta.dataset_offset
        return model.attributes(data, start, len(data), syntax, bulk, only, found, damage)
    texts: dict[int, str] = {}
    for most in (_BEGINNING, DEFAULT_LIMITS.header):
        plain, whole = _inflated(data, meta.dataset_offset, most)
        damage.clear()
        texts = model.attributes(plain, 0, len(plain), syntax, bulk, only, found, damage)
        if whole or not damage:
            break
    return texts


def _inflated(data: Buffer, start: int, most: int) -> tuple[bytes, bool]:
    """At least ``most`` bytes of a deflated data set, and whether it ends there."""
    plain = bytearray()
    try:
        for piece in inflated(data, start):
            plain += piece
            if len(plain) >= most:
                return bytes(plain), False
    except MalformedDataSet:
        pass  # what came before the damage is what there is
    return bytes(plain), True


def content_of(member: str) -> dict[str, Any]:
    """The attribute object of a JSON member: ``vr`` and ``Value``."""
    content: dict[str, Any] = next(iter(json.loads(f"{{{member}}}").values()))
    return content


def values(content: Mapping[str, Any] | None) -> tuple[str, ...]:
    """The values of an attribute as texts; () where it is absent, empty or a sequence."""
    if content is None:
        return ()
    if "InlineBinary" in content and content["vr"] == "UN":
        return tuple(b64decode(content["InlineBinary"]).decode("latin-1").strip(" \0").split("\\"))
    return tuple(_text(value) for value in content.get("Value", ()))


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return "=".join(str(value.get(group, "")) for group in _GROUPS).rstrip("=")
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return "" if value is None else str(value)


def values_at(member: str, path: Sequence[int]) -> Iterator[tuple[str, ...]]:
    """The values at ``path`` (tags below that of ``member``), one tuple for each item."""
    contents: list[Mapping[str, Any] | None] = [content_of(member)]
    for tag in path:
        contents = [
            item.get(f"{tag:08X}")
            for content in contents
            if content is not None and content["vr"] == "SQ"
            for item in content.get("Value", ())
        ]
    return (values(content) for content in contents)
