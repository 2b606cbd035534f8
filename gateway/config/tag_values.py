"""Which attributes ``tags`` may change, and what values they can have (PS3.5 §6.2)."""

import re
from collections.abc import Callable
from typing import Final, TypeVar

from pydicom.datadict import tag_for_keyword

from gateway.config.attribute_paths import AttributePath, find_path
from gateway.config.days import parse_day
from gateway.config.dicom_names import NOT_TEXT, parse_uid
from gateway.config.problems import Complaint, WrongValue, shown
from gateway.config.subjects import COMPONENTS
from gateway.value_representation import TEXT, check

T = TypeVar("T")

IDENTITY: Final = frozenset(
    {
        "PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate", "PatientSex",
        "AccessionNumber", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID",
        "FrameOfReferenceUID", "StudyID",
    }
)  # fmt: skip
"""What tells who the patient is, and which study, series and instance it is."""

_NEVER: Final = frozenset({"SpecificCharacterSet", "SOPClassUID", "TransferSyntaxUID"})
_IDENTITY_TAGS: Final = frozenset(map(tag_for_keyword, IDENTITY))
_NEVER_TAGS: Final = frozenset(map(tag_for_keyword, _NEVER))
_PIXEL_GROUPS: Final = frozenset({0x0028, 0x5400, 0x7FE0})
_WHOLE: Final = {"US": (0, 0xFFFF), "SS": (-0x8000, 0x7FFF), "UL": (0, 0xFFFFFFFF),
                 "SL": (-0x80000000, 0x7FFFFFFF)}  # fmt: skip
_PLACEHOLDER: Final = re.compile(r"\{([^{}]*)\}")


def find_attribute(key: object) -> AttributePath:
    """The attribute that a change names; raises ValueError."""
    if not isinstance(key, str):
        raise ValueError(f"expected a DICOM keyword, found {shown(key)}")  # noqa: TRY004
    if key.endswith(tuple(f".{part}" for part in COMPONENTS)):
        raise ValueError(f"{shown(key)} is a part of a name; allowed: replace in the whole name")
    return find_path(key)


def readable(key: object) -> AttributePath:
    """An attribute whose text goes into another one; raises ValueError."""
    attribute = find_attribute(key)
    if attribute.vr in NOT_TEXT:
        raise ValueError(f"{attribute.name} has {_kind(attribute)}, which is no text to be taken")
    return attribute


def changeable(key: object) -> AttributePath:
    """An attribute that may get another value; raises ValueError."""
    attribute = removable(key)
    if attribute.vr in NOT_TEXT:
        raise ValueError(f"{attribute.name} has {_kind(attribute)}: it can only be removed")
    return attribute


def removable(key: object) -> AttributePath:
    """An attribute that may be left out, with all that stands in it; raises ValueError."""
    attribute = find_attribute(key)
    public = [step for step in attribute.steps if isinstance(step, int)]
    if any(step in _NEVER_TAGS or step >> 16 in _PIXEL_GROUPS for step in public):
        raise ValueError(f"{attribute.name} says how to read the object and is never changed")
    return attribute


def _kind(attribute: AttributePath) -> str:
    return "a VR that nobody knows" if attribute.vr == "UN" else f"VR {attribute.vr}"


def is_identity(key: str) -> bool:
    """It tells who the patient is, or which study, series or instance; as every UID may."""
    attribute = find_path(key)
    return attribute.vr == "UI" or attribute.steps[-1] in _IDENTITY_TAGS


def each_key(
    value: object, find: Callable[[object], AttributePath] = changeable
) -> tuple[str, ...]:
    """The names of a list, or of one value; raises WrongValue."""
    keys = value if isinstance(value, list | tuple) else [value]
    if value is None or not keys:
        raise ValueError("the list of attributes is empty")
    complaints: list[Complaint] = []
    found: dict[str, None] = {}
    for index, key in enumerate(keys):
        try:
            found[find(key).name] = None
        except ValueError as error:
            path = (index,) if isinstance(value, list | tuple) else ()
            complaints.append(Complaint(path, str(error)))
    if complaints:
        raise WrongValue(complaints)
    return tuple(found)


def each_entry(value: object, read: Callable[[AttributePath, object], T]) -> dict[str, T]:
    """Name -> what is read of its entry; raises WrongValue with every complaint."""
    if not isinstance(value, dict):
        raise ValueError(f"expected attributes and values, found {shown(value)}")  # noqa: TRY004
    complaints: list[Complaint] = []
    found: dict[str, T] = {}
    for key, entry in value.items():
        try:
            attribute = changeable(key)
            if attribute.name in found:
                raise ValueError(f"{attribute.name} stands here twice")  # noqa: TRY301
        except ValueError as error:
            complaints.append(Complaint((key,), str(error), at_key=True))
            continue
        try:
            found[attribute.name] = read(attribute, entry)
        except ValueError as error:
            complaints.append(Complaint((key,), str(error)))
    if complaints:
        raise WrongValue(complaints)
    return found


def placeholders(template: str) -> list[str]:
    """The keywords between braces; raises ValueError for a brace that stands alone."""
    if set("{}") & set(_PLACEHOLDER.sub("", template)):
        raise ValueError(f"{shown(template)}: a brace stands alone; allowed: {{Keyword}}")
    return _PLACEHOLDER.findall(template)


def check_value(attribute: AttributePath, text: str) -> str:
    """One value, if the attribute can have it; raises ValueError."""
    vr = attribute.vr
    if vr in _WHOLE:
        low, high = _WHOLE[vr]
        if not re.fullmatch(r"[+-]?[0-9]{1,11}", text) or not low <= int(text) <= high:
            raise ValueError(
                f"{shown(text)} is no value of {attribute.name}; allowed: {low} to {high}"
            )
        return text
    if vr == "UI":
        return parse_uid(text)
    if vr == "DA":
        day = parse_day(text)
        if not day.text:
            raise ValueError(f"{shown(text)} is not a fixed day; allowed: YYYYMMDD")
        return day.text
    if vr in TEXT:
        try:
            check(vr, text)
        except ValueError as error:
            raise ValueError(f"{shown(text)}: {error}") from None
    return text
