"""Values out of DICOM JSON objects, as far as a client needs them (PS3.18 Annex F)."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

STUDY_UID: Final = "0020000D"
SERIES_UID: Final = "0020000E"
SOP_CLASS_UID: Final = "00080016"
SOP_INSTANCE_UID: Final = "00080018"
STUDY_INSTANCES: Final = "00201208"
SERIES_INSTANCES: Final = "00201209"


def first(attributes: Mapping[str, Any], tag: str) -> Any:
    """The first value of an attribute, None where there is none."""
    return next(values(attributes, tag), None)


def values(attributes: Mapping[str, Any], tag: str) -> Iterator[Any]:
    """The values of an attribute; none where it is not there, or is not what it should be."""
    attribute = attributes.get(tag)
    found = attribute.get("Value") if isinstance(attribute, dict) else None
    if isinstance(found, list):
        yield from found


def text(attributes: Mapping[str, Any], tag: str) -> str:
    """The first value as text without padding, "" where there is none."""
    value = first(attributes, tag)
    return value.strip("\0 ") if isinstance(value, str) else ""


def number(attributes: Mapping[str, Any], tag: str) -> int | None:
    """The first value as a whole number, whether it was written as one or as text."""
    value = first(attributes, tag)
    try:
        return int(value) if isinstance(value, int | str) else None
    except ValueError:
        return None
