"""What a predicate speaks of: an attribute, one inside a sequence, a part of a name, the origin.

``Modality``, ``0008,0060``, ``RequestAttributesSequence.ScheduledProcedureStepID``,
``(0019,xx08,ACME 1.0)`` with the private creator (PS3.5 §7.8), ``PatientName.family``; and beside
the data set ``calling_ae``, ``called_ae``, ``address`` and ``size``.
"""

import re
from collections.abc import Iterator
from functools import cache
from typing import Final, NamedTuple

from pydicom.datadict import (
    dictionary_VR,
    keyword_for_tag,
    private_dictionary_VR,
    tag_for_keyword,
)

from gateway.config.dicom_names import (
    KEYS,
    NUMBERS,
    SOP_CLASS_UID,
    TRANSFER_SYNTAX_UID,
    find_attribute,
    is_multi_valued,
    tag_of,
)
from gateway.config.problems import allowed, shown
from gateway.model import Private, Step

CALLING_AE: Final = "calling_ae"
CALLED_AE: Final = "called_ae"
ADDRESS: Final = "address"
SIZE: Final = "size"

TEXT: Final = "text"
NAME: Final = "person name"
NUMBER: Final = "number"
DAY: Final = "date"
TIME: Final = "time"
MOMENT: Final = "date and time"
AGE: Final = "age"
UIDS: Final = "UID"
ITEMS: Final = "sequence"
UNKNOWN: Final = "private value"
TITLE: Final = "AE title"
NETWORK: Final = "network"
BYTES: Final = "number of bytes"

_KINDS: Final = {"PN": NAME, "DA": DAY, "TM": TIME, "DT": MOMENT, "AS": AGE, "UI": UIDS,
                 "SQ": ITEMS, "UN": UNKNOWN}  # fmt: skip
_NOT_READ: Final = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "AT"})
_ORIGINS: Final = {CALLING_AE: TITLE, CALLED_AE: TITLE, ADDRESS: NETWORK, SIZE: BYTES}
COMPONENTS: Final = ("family", "given", "middle", "prefix", "suffix")
"""The components of a person name in their order, PS3.5 §6.2.1."""

_PRIVATE: Final = re.compile(
    r"\(?([0-9A-Fa-f]{3}[13579BDFbdf]), ?(?:[xX]{2}|[0-9A-Fa-f]{2})?([0-9A-Fa-f]{2}),"
    r" ?([^()\\]{1,64}?)\)?"
)
_TAG: Final = re.compile(r"\(?[0-9A-Fa-f]{4}, ?[0-9A-Fa-f]{4}\)?")
_SEGMENT: Final = re.compile(r"(?:\([^)]*\)|[^.()])+")


class Subject(NamedTuple):
    """What is compared.

    ``kind`` says how, ``steps`` lead there: one tag or private element, after those of the
    sequences around it; () for what is not in the data set. ``source`` is the name under which a
    header holds it, ``component`` the part of a person name or -1.
    """

    key: str
    kind: str
    multi_valued: bool = True
    steps: tuple[Step, ...] = ()
    source: str = ""
    component: int = -1


@cache
def find_subject(key: str) -> Subject:
    """What a key of ``match`` or ``unless`` names; raises ValueError."""
    if key in _ORIGINS:
        return Subject(key, _ORIGINS[key], source=key)
    segments = [key] if _PRIVATE.fullmatch(key) else list(_segments(key))
    component = -1
    if len(segments) > 1 and segments[-1] in COMPONENTS:
        component = COMPONENTS.index(segments.pop())
    elif len(segments) > 1 and segments[-1][:1].islower():
        what = f"{shown(key)}: {segments[-1]} is no component of a person name"
        raise ValueError(what + allowed(COMPONENTS, segments[-1]))
    places = [_place(segment) for segment in segments]
    for name, _, vr in places[:-1]:
        if vr not in ("SQ", "UN"):
            raise ValueError(f"{shown(key)}: {name} is no sequence, nothing stands inside it")
    return _subject(places, component, key)


def _segments(key: str) -> Iterator[str]:
    parts = _SEGMENT.findall(key)
    if not parts or ".".join(parts) != key:
        raise ValueError(f"{shown(key)} is not a DICOM attribute; allowed: {KEYS}")
    yield from parts


def _subject(places: list[tuple[str, Step, str]], component: int, key: str) -> Subject:
    name, step, vr = places[-1]
    source = ".".join(place[0] for place in places)
    kind = NUMBER if vr in NUMBERS else _KINDS.get(vr, TEXT)
    if component >= 0 and kind != NAME:
        raise ValueError(f"{shown(key)}: {name} is no person name and has no components")
    written = f"{source}.{COMPONENTS[component]}" if component >= 0 else source
    steps = tuple(place[1] for place in places)
    if step == tag_for_keyword(TRANSFER_SYNTAX_UID):
        if len(steps) > 1:
            raise ValueError(f"{shown(key)}: {name} stands in no sequence")
        steps = ()
    return Subject(written, kind, is_multi_valued(vr), steps, source, component)


def _place(segment: str) -> tuple[str, Step, str]:
    """(name, step, VR) of one attribute of a path."""
    if found := _PRIVATE.fullmatch(segment):
        group, element, creator = found.groups()
        private = Private(int(group, 16), int(element, 16), creator.strip())
        return str(private), private, _private_vr(private)
    tag = tag_of(segment)
    if tag is not None and tag >> 16 & 1 and _TAG.fullmatch(segment):
        group, element = tag >> 16, tag & 0xFF
        raise ValueError(
            f"{shown(segment)}: a private attribute needs its creator"
            f"; allowed: such as '({group:04X},xx{element:02X},CREATOR)'"
        )
    if tag is not None and _vr(tag) == "SQ":
        return _sequence(tag), tag, "SQ"
    attribute = find_attribute(segment)
    return attribute.keyword, attribute.tag, attribute.vr


def _vr(tag: int) -> str:
    try:
        return dictionary_VR(tag)
    except KeyError:
        return ""


def _sequence(tag: int) -> str:
    """The name of a sequence."""
    return keyword_for_tag(tag) or f"{tag >> 16:04X},{tag & 0xFFFF:04X}"


def _private_vr(private: Private) -> str:
    tag = private.group << 16 | 0x1000 | private.element
    try:
        vr = private_dictionary_VR(tag, private.creator).split("_")[0].split(" ")[0]
    except KeyError:
        return "UN"
    if vr in _NOT_READ:
        raise ValueError(f"{private} has VR {vr}, which rules cannot compare")
    return vr


def names_uid(subject: Subject) -> str:
    """The keyword whose UIDs have names in the configuration, "" for any other subject."""
    return subject.source if subject.source in (TRANSFER_SYNTAX_UID, SOP_CLASS_UID) else ""
