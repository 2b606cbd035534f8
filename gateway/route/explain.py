"""Why an instance goes where it goes: every route, every predicate, the value that was met."""

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.config.dicom_names import uid_name
from gateway.config.predicates import ADDRESS, CALLED_AE, CALLING_AE
from gateway.model import Origin
from gateway.route.rules import Decision, Met, RouteRule, Rules, SenderRule, ValueRule


@dataclass(frozen=True, slots=True)
class Predicate:
    """One condition: ``subject`` is calling_ae, called_ae, address or an attribute's keyword.

    ``wanted`` are the values of which one suffices, ``met`` the value that the instance has (None
    where it has none), UIDs by name; ``written`` is the entry as the file has it.
    """

    subject: str
    wanted: tuple[str, ...]
    met: str | None
    holds: bool
    written: str


@dataclass(frozen=True, slots=True)
class ExplainedRoute:
    """One route: of ``senders`` one has to hold, of ``match`` all, of ``unless`` not all."""

    name: str
    senders: tuple[Predicate, ...]
    match: tuple[Predicate, ...]
    unless: tuple[Predicate, ...]
    takes: bool
    send_to: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """Every route in the order of the file, and the decision that they come to."""

    routes: tuple[ExplainedRoute, ...]
    decision: Decision


def explain(rules: Rules, header: Mapping[str, str], origin: Origin) -> Explanation:
    """What ``rules.route(header, origin)`` decides, with the value met by each predicate."""
    met = rules.meet(header, origin)
    routes = tuple(_explained(rule, met, header, origin) for rule in rules.routes)
    return Explanation(routes, rules.route(header, origin))


def _explained(
    rule: RouteRule, met: Met, header: Mapping[str, str], origin: Origin
) -> ExplainedRoute:
    return ExplainedRoute(
        rule.route.name,
        tuple(_sender(each, met, origin) for each in rule.senders),
        tuple(_value(each, met, header) for each in rule.match),
        tuple(_value(each, met, header) for each in rule.unless),
        rule.takes(met),
        rule.route.send_to,
    )


def _sender(rule: SenderRule, met: Met, origin: Origin) -> Predicate:
    written = str(rule.sender)
    holds = rule.holds(met)
    if met.node and rule.node:
        return Predicate("node", (rule.node,), met.node, holds, written)
    if rule.calling or rule.node:
        return Predicate(
            CALLING_AE, (rule.calling or rule.node,), met.calling or None, holds, written
        )
    if rule.called:
        return Predicate(CALLED_AE, (rule.called,), met.called or None, holds, written)
    return Predicate(ADDRESS, (rule.sender.value,), origin.address or None, holds, written)


def _value(rule: ValueRule, met: Met, header: Mapping[str, str]) -> Predicate:
    keyword = rule.keyword
    wanted = tuple(sorted(uid_name(keyword, value) for value in rule.wanted))
    text = header.get(keyword, "").strip(" \0")
    value = uid_name(keyword, text) if text else None
    written = f"{keyword}: {', '.join(wanted)}"
    return Predicate(keyword, wanted, value, rule.holds(met), written)
