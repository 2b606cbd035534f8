"""``examples``: tests inside the configuration, an instance that is given and what is expected."""

from datetime import datetime
from typing import Annotated, Any, Final, NamedTuple, TypeAlias

from pydantic import PlainSerializer, PlainValidator

from gateway.config.conditions import as_written, normal
from gateway.config.dicom_names import parse_transfer_syntax
from gateway.config.problems import Complaint, WrongValue, allowed, shown
from gateway.config.readers import Text
from gateway.config.section import Section
from gateway.config.subjects import ITEMS, find_subject
from gateway.config.values import parse_node_name, parse_route_name
from gateway.model import UID
from gateway.transfer_syntax import name_of

NOTHING: Final = "nothing"
FROM: Final = "from"
AT: Final = "at"
SYNTAX: Final = "syntax"
PHOTOMETRIC: Final = "photometric"
PHOTOMETRICS: Final = (
    "MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB", "YBR_FULL", "YBR_FULL_422",
    "YBR_PARTIAL_420", "YBR_PARTIAL_422", "YBR_ICT", "YBR_RCT", "XYB",
)  # fmt: skip
"""The terms of Photometric Interpretation, PS3.3 C.7.6.3.1.2."""


class Sent(NamedTuple):
    """That a route sends to a destination, in ``syntax`` and with ``photometric`` as the
    Photometric Interpretation, in any where they are ""."""

    route: str
    destination: str
    syntax: UID = ""
    photometric: str = ""


Given: TypeAlias = dict[str, str]
"""A subject's key, or ``from`` (a node) or ``at`` (date and time) -> the value."""


def parse_given(value: object) -> Given:
    """What is known of the instance; raises WrongValue with every complaint."""
    if not isinstance(value, dict):
        raise ValueError(f"expected attributes and values, found {shown(value)}")  # noqa: TRY004
    complaints: list[Complaint] = []
    given: Given = {}
    for key, each in value.items():
        try:
            name, text = _given(key, each)
            if name in given:
                raise ValueError(f"{name} stands here twice; write its values as one list")  # noqa: TRY301
            given[name] = text
        except ValueError as error:
            complaints.append(Complaint((key,), str(error)))
    if complaints:
        raise WrongValue(complaints)
    return given


def _given(key: str, value: object) -> tuple[str, str]:
    text = _text(key, value)
    if key == FROM:
        return key, parse_node_name(text)
    if key == AT:
        return key, _moment(text)
    subject = find_subject(key)
    if subject.component >= 0:
        raise ValueError(f"{key} is part of a name; allowed: the whole of it as {subject.source}")
    if subject.kind == ITEMS:
        raise ValueError(f"{key} is a sequence; allowed: a path into it such as {key}.CodeValue")
    return subject.key, normal(subject, text)


def _text(key: str, value: object) -> str:
    values = value if isinstance(value, list) else [value]
    texts = [each.strip() for each in values if isinstance(each, str)]
    if not texts or len(texts) != len(values) or not all(texts):
        raise ValueError(
            f"{key} has no value; allowed: a value, or a list of an attribute's values"
        )
    return "\\".join(texts)


def _moment(text: str) -> str:
    try:
        return datetime.fromisoformat(text).isoformat(timespec="minutes")
    except ValueError:
        what = f"{shown(text)} is not a date and time; allowed: such as 2026-11-22T18:30"
        raise ValueError(what) from None


def _write_given(given: Given) -> dict[str, object]:
    written: dict[str, object] = {}
    for key, text in given.items():
        subject = None if key in (FROM, AT) else find_subject(key)
        if subject is None:
            written[key] = text
            continue
        values = text.split("\\") if subject.multi_valued else [text]
        named = [as_written(subject, each) for each in values]
        written[key] = named[0] if len(named) == 1 else named
    return written


def parse_expected(value: object) -> tuple[Sent, ...]:
    """``nothing``, or routes with the nodes they send to; raises WrongValue."""
    if value == NOTHING or value == ():
        return ()
    if not isinstance(value, dict) or not value:
        raise ValueError(
            f"{shown(value or None)} says not who gets it; allowed: {NOTHING}, or ROUTE: NODE, or"
            " ROUTE: { NODE: { syntax: NAME } }"
        )
    complaints: list[Complaint] = []
    sent: list[Sent] = []
    for route, nodes in value.items():
        try:
            sent.extend(_sent(parse_route_name(route), nodes))
        except WrongValue as error:
            complaints.extend(each.under(route) for each in error.complaints)
        except ValueError as error:
            complaints.append(Complaint((route,), str(error)))
    if complaints:
        raise WrongValue(complaints)
    return tuple(sent)


def _sent(route: str, nodes: object) -> list[Sent]:
    if isinstance(nodes, dict) and nodes:
        return [_outcome(route, node, how) for node, how in nodes.items()]
    listed = nodes if isinstance(nodes, list) else [nodes]
    if not listed:
        raise ValueError("has no nodes; leave the route out where it shall not take the instance")
    return [Sent(route, parse_node_name(node)) for node in listed]


def _outcome(route: str, node: str, how: object) -> Sent:
    read = {SYNTAX: parse_transfer_syntax, PHOTOMETRIC: _photometric}
    if not isinstance(how, dict):
        text = f"expected {{ syntax: NAME, photometric: NAME }}, found {shown(how)}"
        raise WrongValue([Complaint((node,), text)])
    complaints: list[Complaint] = []
    found = {SYNTAX: "", PHOTOMETRIC: ""}
    for key, value in how.items():
        if key not in read:
            text = f"unknown key {shown(key)}{allowed(tuple(read), key)}"
            complaints.append(Complaint((node, key), text, at_key=True))
            continue
        try:
            found[key] = read[key](value)
        except ValueError as error:
            complaints.append(Complaint((node, key), str(error)))
    if complaints:
        raise WrongValue(complaints)
    return Sent(route, parse_node_name(node), found[SYNTAX], found[PHOTOMETRIC])


def _photometric(value: object) -> str:
    if value not in PHOTOMETRICS:
        what = f"{shown(value)} is no Photometric Interpretation"
        raise ValueError(what + allowed(PHOTOMETRICS, value))
    return str(value)


def _write_expected(sent: tuple[Sent, ...]) -> object:
    written: dict[str, Any] = {}
    for route, destination, syntax, photometric in sent:
        how = {SYNTAX: name_of(syntax)} if syntax else {}
        how |= {PHOTOMETRIC: photometric} if photometric else {}
        written.setdefault(route, {})[destination] = how
    short = {route: nodes if any(nodes.values()) else [*nodes] for route, nodes in written.items()}
    return short or NOTHING


class Example(Section):
    """An instance, and the routes that take it with the nodes it is sent to, all of them."""

    name: Text | None = None
    given: Annotated[Given, PlainValidator(parse_given), PlainSerializer(_write_given)]
    expect: Annotated[
        tuple[Sent, ...], PlainValidator(parse_expected), PlainSerializer(_write_expected)
    ]
