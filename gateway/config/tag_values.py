"""Which attributes ``tags`` may change, and what values they can have (PS3.5 §6.2)."""

import re
from collections.abc import Callable
from typing import Final, TypeVar

from gateway.config.days import parse_day
from gateway.config.dicom_names import Attribute, find_attribute, parse_uid
from gateway.config.problems import Complaint, WrongValue, shown

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
_PIXEL_GROUPS: Final = frozenset({0x0028, 0x5400, 0x7FE0})
_LONGEST: Final = {
    "AE": 16, "AS": 4, "CS": 16, "DA": 8, "DS": 16, "DT": 26, "IS": 12, "LO": 64, "LT": 10240,
    "PN": 194, "SH": 16, "ST": 1024, "TM": 14, "UI": 64,
}  # fmt: skip
_FORMS: Final = {
    "CS": (r"[A-Z0-9_ ]*", "capital letters, digits, blank and underscore"),
    "AS": (r"[0-9]{3}[DWMY]", "such as 045Y"),
    "DS": (r"[+-]?[0-9]*\.?[0-9]+([eE][+-]?[0-9]+)?", "a number"),
    "IS": (r"[+-]?[0-9]+", "a whole number"),
    "TM": (r"[0-9]{2}([0-9]{2}([0-9]{2}(\.[0-9]{1,6})?)?)?", "HHMMSS"),
    "DT": (r"[0-9]{4,14}(\.[0-9]{1,6})?([+-][0-9]{4})?", "YYYYMMDDHHMMSS"),
}
_WHOLE: Final = {"US": (0, 0xFFFF), "SS": (-0x8000, 0x7FFF), "UL": (0, 0xFFFFFFFF),
                 "SL": (-0x80000000, 0x7FFFFFFF)}  # fmt: skip
_PLACEHOLDER: Final = re.compile(r"\{([^{}]*)\}")


def changeable(key: object, *, to_read: bool = False) -> Attribute:
    """The attribute of that name, if it may be changed; ``to_read``: if it may be looked at."""
    if not isinstance(key, str):
        raise ValueError(f"expected a DICOM keyword, found {shown(key)}")  # noqa: TRY004
    if "." in key:
        raise ValueError(f"{shown(key)} stands in a sequence; only the top level is changed")
    attribute = find_attribute(key)
    if to_read:
        return attribute
    if attribute.keyword in _NEVER or attribute.tag >> 16 in _PIXEL_GROUPS:
        raise ValueError(f"{attribute.keyword} says how to read the object and is never changed")
    return attribute


def each_key(value: object) -> tuple[str, ...]:
    """The keywords of a list, or of one value; raises WrongValue."""
    keys = value if isinstance(value, list | tuple) else [value]
    if value is None or not keys:
        raise ValueError("the list of attributes is empty")
    complaints: list[Complaint] = []
    found: dict[str, None] = {}
    for index, key in enumerate(keys):
        try:
            found[changeable(key).keyword] = None
        except ValueError as error:
            path = (index,) if isinstance(value, list | tuple) else ()
            complaints.append(Complaint(path, str(error)))
    if complaints:
        raise WrongValue(complaints)
    return tuple(found)


def each_entry(value: object, read: Callable[[Attribute, object], T]) -> dict[str, T]:
    """Keyword -> what is read of its entry; raises WrongValue with every complaint."""
    if not isinstance(value, dict):
        raise ValueError(f"expected attributes and values, found {shown(value)}")  # noqa: TRY004
    complaints: list[Complaint] = []
    found: dict[str, T] = {}
    for key, entry in value.items():
        try:
            attribute = changeable(key)
        except ValueError as error:
            complaints.append(Complaint((key,), str(error), at_key=True))
            continue
        try:
            found[attribute.keyword] = read(attribute, entry)
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


def filled(template: str, value_of: Callable[[str], str]) -> str:
    """The template with values in place of keywords."""
    return _PLACEHOLDER.sub(lambda found: value_of(found[1]), template)


def check_value(attribute: Attribute, text: str) -> str:
    """One value, if the attribute can have it; raises ValueError."""
    keyword, vr = attribute.keyword, attribute.vr
    if vr in _WHOLE:
        low, high = _WHOLE[vr]
        if not re.fullmatch(r"[+-]?[0-9]{1,11}", text) or not low <= int(text) <= high:
            raise ValueError(f"{shown(text)} is no value of {keyword}; allowed: {low} to {high}")
        return text
    if vr == "UI":
        return parse_uid(text)
    if vr == "DA":
        day = parse_day(text)
        if not day.text:
            raise ValueError(f"{shown(text)} is not a fixed day; allowed: YYYYMMDD")
        return day.text
    if vr in _FORMS and not re.fullmatch(_FORMS[vr][0], text):
        raise ValueError(f"{shown(text)} is no value of {keyword} (VR {vr})"
                         f"; allowed: {_FORMS[vr][1]}")  # fmt: skip
    if len(text) > _LONGEST.get(vr, 1 << 16):
        raise ValueError(f"{shown(text)} is longer than the {_LONGEST[vr]} characters of VR {vr}")
    if vr not in ("LT", "ST", "UT") and (not text.isprintable() or "\\" in text):
        raise ValueError(f"{shown(text)} holds a character that {keyword} cannot have")
    return text
