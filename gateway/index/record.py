"""What the index keeps of one instance, read from the beginning of its file."""

import json
import mmap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gateway.dataset.heads import DEFAULT_LIMITS, Buffer, MalformedDataSet
from gateway.dataset.inflate import inflated
from gateway.dataset.json_model import JsonModel
from gateway.dataset.part10 import read_file_meta
from gateway.dicomweb.matching import name_groups, normal, words_of
from gateway.index.attributes import COLUMNS, KEPT, TAGS, Level
from gateway.model import Instance
from gateway.transfer_syntax import BY_UID, EXPLICIT_LE

MOST_TEXT: Final = 1024
"""Characters of a value that are matched by the database."""


@dataclass(frozen=True, slots=True)
class Record:
    """One instance for the index: at each level its columns, and its attributes as JSON lines."""

    spool_id: int
    transfer_syntax: str
    columns: Mapping[Level, Mapping[str, str]]
    attributes: Mapping[Level, str]


def record_of(instance: Instance, model: JsonModel) -> Record:
    """The record of a kept instance; of a header that cannot be read, what the ledger knows.

    Raises OSError where the file is gone.
    """
    try:
        texts = header_of(instance.file, model, TAGS)
    except MalformedDataSet:
        texts = {}
    texts |= _identity(instance)
    columns: dict[Level, dict[str, str]] = {level: {} for level in Level}
    for tag, column in COLUMNS.items():
        for name, value in _normal_forms(column.name, column.vr, texts.get(tag, "")):
            columns[column.level][name] = value[:MOST_TEXT]
    return Record(
        instance.spool_id,
        instance.transfer_syntax,
        columns,
        {level: _lines(texts, KEPT[level]) for level in Level},
    )


def header_of(file: Path, model: JsonModel, tags: frozenset[int] | None) -> dict[int, str]:
    """Attributes of a stored file by tag as DICOM JSON, each with its name; None: all.

    Raises MalformedDataSet, and OSError where the file is gone.
    """
    with (
        file.open("rb") as opened,
        mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data,
    ):
        meta = read_file_meta(data)
        syntax = BY_UID.get(meta.transfer_syntax, BY_UID[EXPLICIT_LE])
        if not syntax.deflated:
            return _attributes(data, meta.dataset_offset, model, syntax.uid, tags)
        plain = b"".join(_bounded(inflated(data, meta.dataset_offset, DEFAULT_LIMITS)))
        return _attributes(plain, 0, model, EXPLICIT_LE, tags)


def _attributes(
    data: Buffer, start: int, model: JsonModel, syntax: str, tags: frozenset[int] | None
) -> dict[int, str]:
    damage: list[MalformedDataSet] = []
    return model.attributes(
        data, start, len(data), BY_UID[syntax], lambda _: "", tags, damage=damage
    )


def _bounded(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """No more of a deflated data set than a header can be long."""
    left = DEFAULT_LIMITS.header
    for piece in pieces:
        left -= len(piece)
        yield piece
        if left < 0:
            return


def _identity(instance: Instance) -> dict[int, str]:
    """What the ledger goes by holds, whatever the data set's encoding made of it."""
    known = {
        0x00080016: instance.sop_class_uid,
        0x00080018: instance.sop_instance_uid,
        0x0020000D: instance.study_uid,
        0x0020000E: instance.series_uid,
    }
    return {tag: f'"{tag:08X}":{{"vr":"UI","Value":["{uid}"]}}' for tag, uid in known.items()}


def _lines(texts: Mapping[int, str], tags: frozenset[int]) -> str:
    """JSON holds no line break, so a line is an attribute."""
    return "\n".join(texts[tag] for tag in sorted(texts) if tag in tags)


def values_of_json(text: str) -> list[Any]:
    """The values of one attribute with its name, as DICOM JSON has them."""
    if not text:
        return []
    (attribute,) = json.loads("{" + text + "}").values()
    values: list[Any] = attribute.get("Value", [])
    return values


def as_text(value: Any) -> str:
    """A value of DICOM JSON as the text that is matched; "" for what has none."""
    if isinstance(value, dict):
        groups = [value.get(name, "") for name in ("Alphabetic", "Ideographic", "Phonetic")]
        return "=".join(groups).rstrip("=")
    if value is None or isinstance(value, list | bool):
        return ""
    return value if isinstance(value, str) else repr(value).removesuffix(".0")


def _normal_forms(name: str, vr: str, text: str) -> Iterator[tuple[str, str]]:
    """(column, value) of an attribute of one value."""
    values = [as_text(value) for value in values_of_json(text)]
    first = values[0] if values else ""
    if vr != "PN":
        yield name, normal(vr, first)
        return
    for number, group in enumerate(name_groups(first)):
        yield f"{name}_{number}", group
    yield f"{name}_words", words_of(first)
