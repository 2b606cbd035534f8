"""``match`` and ``unless``: what a route takes, and what it passes over.

Several keys mean all of them. Equality compares the whole value or, where an attribute has
several values, any one of them; upper and lower case differ, white space around a value does
not count, numbers are compared as numbers.
"""

from typing import Any, Final, TypeAlias

from gateway.config.conditions import Condition, parse_condition, write_condition
from gateway.config.problems import Complaint, WrongValue, shown
from gateway.config.subjects import find_subject

Match: TypeAlias = dict[str, Condition]
"""Subject's key -> what it has to be."""

_OF_ROUTE: Final = frozenset({"expr", "during", "group", "from"})


def parse_match(value: object) -> Match:
    """``match`` or ``unless``; raises WrongValue with every complaint."""
    if not isinstance(value, dict) or not value:
        found = "nothing" if value == {} else shown(value)
        raise ValueError(
            f"expected attributes and values, found {found}; leave the key out to take everything"
        )
    complaints: list[Complaint] = []
    match: Match = {}
    for key, wanted in value.items():
        try:
            if key in _OF_ROUTE:
                raise ValueError(f"'{key}' is no attribute; write it one level further out")  # noqa: TRY301
            subject = find_subject(key)
            if subject.key in match:
                raise ValueError(f"{subject.key} stands here twice; write its values as one list")  # noqa: TRY301
        except ValueError as error:
            complaints.append(Complaint((key,), str(error), at_key=True))
            continue
        try:
            match[subject.key] = parse_condition(subject, wanted)
        except WrongValue as error:
            complaints.extend(each.under(key) for each in error.complaints)
        except ValueError as error:
            complaints.append(Complaint((key,), str(error)))
    if complaints:
        raise WrongValue(complaints)
    return match


def write_match(match: Match) -> dict[str, Any]:
    """``match`` as the file has it."""
    return {key: write_condition(find_subject(key), each) for key, each in match.items()}
