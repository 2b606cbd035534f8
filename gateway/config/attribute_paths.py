"""Attributes by name: at the top level, inside sequences, private ones with their creator.

``Modality``, ``0008,0060``, ``RequestAttributesSequence.ScheduledProcedureStepID``,
``(0019,xx08,ACME 1.0)`` (PS3.5 §7.8).
"""

import re
from functools import cache
from typing import Final, NamedTuple

from pydicom.datadict import dictionary_VR, keyword_for_tag, private_dictionary_VR

from gateway.config.dicom_names import KEYS, NOT_TEXT, find_attribute, tag_of
from gateway.config.problems import shown
from gateway.model import Private, Step

_PRIVATE: Final = re.compile(
    r"\(?([0-9A-Fa-f]{3}[13579BDFbdf]), ?(?:[xX]{2}|[0-9A-Fa-f]{2})?([0-9A-Fa-f]{2}),"
    r" ?([^()\\]{1,64}?)\)?"
)
_TAG: Final = re.compile(r"\(?[0-9A-Fa-f]{4}, ?[0-9A-Fa-f]{4}\)?")
_SEGMENT: Final = re.compile(r"(?:\([^)]*\)|[^.()])+")


class Place(NamedTuple):
    """One step of a path as the configuration writes it; ``vr`` is UN where nobody knows it."""

    name: str
    step: Step
    vr: str


class AttributePath(NamedTuple):
    """The steps to an attribute, written as one name, and its VR."""

    name: str
    steps: tuple[Step, ...]
    vr: str


def segments(key: str) -> list[str]:
    """The names of a path's steps, not looked up yet; raises ValueError."""
    if _PRIVATE.fullmatch(key):
        return [key]
    parts = _SEGMENT.findall(key)
    if not parts or ".".join(parts) != key:
        raise ValueError(f"{shown(key)} is not a DICOM attribute; allowed: {KEYS}")
    return parts


@cache
def find_path(key: str) -> AttributePath:
    """The attribute that a path names, of whatever VR; raises ValueError."""
    return join([find_place(segment) for segment in segments(key)], key)


def join(places: list[Place], key: str) -> AttributePath:
    """Steps as a path; raises ValueError where one leads through what is no sequence."""
    for name, _, vr in places[:-1]:
        if vr not in ("SQ", "UN"):
            raise ValueError(f"{shown(key)}: {name} is no sequence, nothing stands inside it")
    name = ".".join(place.name for place in places)
    return AttributePath(name, tuple(place.step for place in places), places[-1].vr)


def find_place(segment: str) -> Place:
    """One step; raises ValueError."""
    if found := _PRIVATE.fullmatch(segment):
        group, element, creator = found.groups()
        private = Private(int(group, 16), int(element, 16), creator.strip())
        return Place(str(private), private, _private_vr(private))
    tag = tag_of(segment)
    if tag is not None and tag >> 16 & 1 and _TAG.fullmatch(segment):
        group, element = tag >> 16, tag & 0xFF
        raise ValueError(
            f"{shown(segment)}: a private attribute needs its creator"
            f"; allowed: such as '({group:04X},xx{element:02X},CREATOR)'"
        )
    if tag is not None and (vr := _vr(tag)) in NOT_TEXT:
        return Place(keyword_for_tag(tag) or f"{tag >> 16:04X},{tag & 0xFFFF:04X}", tag, vr)
    attribute = find_attribute(segment)
    return Place(attribute.keyword, attribute.tag, attribute.vr)


def _vr(tag: int) -> str:
    try:
        return dictionary_VR(tag).split(" ")[0]
    except KeyError:
        return ""


def _private_vr(private: Private) -> str:
    tag = private.group << 16 | 0x1000 | private.element
    try:
        return private_dictionary_VR(tag, private.creator).split("_")[0].split(" ")[0]
    except KeyError:
        return "UN"
