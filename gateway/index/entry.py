"""One reception of an instance as the index holds it: its columns and its JSON by level."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gateway import telemetry
from gateway.dataset.heads import MalformedDataSet
from gateway.dataset.json_model import JsonModel, attribute
from gateway.dataset.json_values import quoted
from gateway.dicomweb.matching import name_groups, normal, words_of
from gateway.index import header
from gateway.index.keys import (
    FROM_HEADER,
    PROCEDURE_ID,
    REQUESTS,
    RETURNED,
    SERIES_UID,
    SOP_CLASS,
    SOP_INSTANCE,
    STEP_ID,
    STUDY_UID,
    TRANSFER_SYNTAX,
    Key,
)
from gateway.model import UID, Instance
from gateway.transfer_syntax import EXPLICIT_LE

_WANTED: Final = frozenset[int]().union(*FROM_HEADER, *RETURNED)
_MOST_REQUESTS: Final = 1000
_MOST_TEXT: Final = 1024
"""Characters of a value that are compared."""
_LONGEST: Final = 64 << 10
"""Characters of the longest attribute that is returned from the index."""
_LARGEST: Final = (1 << 63) - 1

Column = str | int | None


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a study, series or instance: ``columns`` in the order of the table's."""

    columns: tuple[Column, ...]
    attributes: str


@dataclass(frozen=True, slots=True)
class Reception:
    """What the ledger knows of an instance that was taken in, as far as the index needs it.

    ``transfer_syntax`` is one in which it can be had (0008,3002).
    """

    spool_id: int
    uid: UID
    sop_class: UID
    transfer_syntax: UID
    study: UID
    series: UID


def reception_of(instance: Instance) -> Reception:
    """That of a kept instance."""
    return Reception(
        instance.spool_id,
        instance.sop_instance_uid,
        instance.sop_class_uid,
        EXPLICIT_LE if instance.mislabelled else instance.transfer_syntax,
        instance.study_uid,
        instance.series_uid,
    )


@dataclass(frozen=True, slots=True)
class Entry:
    """A reception, with what it says of its study, its series and itself.

    ``requests``: (Scheduled Procedure Step ID, Requested Procedure ID) of the series.
    """

    reception: Reception
    study: Facts
    series: Facts
    own: Facts
    requests: tuple[tuple[str, str], ...]


def read_entry(model: JsonModel, reception: Reception, file: Path) -> Entry | None:
    """Read the header in ``file``; None where the file is gone. Raises OSError.

    An instance whose header cannot be read is known by its UIDs alone.
    """
    try:
        texts = header.attributes(model, file, _WANTED)
    except FileNotFoundError:
        return None
    except MalformedDataSet as error:
        telemetry.alarm(
            "an instance is indexed by its UIDs alone",
            instance=reception.uid,
            spool_id=reception.spool_id,
            reason=str(error),
        )
        texts = {}
    return entry_of(reception, texts)


def entry_of(reception: Reception, texts: Mapping[int, str]) -> Entry:
    """The entry of a reception by the JSON members of its header."""
    uids = (
        {STUDY_UID: reception.study},
        {STUDY_UID: reception.study, SERIES_UID: reception.series},
        {
            SOP_CLASS: reception.sop_class,
            SOP_INSTANCE: reception.uid,
            TRANSFER_SYNTAX: reception.transfer_syntax,
        },
    )
    study, series, own = (
        Facts(_columns(keys, texts), _members(returned, texts, more))
        for keys, returned, more in zip(FROM_HEADER, RETURNED, uids, strict=True)
    )
    return Entry(reception, study, series, own, _requests(texts.get(REQUESTS)))


def _columns(keys: Mapping[int, Key], texts: Mapping[int, str]) -> tuple[Column, ...]:
    found: list[Column] = []
    for tag, key in keys.items():
        text = texts.get(tag)
        values = header.values(header.content_of(text)) if text else ()
        found += _column(key, "\\".join(values))
    return tuple(found)


def _column(key: Key, value: str) -> tuple[Column, ...]:
    """A key has one value (VM 1): what has more is compared as a whole."""
    value = value.replace("\0", "")[:_MOST_TEXT].encode(errors="replace").decode()
    if key.form == "name":
        return (*name_groups(value), words_of(value))
    if key.form != "number":
        return (normal(key.vr, value),)
    number = normal(key.vr, value)
    fits = number.removeprefix("-").isdecimal() and abs(int(number)) <= _LARGEST
    return (int(number) if fits else None,)


def _members(
    returned: Mapping[int, str], texts: Mapping[int, str], uids: Mapping[int, str]
) -> str:
    found = {tag: attribute(tag, "UI", quoted(uid)) for tag, uid in uids.items()}
    for tag, vr in returned.items():
        if 0 < len(texts.get(tag, "")) <= _LONGEST:
            found[tag] = texts[tag]
        elif vr:
            found[tag] = attribute(tag, vr, "")
    text = "\n".join(found[tag] for tag in sorted(found))
    return text.encode(errors="replace").decode()


def _requests(member: str | None) -> tuple[tuple[str, str], ...]:
    if not member:
        return ()
    content = header.content_of(member)
    if content["vr"] != "SQ":
        return ()
    items: list[dict[str, Any]] = content.get("Value", [])
    pairs = (
        tuple(("", *header.values(item.get(f"{tag:08X}")))[-1] for tag in (STEP_ID, PROCEDURE_ID))
        for item in items[:_MOST_REQUESTS]
    )
    return tuple(dict.fromkeys((step, procedure) for step, procedure in pairs))
