"""``from``, ``match`` and ``unless``: whom and what a route takes.

``match`` maps attributes to a value or a list of values. A list means any of them, several
attributes mean all of them. Equality compares the whole value or, where an attribute has
several values, any one of them; upper and lower case differ, white space around a value does
not count, numbers are compared as numbers.
"""

import ipaddress
import re
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import Final, NamedTuple, TypeAlias

from gateway.config.dicom_names import (
    SOP_CLASS_UID,
    TRANSFER_SYNTAX_UID,
    Attribute,
    find_attribute,
    parse_sop_class,
    parse_transfer_syntax,
    parse_uid,
)
from gateway.config.problems import Complaint, Path, WrongValue, allowed, shown, unexpected
from gateway.config.values import parse_ae_title, parse_node_name

Match: TypeAlias = dict[str, tuple[str, ...]]
"""Attribute keyword -> the values of which one must be met."""

NODE: Final = "node"
CALLING_AE: Final = "calling_ae"
CALLED_AE: Final = "called_ae"
ADDRESS: Final = "address"
_PATTERNS: Final = (CALLING_AE, CALLED_AE, ADDRESS)
_FORMS: Final = "a node's name, calling_ae:TITLE, called_ae:TITLE, address:NETWORK"
_LATER: Final = frozenset({"expr", "during", "size", "group"})
_DATE: Final = re.compile(r"[0-9]{8}|[0-9]{4}\.[0-9]{2}\.[0-9]{2}")


class Sender(NamedTuple):
    """One entry of ``from``. ``kind`` is node, calling_ae, called_ae or address.

    A node stands for its AE title alone: what calls itself so, from any address. Where the
    address matters, ``address:`` says so.
    """

    kind: str
    value: str

    def __str__(self) -> str:
        return self.value if self.kind == NODE else f"{self.kind}:{self.value}"


def parse_sender(value: object) -> Sender:
    """A node's name or one of the patterns; raises ValueError."""
    if isinstance(value, Sender):
        return value
    if isinstance(value, dict) and len(value) == 1 and next(iter(value)) in _PATTERNS:
        name = next(iter(value))
        raise ValueError(f"'{name}: ...' is read as a mapping; write {name}:VALUE without a space")
    if not isinstance(value, str):
        raise unexpected("a sender", value, f"; allowed: {_FORMS}")
    kind, colon, what = value.partition(":")
    if not colon:
        return Sender(NODE, parse_node_name(value))
    if kind not in _PATTERNS:
        raise ValueError(f"{shown(kind)} is no kind of sender{allowed(_PATTERNS, kind)}")
    return Sender(kind, _network(what) if kind == ADDRESS else _ae_title(what))


def _ae_title(text: str) -> str:
    title = parse_ae_title(text)
    if "*" in title or "?" in title:
        raise ValueError(f"{shown(title)}: wildcards are not supported in this version")
    return title


def _network(text: str) -> str:
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
            attribute = _attribute(key)
        except ValueError as error:
            complaints.append(Complaint((key,), str(error), at_key=True))
            continue
        if attribute.keyword in match:
            text = f"{attribute.keyword} stands here twice; write its values as one list"
            complaints.append(Complaint((key,), text, at_key=True))
        match[attribute.keyword] = tuple(_wanted(attribute, (key,), wanted, complaints))
    if complaints:
        raise WrongValue(complaints)
    return match


def _attribute(key: str) -> Attribute:
    if key in _PATTERNS:
        raise ValueError(f"{shown(key)} is no attribute; write it under from: as {key}:VALUE")
    if key in _LATER:
        raise ValueError(f"{shown(key)} is not supported in this version")
    return find_attribute(key)


def _wanted(
    attribute: Attribute, path: Path, wanted: object, complaints: list[Complaint]
) -> Iterator[str]:
    several = isinstance(wanted, list | tuple)
    if several and not wanted:
        complaints.append(Complaint(path, f"{attribute.keyword} has an empty list of values"))
    for index, value in enumerate(wanted if isinstance(wanted, list | tuple) else [wanted]):
        try:
            yield _value(attribute, value)
        except ValueError as error:
            complaints.append(Complaint((*path, index) if several else path, str(error)))


def _value(attribute: Attribute, value: object) -> str:
    if isinstance(value, dict):
        operators = ", ".join(str(key) for key in value)
        raise ValueError(  # noqa: TRY004
            f"operators ({operators}) are not supported in this version"
            "; allowed: a value or a list of values"
        )
    if not isinstance(value, str) or not value.strip():
        raise ValueError(
            f"{attribute.keyword} has no value; allowed: a value or a list of values"
            " (a test for missing attributes is not supported in this version)"
        )
    return _checked(attribute, comparable(attribute, value))


def _checked(attribute: Attribute, text: str) -> str:
    """``text`` if an attribute of this kind can have it; names of UIDs become UIDs."""
    if attribute.keyword == TRANSFER_SYNTAX_UID:
        return parse_transfer_syntax(text)
    if attribute.keyword == SOP_CLASS_UID:
        return parse_sop_class(text)
    if attribute.vr == "UI":
        return "\\".join(map(parse_uid, text.split("\\")))
    if attribute.vr == "DA" and not all(map(_DATE.fullmatch, text.split("\\"))):
        raise ValueError(f"{shown(text)} is not a DICOM date; allowed: YYYYMMDD")
    if attribute.number and not all(map(_decimal, text.split("\\"))):
        raise ValueError(f"{shown(text)} is not a number, which {attribute.keyword} holds")
    return text


def comparable(attribute: Attribute, text: str) -> str:
    """The form in which values of the configuration and of headers are compared.

    White space and NUL padding around each value is taken off; numbers get one spelling.
    """
    if not attribute.multi_valued:
        return text.strip(_PADDING)
    values = [value.strip(_PADDING) for value in text.split("\\")]
    if attribute.number:
        values = [_decimal(value) or value for value in values]
    return "\\".join(values)


_PADDING: Final = " \t\r\n\0"
_DIGITS: Final = 28


def _decimal(text: str) -> str:
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
