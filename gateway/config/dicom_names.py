"""DICOM's names in the configuration: attributes, transfer syntaxes, SOP classes, UIDs (PS3.6)."""

import re
from collections.abc import Mapping
from functools import cache
from typing import Final, NamedTuple

import pydicom.uid
from pydicom.datadict import dictionary_VR, keyword_dict, keyword_for_tag, tag_for_keyword

from gateway.config.problems import did_you_mean, shown
from gateway.model import UID
from gateway.transfer_syntax import BY_NAME, BY_UID, name_of
from gateway.value_representation import BINARY, ONE_VALUE

TRANSFER_SYNTAX_UID: Final = "TransferSyntaxUID"
SOP_CLASS_UID: Final = "SOPClassUID"

_TAG: Final = re.compile(r"\(?([0-9A-Fa-f]{4}), ?([0-9A-Fa-f]{4})\)?")
_UID: Final = re.compile(r"[0-9]+(\.[0-9]+)+")
_DICOMS_ROOT: Final = "1.2.840.10008."
KEYS: Final = "a DICOM keyword such as Modality, or a tag such as '0008,0060'"
NOT_TEXT: Final = BINARY | {"SQ", "AT"}


_OTHER_NAMES: Final = {
    "implicit": "implicit-le",
    "implicitvrlittleendian": "implicit-le",
    "explicit": "explicit-le",
    "explicitvrlittleendian": "explicit-le",
    "explicitvrbigendian": "explicit-be",
    "uncompressed": "explicit-le",
    "rlelossless": "rle",
    "jpeg": "jpeg-baseline",
    "jpegbaseline8bit": "jpeg-baseline",
    "jpeglosslesssv1": "jpeg-lossless-sv1",
    "jpeglslossless": "jpeg-ls",
    "jpeglsnearlossless": "jpeg-ls-near",
    "jpeg2000": "j2k",
    "jpeg2000lossless": "j2k-lossless",
    "htj2klossless": "htj2k-lossless",
}
"""What people and other programs call transfer syntaxes, letters and digits alone."""


class Attribute(NamedTuple):
    """A public attribute that rules can read. ``keyword`` is ``GGGG,EEEE`` where it has none."""

    tag: int
    keyword: str
    vr: str


def is_multi_valued(vr: str) -> bool:
    """A backslash separates the values of an element of this VR (PS3.5 §6.4)."""
    return vr not in ONE_VALUE


def tag_of(key: str) -> int | None:
    """The tag that a keyword or a tag names, None where it is neither."""
    found = _TAG.fullmatch(key)
    return int(found[1] + found[2], 16) if found else tag_for_keyword(key)


@cache
def find_attribute(key: str) -> Attribute:
    """The attribute that a keyword or a tag names; raises ValueError."""
    tag = tag_of(key)
    if tag is None:
        hint = did_you_mean(key, keyword_dict) or _comma_hint(key)
        raise ValueError(f"{shown(key)} is not a DICOM attribute; allowed: {KEYS}{hint}")
    return _readable(tag, key)


def _comma_hint(key: str) -> str:
    return "; a tag between { } needs quotes" if re.fullmatch(r"\(?[0-9A-Fa-f]{4}\)?", key) else ""


def _readable(tag: int, key: str) -> Attribute:
    group = tag >> 16
    if group % 2:
        raise ValueError(f"{shown(key)} is a private attribute, which cannot be asked for here")
    if group <= 2 and tag != tag_for_keyword(TRANSFER_SYNTAX_UID):
        raise ValueError(
            f"{shown(key)} is not part of the data set; allowed of groups 0000 and 0002:"
            f" {TRANSFER_SYNTAX_UID}"
        )
    try:
        vr = dictionary_VR(tag).split(" ")[0]
    except KeyError:
        what = f"{shown(key)} is not in the DICOM dictionary; allowed: {KEYS}"
        raise ValueError(what) from None
    if vr in NOT_TEXT:
        raise ValueError(f"{shown(key)} has VR {vr}, which rules cannot compare")
    keyword = keyword_for_tag(tag)
    if tag_for_keyword(keyword) != tag:
        keyword = f"{group:04X},{tag & 0xFFFF:04X}"
    return Attribute(tag, keyword, vr)


def parse_uid(text: str) -> UID:
    """A UID (PS3.5 §9.1); leading zeros of components are let pass, as devices send them."""
    if len(text) > 64 or not _UID.fullmatch(text):
        raise ValueError(f"{shown(text)} is not a UID; allowed: digits and dots, at most 64")
    return text


def parse_transfer_syntax(value: object) -> UID:
    """The UID of a transfer syntax given by short name or UID; a private one need not be known."""
    text = value.strip() if isinstance(value, str) else ""
    if text in BY_NAME:
        return BY_NAME[text].uid
    if _UID.fullmatch(text) and (_is_dicoms_own(text) or _may_be_private(text)):
        return parse_uid(text)
    usual = [name for name, each in BY_NAME.items() if not (each.video or "retired" in each.title)]
    meant = _OTHER_NAMES.get(re.sub(r"[^a-z0-9]", "", text.lower()))
    hint = f"; did you mean {meant}?" if meant else did_you_mean(value, BY_NAME)
    raise ValueError(
        f"{shown(value)} is not a transfer syntax; allowed: {', '.join(usual)}, or the UID of"
        f" one of DICOM's or of a private one{hint}"
    )


def _is_dicoms_own(text: str) -> bool:
    return text in BY_UID or pydicom.uid.UID(text).is_transfer_syntax


def _may_be_private(text: str) -> bool:
    """Under a root of somebody's own, which has three components at least (PS3.5 §9.2)."""
    return not f"{text}.".startswith(_DICOMS_ROOT) and text.count(".") >= 2


@cache
def sop_classes() -> Mapping[str, UID]:
    """The SOP classes by keyword, such as CTImageStorage."""
    known = vars(pydicom.uid).items()
    return {
        name: str(uid)
        for name, uid in known
        if isinstance(uid, pydicom.uid.UID) and uid.type == "SOP Class"
    }


@cache
def _sop_class_names() -> Mapping[UID, str]:
    return {uid: name for name, uid in sop_classes().items()}


def parse_sop_class(value: object) -> UID:
    """The UID of a SOP class given by keyword or UID."""
    text = value.strip() if isinstance(value, str) else ""
    if text in sop_classes():
        return sop_classes()[text]
    if _UID.fullmatch(text):
        return parse_uid(text)
    raise ValueError(
        f"{shown(value)} is not a SOP class; allowed: a keyword such as CTImageStorage, or a UID"
        f"{did_you_mean(value, sop_classes())}"
    )


def uid_name(keyword: str, value: str) -> str:
    """A value as it is written in the configuration: names for the UIDs that have one."""
    if keyword == TRANSFER_SYNTAX_UID:
        return name_of(value)
    if keyword == SOP_CLASS_UID:
        return _sop_class_names().get(value, value)
    return value
