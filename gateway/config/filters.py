"""The filter of a ``fetch`` rule: matching keys of QIDO-RS (PS3.18 §8.3.4.1, PS3.4 §C.2.2.2)."""

import re
from collections.abc import Iterator, Mapping
from datetime import date
from itertools import product
from typing import Final, NamedTuple, TypeAlias

from gateway.config.days import Days, parse_days
from gateway.config.dicom_names import (
    Attribute,
    find_attribute,
    parse_sop_class,
    parse_uid,
    uid_name,
)
from gateway.config.problems import Complaint, WrongValue, shown

OF_SERIES: Final = frozenset(
    {
        "Modality", "SeriesInstanceUID", "SeriesDescription", "SeriesNumber", "BodyPartExamined",
        "ProtocolName", "StationName", "Laterality", "PerformedProcedureStepStartDate",
    }
)  # fmt: skip
"""Attributes that a search for studies does not know."""


class Wanted(NamedTuple):
    """What an attribute has to be: one of some texts (with wildcards) or UIDs, or a day."""

    values: tuple[str, ...] = ()
    days: Days | None = None


Filter: TypeAlias = dict[str, Wanted]
"""Attribute keyword -> what it has to be."""


def parse_filter(value: object) -> Filter:
    """Matching keys; raises WrongValue with every complaint."""
    if not isinstance(value, dict) or not value:
        found = "nothing" if value == {} else shown(value)
        raise ValueError(f"expected attributes and values such as Modality: CT, found {found}")
    complaints: list[Complaint] = []
    filter_: Filter = {}
    for key, wanted in value.items():
        try:
            attribute = find_attribute(key)
        except ValueError as error:
            complaints.append(Complaint((key,), str(error), at_key=True))
            continue
        try:
            filter_[attribute.keyword] = _wanted(attribute, wanted)
        except WrongValue as error:
            inner = (
                Complaint((key, *each.path), each.text, each.at_key) for each in error.complaints
            )
            complaints.extend(inner)
        except ValueError as error:
            complaints.append(Complaint((key,), str(error)))
    if complaints:
        raise WrongValue(complaints)
    return filter_


def _wanted(attribute: Attribute, value: object) -> Wanted:
    if isinstance(value, Wanted):
        return value
    if attribute.vr == "DA":
        return Wanted(days=parse_days(value))
    if isinstance(value, list) and value:
        return Wanted(tuple(dict.fromkeys(_text(attribute, each) for each in value)))
    if isinstance(value, list | dict):
        raise ValueError(  # noqa: TRY004
            f"{attribute.keyword} is asked for with {shown(value)}; allowed: one value, with * and"
            " ? as wildcards; a list of values; a range { min:, max: } of days"
        )
    return Wanted((_text(attribute, value),))


def _text(attribute: Attribute, value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{attribute.keyword} has no value; leave the key out to get all")
    if attribute.keyword == "SOPClassUID":
        return parse_sop_class(value)
    if attribute.vr == "CS" and {",", "\\"} & set(value):
        meant = ", ".join(re.split(r"[,\\\s]+", value.strip()))
        raise ValueError(
            f"{shown(value)} would be asked for as one value; write the list [{meant}]"
        )
    return parse_uid(value.strip()) if attribute.vr == "UI" else value.strip()


def write_filter(filter_: Filter) -> dict[str, object]:
    """The filter as the file has it."""
    return {key: _written(key, wanted) for key, wanted in filter_.items()}


def _written(key: str, wanted: Wanted) -> object:
    if wanted.days is not None:
        return wanted.days.as_written()
    values = [uid_name(key, value) for value in wanted.values]
    return values[0] if len(values) == 1 else values


def queries(filter_: Mapping[str, Wanted], today: date) -> Iterator[list[tuple[str, str]]]:
    """The filter as query parameters of QIDO-RS, not yet percent-encoded.

    Only UIDs can be asked for several at once (PS3.4 §C.2.2.2.2), so there is a query for each of
    several other values: what any of them finds is meant.
    """
    asked = (
        [(key.replace(",", ""), text) for text in _texts(key, wanted, today)]
        for key, wanted in filter_.items()
    )
    yield from map(list, product(*asked))


def _texts(key: str, wanted: Wanted, today: date) -> tuple[str, ...]:
    values, days = wanted
    if days is None:
        return (",".join(values),) if find_attribute(key).vr == "UI" else values
    if days.first == days.last and days.first is not None:
        return (days.first.on(today),)
    return ("-".join("" if day is None else day.on(today) for day in (days.first, days.last)),)
