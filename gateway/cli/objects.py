"""What a person names to be explained: a DICOM file, a DICOM JSON header, or a kept instance."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from gateway.dataset.beginning import beginning
from gateway.dataset.elements import MalformedDataSet
from gateway.dataset.encode_model import encode_model
from gateway.dataset.header import read_header, texts
from gateway.dataset.labelled import mislabelled
from gateway.dataset.parse_model import parse_json
from gateway.dataset.part10 import read_file_meta
from gateway.dataset.wanted import Wanted
from gateway.failures import Failure, PermanentFailure
from gateway.model import Instance, Origin, is_uid
from gateway.route.replay import known_of
from gateway.route.rules import Rules
from gateway.spool.history import History
from gateway.transfer_syntax import BY_UID, EXPLICIT_LE

_SOP_INSTANCE_UID: Final = 0x00080018
_FORM: Final[Mapping[int, Wanted]] = {
    0x00080005: "SpecificCharacterSet",
    0x00280004: "PhotometricInterpretation",
    0x00280101: "BitsStored",
}
"""What tells, beside the rules, in which form a node gets an object."""


@dataclass(frozen=True, slots=True)
class Shown:
    """One object as rules see it; ``name`` is what the person called it, ``file`` a Part 10 file
    that holds it, None where there is none. ``data`` is then what is known of its data set, in
    Explicit VR Little Endian. ``size`` is that of the Part 10 file, None where nobody says it;
    ``kept`` is true of what was received already, ``mislabelled`` as in ``Instance``."""

    name: str
    header: dict[str, str]
    origin: Origin
    size: int | None = None
    now: datetime | None = None
    file: Path | None = None
    data: bytes = b""
    kept: bool = False
    mislabelled: bool = False


def find_objects(
    name: str, rules: Rules, origin: Origin, now: datetime, spool: Path, size: int | None = None
) -> Iterator[Shown]:
    """What a person means by a name; ``size`` is what the person says that a header's file has.

    Raises PermanentFailure where it cannot be found or read.
    """
    path = Path(name)
    try:
        if path.suffix.lower() == ".json" and path.is_file():
            for found in _of_json(path, rules, origin, now):
                yield replace(found, size=size)
        elif path.is_file():
            yield _of_file(path, rules, origin, now)
        elif is_uid(name):
            yield _of_ledger(name, rules, spool)
        else:
            raise PermanentFailure("no file, and no SOP Instance UID of the ledger")
    except (Failure, OSError) as failure:
        raise PermanentFailure(f"{name}: {failure}") from failure


def _of_file(path: Path, rules: Rules, origin: Origin, now: datetime) -> Shown:
    header = read_header(path, {**_FORM, **rules.tags})
    meta = read_file_meta(beginning(path, _SOP_INSTANCE_UID))
    header |= {
        "TransferSyntaxUID": meta.transfer_syntax,
        "SOPClassUID": meta.sop_class_uid,
        "SOPInstanceUID": meta.sop_instance_uid,
    }
    syntax = BY_UID.get(meta.transfer_syntax)
    wrong = syntax is not None and mislabelled(path, syntax)
    return Shown(str(path), header, origin, path.stat().st_size, now, path, mislabelled=wrong)


def _of_json(path: Path, rules: Rules, origin: Origin, now: datetime) -> Iterator[Shown]:
    """Data sets of the DICOM JSON Model (PS3.18 Annex F); bulk data is not looked at."""
    for model in parse_json(path.read_bytes()):
        small = {tag: each for tag, each in model.items() if not _is_bulk(each)}
        data = b"".join(
            piece for piece in encode_model(small, lambda _: None) if isinstance(piece, bytes)
        )
        plan = {**_FORM, **rules.tags}
        header, _ = texts(data, 0, len(data), BY_UID[EXPLICIT_LE], plan)
        for tag, name in (("00080016", "SOPClassUID"), ("00080018", "SOPInstanceUID")):
            header[name] = _first(model, tag)
        stored = _first(model, "00020010") or _first(model, "00083002")
        header["TransferSyntaxUID"] = stored
        yield Shown(str(path), header, origin, now=now, data=data)


def _is_bulk(attribute: object) -> bool:
    return isinstance(attribute, dict) and "BulkDataURI" in attribute


def _first(model: Any, tag: str) -> str:
    attribute = model.get(tag)
    values = attribute.get("Value") if isinstance(attribute, dict) else None
    return str(values[0]) if isinstance(values, list) and values else ""


def _of_ledger(uid: str, rules: Rules, spool: Path) -> Shown:
    with History(spool) as history:
        found = history.of(uid)
    if not found:
        raise PermanentFailure(f"no instance that the spool in {spool} keeps")
    instance = found[0]
    known = known_of(instance, header_of_kept(instance, rules))
    file = instance.file if instance.file.is_file() else None
    when, wrong = instance.received_at, instance.mislabelled
    return Shown(
        uid, known, instance.origin, instance.size, when, file, kept=True, mislabelled=wrong
    )


def header_of_kept(instance: Instance, *rules: Rules) -> dict[str, str]:
    """What rules read of a kept instance: of its file, or else what the ledger noted."""
    plan = dict(_FORM)
    for each in rules:
        plan |= each.tags
    try:
        return {**instance.header, **read_header(instance.file, plan)}
    except (OSError, MalformedDataSet):
        return dict(instance.header)
