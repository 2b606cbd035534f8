"""The configuration's own examples, tried: what each of them says that the routes do not do."""

from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, tzinfo
from typing import Final, NamedTuple, TypeAlias

from gateway.config.days import parse_day
from gateway.config.examples import AT, FROM, Example, Sent
from gateway.config.models import Config, Route
from gateway.config.problems import Problem
from gateway.config.subjects import (
    ADDRESS,
    CALLED_AE,
    CALLING_AE,
    DAY,
    SIZE,
    find_subject,
)
from gateway.failures import PermanentFailure
from gateway.model import UID, Origin
from gateway.route.explain import explained
from gateway.route.rules import Rules
from gateway.route.senders import origin_of
from gateway.route.values import Met
from gateway.transfer_syntax import name_of


class Sending(NamedTuple):
    """The form in which a node gets an instance; ``photometric`` is "" where nobody knows it."""

    syntax: UID
    photometric: str = ""


Outcome: TypeAlias = Callable[[Met, str, Route], Sending]
"""What is known, destination and route -> what is sent; raises PermanentFailure for nothing."""

_FACTS: Final = frozenset({FROM, AT, CALLING_AE, CALLED_AE, ADDRESS, SIZE})
_SYNTAX: Final = "TransferSyntaxUID"
_PHOTOMETRIC: Final = "PhotometricInterpretation"


def failures(config: Config, rules: Rules, outcome: Outcome) -> list[Problem]:
    """One problem for each example that does not come out as it expects."""
    found = []
    for index, example in enumerate(config.examples):
        text = "; ".join(_differences(example, config, rules, outcome))
        if text:
            name = example.name or f"example {index + 1}"
            found.append(config.problem(("examples", index), f"{name}: {text}"))
    return found


def met_by(example: Example, config: Config, rules: Rules) -> Met:
    """What the example's instance shows to the rules."""
    given = example.given
    at = given.get(AT)
    now = None if at is None else _aware(datetime.fromisoformat(at), rules.zone)
    header = {}
    for key, text in given.items():
        if key not in _FACTS:
            subject = find_subject(key)
            header[subject.source] = _dated(text, now) if subject.kind == DAY else text
    size = int(given[SIZE]) if SIZE in given else None
    return rules.meet(header, _origin(example, config), size=size, now=now)


def _aware(moment: datetime, zone: tzinfo | None) -> datetime:
    if moment.tzinfo is not None:
        return moment
    return moment.astimezone() if zone is None else moment.replace(tzinfo=zone)


def _dated(text: str, now: datetime | None) -> str:
    """Days as YYYYMMDD; those counted from today are empty where the time is not given."""
    today: date | None = None if now is None else now.date()
    days = map(parse_day, text.split("\\"))
    return "\\".join(day.text or ("" if today is None else day.on(today)) for day in days)


def _origin(example: Example, config: Config) -> Origin:
    given = example.given
    called, address = given.get(CALLED_AE, ""), given.get(ADDRESS, "")
    return origin_of(config, given.get(FROM, ""), given.get(CALLING_AE, ""), called, address)


def _differences(
    example: Example, config: Config, rules: Rules, outcome: Outcome
) -> Iterator[str]:
    met = met_by(example, config, rules)
    routes = [(rule.route, explained(rule, met)) for rule in rules.routes]
    taken = [route for route, how in routes if how.takes]
    objections = {route.name: how.objections() for route, how in routes}
    does = {(route.name, node): route for route in taken for node in route.send_to}
    expected = {(each.route, each.destination): each for each in example.expect}
    for pair in sorted(expected.keys() - does.keys()):
        yield _missing(*pair, objections)
    for route, node in sorted(does.keys() - expected.keys()):
        yield f"route {route} sends it to {node}, which is not expected"
    for pair in sorted(does.keys() & expected.keys()):
        yield from _other_form(expected[pair], met, does[pair], outcome)


def _missing(route: str, node: str, objections: Mapping[str, str]) -> str:
    if route not in objections:
        return f"route {route} is switched off"
    if not objections[route]:
        return f"route {route} takes it and does not send it to {node}"
    return f"route {route} does not take it: {objections[route]}"


def _other_form(expected: Sent, met: Met, route: Route, outcome: Outcome) -> Iterator[str]:
    """Where the node gets another transfer syntax or other colours than it should."""
    if not (expected.syntax or expected.photometric):
        return
    start = f"to {expected.destination} it"
    wanted = name_of(expected.syntax) if expected.syntax else expected.photometric
    header = met.header
    missing = [_SYNTAX] if not header.get(_SYNTAX) else []
    if expected.photometric and not header.get(_PHOTOMETRIC):
        missing.append(_PHOTOMETRIC)
    if missing:
        yield f"{start} has no {' and no '.join(missing)} in given, not as {wanted}"
        return
    try:
        sent = outcome(met, expected.destination, route)
    except PermanentFailure as failure:
        yield f"{start} cannot be sent, not as {wanted}: {failure}"
        return
    if expected.syntax not in ("", sent.syntax):
        yield f"{start} is sent as {name_of(sent.syntax)}, not as {name_of(expected.syntax)}"
    if expected.photometric not in ("", sent.photometric):
        yield f"{start} is {sent.photometric}, not {expected.photometric}"
