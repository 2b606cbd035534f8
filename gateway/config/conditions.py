"""What an attribute has to be: one of some values, a range, a pattern, there or not.

A value or a list of values means any of them; a mapping holds operators, all of which must be
met: ``has, contains, matches, min, max, missing, ignore_case``.
"""

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any, Final, TypeAlias

from pydantic_core import SchemaError, SchemaValidator, core_schema

from gateway.config.days import parse_day
from gateway.config.dicom_names import (
    SOP_CLASS_UID,
    parse_sop_class,
    parse_transfer_syntax,
    parse_uid,
    uid_name,
)
from gateway.config.moments import is_moment, span_of_moment, span_of_time
from gateway.config.problems import Complaint, WrongValue, allowed, shown
from gateway.config.subjects import (
    AGE,
    BYTES,
    DAY,
    ITEMS,
    MOMENT,
    NAME,
    NETWORK,
    NUMBER,
    TIME,
    TITLE,
    UIDS,
    UNKNOWN,
    Subject,
    names_uid,
)
from gateway.config.units import format_size, parse_size
from gateway.config.values import parse_ae_title, parse_boolean

PADDING: Final = " \t\r\n\0"
_DIGITS: Final = 28
_LONGEST: Final = 64
_AGE: Final = re.compile(r"([0-9]{1,3})([DWMY])")
_AGE_DAYS: Final = {"D": 1.0, "W": 7.0, "M": 30.4375, "Y": 365.25}
_TIME: Final = re.compile(r"([0-9]{2})(?::?([0-9]{2})(?::?([0-9]{2})(\.[0-9]{1,6})?)?)?")
_RANGES: Final = frozenset({NUMBER, DAY, TIME, MOMENT, AGE, BYTES, UNKNOWN})


@dataclass(frozen=True, slots=True)
class Condition:
    """The operators of one attribute, all of which must hold.

    ``has`` are values of which one suffices; ``contains`` pieces of text, ``matches`` regular
    expressions for the whole value, of which one suffices. ``missing`` None does not ask.
    """

    has: tuple[str, ...] = ()
    contains: tuple[str, ...] = ()
    matches: tuple[str, ...] = ()
    min: str | None = None
    max: str | None = None
    missing: bool | None = None
    ignore_case: bool = False

    @property
    def plain(self) -> bool:
        """Nothing but values, compared as they are."""
        return self == Condition(has=self.has)


OPERATORS: Final = tuple(each.name for each in fields(Condition))


def parse_condition(subject: Subject, value: object) -> Condition:
    """A value, a list of values or operators; raises WrongValue or ValueError."""
    if isinstance(value, Condition):
        return value
    if not isinstance(value, dict):
        value = {"has": value}
        return _operators(subject, value, bare=True)
    if not value:
        raise ValueError(f"{subject.key} has no operators{allowed(OPERATORS)}")
    return _checked(subject, _operators(subject, value, bare=False))


def _operators(subject: Subject, value: dict[str, Any], *, bare: bool) -> Condition:
    found: dict[str, Any] = {}
    complaints: list[Complaint] = []
    for name, operand in value.items():
        path = () if bare else (name,)
        if name not in OPERATORS:
            text = f"{shown(name)} is no operator{allowed(OPERATORS, name)}"
            complaints.append(Complaint(path, text, at_key=True))
            continue
        try:
            found[name] = _operand(subject, name, operand)
        except WrongValue as error:
            complaints.extend(each.under(*path) for each in error.complaints)
        except ValueError as error:
            complaints.append(Complaint(path, str(error)))
    if complaints:
        raise WrongValue(complaints)
    return Condition(**found)


def _operand(subject: Subject, name: str, operand: object) -> Any:
    if name in ("missing", "ignore_case"):
        return parse_boolean(operand)
    if subject.kind == ITEMS:
        raise ValueError(
            f"{subject.key} is a sequence; allowed: missing: true, or a path into it such as"
            f" {subject.key}.CodeValue"
        )
    if name in ("min", "max"):
        return _bound(subject, operand)
    if name in ("contains", "matches") and subject.kind in (NETWORK, BYTES):
        raise ValueError(f"{subject.key} is a {subject.kind}; {name} is for text")
    read = {"contains": _piece, "matches": parse_pattern}.get(name)
    return _each(subject, operand, read or (lambda text: normal(subject, text)))


def _each(subject: Subject, operand: object, read: Callable[[str], str]) -> tuple[str, ...]:
    several = isinstance(operand, list | tuple)
    values = operand if isinstance(operand, list | tuple) else [operand]
    if not values:
        raise ValueError(f"{subject.key} has an empty list of values")
    complaints: list[Complaint] = []
    found: dict[str, None] = {}
    for index, each in enumerate(values):
        path = (index,) if several else ()
        try:
            found[_read_one(subject, each, read)] = None
        except ValueError as error:
            complaints.append(Complaint(path, str(error)))
    if complaints:
        raise WrongValue(complaints)
    return tuple(found)


def _read_one(subject: Subject, value: object, read: Callable[[str], str]) -> str:
    if isinstance(value, dict | list):
        raise ValueError(  # noqa: TRY004
            f"{subject.key} is compared with {shown(value)}; allowed in a list: plain values"
        )
    if not isinstance(value, str) or not value.strip():
        raise ValueError(
            f"{subject.key} has no value; allowed: a value, a list of values, or"
            " { missing: true } for what must not be there"
        )
    return read(str(value))


def _piece(text: str) -> str:
    return text


def parse_pattern(text: str) -> str:
    """A regular expression without look-around and references back: it always ends soon."""
    try:
        pattern(text, ignore_case=False)
    except SchemaError as error:
        reason = str(error).strip().rpartition("error: ")[2].splitlines()[0]
        raise ValueError(f"{shown(text)} is not a regular expression: {reason}") from None
    if meant := _half_marked(text):
        what = f"{shown(text)} has to fit the whole value, and marks one end of it only"
        raise ValueError(f"{what}; did you mean {meant}?")
    return text


def _half_marked(text: str) -> str:
    """What a pattern with ``^`` or ``$`` alone was meant to be, "" where all is well."""
    if text.startswith("^") and not text.endswith(("$", "*", "+", "}")):
        return f"{text}.*"
    begun = text.startswith(("^", "(?", ".*", ".+"))
    return f".*{text}" if text.endswith("$") and not (begun or text.endswith("\\$")) else ""


def pattern(text: str, *, ignore_case: bool) -> Callable[[str], bool]:
    """Whether a whole text matches a regular expression, in linear time (Rust's syntax)."""
    flags = "(?si:" if ignore_case else "(?s:"
    _compiled(text)  # on its own: brackets in it could close those around it
    return _compiled(rf"\A{flags}{text})\z").isinstance_python


def _compiled(text: str) -> SchemaValidator:
    return SchemaValidator(core_schema.str_schema(pattern=text, regex_engine="rust-regex"))


def _bound(subject: Subject, operand: object) -> str:
    if subject.kind not in _RANGES:
        raise ValueError(f"{subject.key} holds {_plural(subject)}; min and max are for numbers,"
                         " dates, times and ages")  # fmt: skip
    if not isinstance(operand, str) or not operand.strip():
        raise ValueError(f"{subject.key} has no bound; found {shown(operand)}")
    text = normal(subject, operand)
    if subject.kind == UNKNOWN and not decimal(text):
        raise ValueError(f"{shown(text)} is not a number")
    return text


def _plural(subject: Subject) -> str:
    kinds = {NAME: "person names", UIDS: "UIDs", TITLE: "AE titles", NETWORK: "addresses"}
    return kinds.get(subject.kind, "text")


def _checked(subject: Subject, condition: Condition) -> Condition:
    """The operators are not at odds with each other."""
    low, high = condition.min, condition.max
    if low is not None and high is not None and _beyond(subject, low, high):
        raise ValueError(f"min {low} is beyond max {high}; nothing lies between")
    asks = condition.has or condition.contains or condition.matches or low or high
    if condition.missing and asks:
        raise ValueError(
            "missing: true stands with other operators; what is not there has no value"
        )
    if condition.ignore_case and not (condition.has or condition.contains or condition.matches):
        raise ValueError("ignore_case is for has, contains and matches, and none is there")
    return condition


def _beyond(subject: Subject, low: str, high: str) -> bool:
    """The one lies behind the other on every day."""
    if subject.kind == DAY:
        first, last = parse_day(low), parse_day(high)
        return bool(first.text) == bool(last.text) and first > last
    least: Any = ordinal(subject.kind, low) or 0
    return bool(least > (last_ordinal(subject.kind, high) or 0))


Ordinal: TypeAlias = float | str | None
"""What values of one kind are ordered by, None where a text has no place in the order."""


def ordinal(kind: str, text: str) -> Ordinal:
    """The place of a value: of a time or date with less precision that of its first moment."""
    return _ordinals(kind, text)[0] if len(text) <= _LONGEST else None


def last_ordinal(kind: str, text: str) -> Ordinal:
    """As ``ordinal``, of its last moment."""
    return _ordinals(kind, text)[1] if len(text) <= _LONGEST else None


@lru_cache(maxsize=4096)
def _ordinals(kind: str, text: str) -> tuple[Ordinal, Ordinal]:
    if kind == TIME:
        return span_of_time(text) or (None, None)
    if kind == MOMENT:
        return span_of_moment(text) or (None, None)
    place = _ordinal(kind, text)
    return place, place


def _ordinal(kind: str, text: str) -> Ordinal:
    if kind in (NUMBER, UNKNOWN, BYTES):
        return float(text) if decimal(text) else None
    if kind == AGE:
        found = _AGE.fullmatch(text)
        return int(found[1]) * _AGE_DAYS[found[2]] if found else None
    digits = text.replace(".", "")
    return digits if digits.isdigit() else None


def normal(subject: Subject, text: str) -> str:
    """The one spelling of a value of the configuration; raises ValueError where it is none."""
    text = text.strip(PADDING)
    if subject.key == "TransferSyntaxUID":
        return parse_transfer_syntax(text)
    if names_uid(subject) == SOP_CLASS_UID:
        return parse_sop_class(text)
    values = text.split("\\") if subject.multi_valued else [text]
    return "\\".join(_NORMAL.get(subject.kind, _as_it_is)(value.strip(PADDING), subject)
                     for value in values)  # fmt: skip


def _as_it_is(text: str, _: Subject) -> str:
    return text


def _number(text: str, subject: Subject) -> str:
    number = decimal(text)
    if not number:
        raise ValueError(f"{shown(text)} is not a number, which {subject.key} holds")
    return number


def _age(text: str, _: Subject) -> str:
    found = _AGE.fullmatch(text.upper())
    if not found:
        raise ValueError(f"{shown(text)} is not an age; allowed: such as 18Y, 6M, 2W or 10D")
    return f"{int(found[1]):03d}{found[2]}"


def _time(text: str, _: Subject) -> str:
    found = _TIME.fullmatch(text)
    if not found or int(found[1]) > 23 or int(found[2] or 0) > 59 or int(found[3] or 0) > 59:
        raise ValueError(f"{shown(text)} is not a time; allowed: HHMM or HHMMSS, such as 0830")
    return "".join(filter(None, found.groups()))


def _moment(text: str, _: Subject) -> str:
    if not is_moment(text):
        raise ValueError(
            f"{shown(text)} is not a date and time; allowed: YYYYMMDDHHMMSS or its first part,"
            " such as 20261122 or 202611220830"
        )
    return text


def _network(text: str, _: Subject) -> str:
    return parse_network(text)


def _title(text: str, _: Subject) -> str:
    return parse_ae_title(text)


_NORMAL: Final[dict[str, Callable[[str, Subject], str]]] = {
    NUMBER: _number,
    AGE: _age,
    TIME: _time,
    MOMENT: _moment,
    NETWORK: _network,
    TITLE: _title,
    DAY: lambda text, _: str(parse_day(text)),
    UIDS: lambda text, _: parse_uid(text),
    BYTES: lambda text, _: str(parse_size(text)),
    NAME: lambda text, _: text.rstrip("^ "),
}


def parse_network(text: str) -> str:
    """An address or a network of them (CIDR); raises ValueError."""
    try:
        interface = ipaddress.ip_interface(text.strip())
    except ValueError:
        raise ValueError(
            f"{shown(text)} is not a network; allowed: such as 10.1.0.0/16 or 10.1.2.30"
        ) from None
    network = interface.network
    if interface.ip != network.network_address:
        raise ValueError(f"{shown(text)} has bits behind its mask; did you mean {network}?")
    return str(interface.ip) if network.prefixlen == network.max_prefixlen else str(network)


def decimal(text: str) -> str:
    """One spelling of a number, "" where ``text`` is none (or beyond what DICOM's VRs need)."""
    if not text.isascii() or len(text) > _DIGITS or "_" in text:
        return ""
    try:
        number = Decimal(text)
    except InvalidOperation:
        return ""
    if not number.is_finite() or abs(number.adjusted()) > _DIGITS:
        return ""
    return f"{number.normalize() + 0:f}"


def write_condition(subject: Subject, condition: Condition) -> Any:
    """The condition as the file has it."""
    if condition.plain:
        return [as_written(subject, value) for value in condition.has]
    written: dict[str, Any] = {}
    for name in OPERATORS:
        value = getattr(condition, name)
        if value in ((), None, False) and not (name == "missing" and value is False):
            continue
        if isinstance(value, tuple):
            value = [as_written(subject, each) if name == "has" else each for each in value]
        elif name in ("min", "max"):
            value = as_written(subject, value)
        written[name] = value
    return written


def as_written(subject: Subject, value: str) -> str:
    """A value as an administrator writes it: names for UIDs, units for sizes."""
    if subject.kind == BYTES:
        return format_size(int(value))
    return uid_name(names_uid(subject), value)
