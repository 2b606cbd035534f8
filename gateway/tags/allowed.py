"""What a route may not change, and what only on purpose (PS3.3, PS3.4 C.6, PS3.5).

Never: what says how the bytes are read, Pixel Data and its description, the SOP Class. On purpose
only: the unique keys of patient, study, series and instance (PS3.4 C.6.1.1), what scopes the
Patient ID, and every other UID, since a UID is an identity.
"""

from contextlib import suppress
from typing import Final

from gateway.config.patterns import parse_find, parse_replacement
from gateway.dataset.dictionary import private_vr_of, vr_of
from gateway.model import Private, Step
from gateway.tags.changes import (
    Change,
    Copy,
    Hash,
    Remove,
    Replace,
    Set,
    ShiftDate,
    TagPath,
    Template,
)
from gateway.tags.reading import CHARACTER_SET
from gateway.tags.values import WRITABLE, value_of
from gateway.value_representation import BINARY, LONGEST

SOP_CLASS: Final = 0x00080016
SOP_INSTANCE: Final = 0x00080018
STUDY: Final = 0x0020000D
SERIES: Final = 0x0020000E
_UIDS: Final = frozenset((SOP_INSTANCE, STUDY, SERIES))
_PATIENT: Final = frozenset((0x00100020, 0x00100021, 0x00100022, 0x00100024))
_DESCRIBES: Final = frozenset(
    (
        *(
            0x00280000 | number
            for number in (2, 3, 4, 6, 8, 0x10, 0x11, 0x100, 0x101, 0x102, 0x103)
        ),
        *(0x00281000 | number for number in (0x101, 0x102, 0x103, 0x104, 0x111, 0x112, 0x113)),
        *(0x00281200 | number for number in range(0x30)),
        *(0x00282000 | number for number in (0x110, 0x112, 0x114)),
    )
)
"""The Image Pixel Module as far as samples are read by it, and what says that they are lossy."""
_OF_PIXEL_DATA: Final = range(0x7FE00000, 0x7FE10000)
_TEXTS: Final = frozenset(
    (
        "AE",
        "CS",
        "DA",
        "DS",
        "DT",
        "IS",
        "LO",
        "LT",
        "PN",
        "SH",
        "ST",
        "TM",
        "UC",
        "UI",
        "UR",
        "UT",
        "AS",
    )
)
_HASHED: Final = frozenset(("AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UI", "UT"))
_MOST_DIGITS: Final = 64
_ANY: Final = b"ISO_IR 192"


def vr_by(change: Change) -> str:
    """The VR that a change says, or the dictionaries know: "US or SS", "UN" for an unknown one."""
    return change.vr or dictionary_vr(change.path[-1])


def dictionary_vr(step: Step) -> str:
    """The VR of a tag or private element by the dictionaries, "UN" where it is unknown."""
    if isinstance(step, Private):
        return private_vr_of(step.group << 16 | 0x1000 | step.element, step.creator)
    return vr_of(step)


def check(change: Change) -> None:
    """Raise ValueError with the reason for which no data set may be changed so."""
    _check_path(change.path)
    last, vr = change.path[-1], vr_by(change)
    if reason := _never(last):
        raise ValueError(reason)
    if is_identity(change.path, vr) and not change.identity:
        raise ValueError(
            "it is part of the identity of a patient, study, series or instance; "
            "where that is meant, say identity: true"
        )
    if last in _UIDS and len(change.path) == 1:
        _check_uid(change)
    if not isinstance(change, Remove):
        _check_value(change, vr)


def conflicts(changes: tuple[Change, ...]) -> list[tuple[int, int]]:
    """Pairs of changes, by index, of which one has its say where the other has: the second is
    of the same attribute, or inside what the first removes or sets.
    """
    paths = [change.path for change in changes]
    return [
        (first, second)
        for second in range(len(paths))
        for first in range(len(paths))
        if first != second
        and paths[second][: len(paths[first])] == paths[first]
        and (len(paths[first]) < len(paths[second]) or first < second)
    ]


def is_identity(path: TagPath, vr: str) -> bool:
    """Whether an attribute is a unique key, scopes one, or is a UID at all."""
    return vr == "UI" or not _PATIENT.isdisjoint(path)


def _check_path(path: TagPath) -> None:
    if not path:
        raise ValueError("no attribute is named")
    for step in path:
        if isinstance(step, Private):
            _check_private(step)
        elif step >> 16 & 1:
            raise ValueError("a private element is named with its creator")
    for step in path[:-1]:
        if dictionary_vr(step) not in ("SQ", "UN"):
            raise ValueError("its path leads through what is no sequence")


def _check_private(step: Private) -> None:
    if not (step.group & 1 and 9 <= step.group <= 0xFFFD and 0 <= step.element <= 0xFF):
        raise ValueError("a private element has an odd group from 0009 on and two digits")
    try:
        value_of("LO", [step.creator], b"")
    except ValueError as error:
        raise ValueError(f"its private creator: {error}") from None
    if not step.creator.strip():
        raise ValueError("its private creator is empty")


def _never(step: Step) -> str:
    """Why nobody may change this attribute, "" where one may."""
    if isinstance(step, Private):
        return ""
    if step < 0x00080000 or step >> 16 >= 0xFFFE or not step & 0xFFFF:
        return "it is no attribute of the data set, or tells of its structure"
    if step == SOP_CLASS:
        return "the SOP Class says what the object is; another word for it makes it no other"
    if step == CHARACTER_SET:
        return "it says how text is read: can_read.charset has text written in another one"
    if step in _DESCRIBES or step in _OF_PIXEL_DATA:
        return "it describes Pixel Data: header and pixels have to agree"
    return ""


def _check_uid(change: Change) -> None:
    """An instance without one of its UIDs, or many instances with one, would be lost."""
    if isinstance(change, Remove) or (isinstance(change, Set) and not any(change.values)):
        raise ValueError("no instance is without it")
    constant = isinstance(change, Set) or (
        isinstance(change, Template) and all(isinstance(part, str) for part in change.parts)
    )
    if constant and change.path == (SOP_INSTANCE,):
        raise ValueError("all instances would have the same; hash it instead")


def _check_value(change: Change, vr: str) -> None:
    if vr == "UN":
        raise ValueError("no dictionary knows its VR: say it, such as vr: LO")
    _check_vr(change, vr)
    match change:
        case Set(values=values):
            _check_values([one for one in vr.split(" or ") if one not in BINARY], values)
        case Copy(source=source):
            _check_source(source)
        case Template(parts=parts):
            _check_template(parts)
        case Hash():
            _check_hash(change, vr)
        case Replace():
            _check_replace(change, vr)
        case ShiftDate():
            _check_shift(change, vr)
        case _:
            pass


def _check_values(vrs: list[str], values: tuple[str, ...]) -> None:
    """Which of several VRs it is, such as US or SS, the data set tells later (PS3.5 A.1)."""
    for vr in vrs[:-1]:
        with suppress(ValueError):
            value_of(vr, values, _ANY)
            return
    value_of(vrs[-1], values, _ANY)


def _check_template(parts: tuple[str | TagPath, ...]) -> None:
    for part in parts:
        if not isinstance(part, str):
            _check_source(part)


def _check_vr(change: Change, vr: str) -> None:
    known = dictionary_vr(change.path[-1])
    if change.vr and known not in ("UN", change.vr) and change.vr not in known.split(" or "):
        raise ValueError(f"it is of VR {known}, not {change.vr}")
    empties = isinstance(change, Set) and not change.values
    if vr in BINARY or vr.startswith("OB") or (vr == "SQ" and not empties):
        raise ValueError(f"it is of VR {vr}: it can only be removed, a sequence emptied")
    if vr[:2] not in WRITABLE:
        raise ValueError("no such VR")


def _check_source(path: TagPath) -> None:
    _check_path(path)
    vr = dictionary_vr(path[-1])
    if vr in (*BINARY - {"UN"}, "SQ") or vr.startswith("OB"):
        raise ValueError(f"a source of VR {vr}, which has no text")


def _check_hash(change: Hash, vr: str) -> None:
    if vr not in _HASHED:
        raise ValueError(f"it is of VR {vr}, which no hash is; a date is shifted")
    if len(change.secret) < 16:
        raise ValueError("a secret of less than 16 bytes")
    most = min(LONGEST.get(vr, 16), _MOST_DIGITS)
    if vr != "UI" and not 8 <= change.length <= most:
        raise ValueError(f"a length of {change.length}; allowed: 8 to {most} digits")


def _check_replace(change: Replace, vr: str) -> None:
    if vr not in _TEXTS:
        raise ValueError(f"it is of VR {vr}, which is no text")
    parse_replacement(parse_find(change.pattern), change.replacement)


def _check_shift(change: ShiftDate, vr: str) -> None:
    if vr not in ("DA", "DT"):
        raise ValueError(f"it is of VR {vr}, which is no date")
    if bool(change.days) == bool(change.within) or change.within < 0:
        raise ValueError("either a number of days or a range of days is needed")
    if change.within and len(change.secret) < 16:
        raise ValueError("a range of days needs a secret of 16 bytes or more")
    _check_source(change.by)
