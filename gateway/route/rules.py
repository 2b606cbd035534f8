"""The rules, compiled once; header and origin to the deliveries that are owed.

Every route that takes an instance fires; their order decides nothing but which of two routes to
one destination is named in the ledger: the first in the file, whose ``pixels`` and ``delivery``
then hold. A missing or empty attribute meets no value.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from types import MappingProxyType

from gateway.config.models import Config, Route
from gateway.config.subjects import ITEMS, Subject
from gateway.config.windows import Window, find_zone
from gateway.dataset.wanted import Wanted, plan_of
from gateway.model import Origin, Owed, Terms
from gateway.route.predicates import (
    ExpressionRule,
    ValueRule,
    expression_rule,
    value_rules,
)
from gateway.route.senders import SenderRule, index_senders, sender_rule
from gateway.route.table import Table, shared, strikes
from gateway.route.values import Met, meet


@dataclass(frozen=True, slots=True)
class Decision:
    """To whom an instance is owed: one entry per destination, in the order of the routes.

    ``again`` is what further routes ask for destinations that already have it.
    """

    owed: tuple[Owed, ...] = ()
    again: tuple[Owed, ...] = ()

    @property
    def reasons(self) -> tuple[str, ...]:
        """In short sentences what ``owed`` alone does not say."""
        if not self.owed:
            return ("no route takes it",)
        first = {each.destination: each.route for each in self.owed}
        return tuple(
            f"{each.destination} is owed by route {first[each.destination]};"
            f" {each.route} adds nothing"
            for each in self.again
        )


@dataclass(frozen=True, slots=True)
class HoursRule:
    """``during``: the windows of which one has to be open."""

    windows: tuple[Window, ...]

    def holds(self, met: Met) -> bool:
        """The time is known and in one of the windows."""
        now = met.now
        if now is None:
            return False
        return any(
            each.holds(now, None) if each.zone else each.open_at(now) for each in self.windows
        )


@dataclass(frozen=True, slots=True)
class RouteRule:
    """One route, compiled: what it asks, and to whom the instances that it takes are owed."""

    route: Route
    senders: tuple[SenderRule, ...]
    match: tuple[ValueRule, ...]
    unless: tuple[ValueRule, ...]
    owed: tuple[Owed, ...]
    expression: ExpressionRule | None = None
    hours: HoursRule | None = None

    def takes(self, met: Met) -> bool:
        """One sender holds, all of ``match``, and not all of ``unless``; and it is time."""
        from_one = not self.senders or any(rule.holds(met) for rule in self.senders)
        rest = [rule for rule in (self.expression, self.hours) if rule is not None]
        all_met = from_one and all(rule.holds(met) for rule in (*self.match, *rest))
        kept_out = bool(self.unless) and all(rule.holds(met) for rule in self.unless)
        return all_met and not kept_out


@dataclass(frozen=True, slots=True)
class Rules:
    """All routes, compiled. ``tags`` says what the rules read of the data set, by tag.

    Transfer Syntax UID is not among ``tags``, for it is not part of the data set: the header
    given to ``route`` holds it under ``TransferSyntaxUID`` all the same.
    """

    routes: tuple[RouteRule, ...]
    tags: Mapping[int, Wanted]
    table: Table = field(repr=False)
    subjects: tuple[Subject, ...] = field(default=(), repr=False)
    zone: tzinfo | None = None

    def route(
        self,
        header: Mapping[str, str],
        origin: Origin,
        *,
        size: int | None = None,
        now: datetime | None = None,
    ) -> Decision:
        """The deliveries that an instance with this header (keyword -> text) is owed.

        ``size`` is the file's in bytes, ``now`` knows its time zone; without them nothing that
        depends on the size or on the time holds.
        """
        return self.decide(self.meet(header, origin, size=size, now=now))

    def decide(self, met: Met) -> Decision:
        """As ``route``, of what was met."""
        owed: dict[str, Owed] = {}
        asked: list[Owed] = []
        left = self.table.left(met)
        while left:
            lowest = left & -left
            left ^= lowest
            asked += self.routes[lowest.bit_length() - 1].owed
        again = [each for each in asked if owed.setdefault(each.destination, each) is not each]
        return Decision(tuple(owed.values()), tuple(again))

    def meet(
        self,
        header: Mapping[str, str],
        origin: Origin,
        *,
        size: int | None = None,
        now: datetime | None = None,
    ) -> Met:
        """Header and origin in the form in which they are compared with the rules."""
        return meet(self.subjects, header, origin, size=size, now=now, zone=self.zone)


def compile_rules(config: Config) -> Rules:
    """The rules of a configuration; raises KeyError for a node that it does not have."""
    routes = tuple(_compile(route, config) for route in config.routes if route.enabled)
    compared = {each for rule in routes for each in _subjects(rule)}
    read = compared | {
        each
        for rule in routes
        if rule.expression is not None
        for each in rule.expression.subjects.values()
    }
    plan = plan_of(
        (each.steps, each.source, each.kind == ITEMS)
        for each in sorted(read, key=lambda each: each.key)
        if each.steps
    )
    named = config.gateway.time_zone
    return Rules(
        routes,
        MappingProxyType(plan),
        _table(routes),
        tuple(sorted(compared, key=lambda each: each.key)),
        None if named is None else find_zone(named),
    )


def _subjects(rule: RouteRule) -> Iterator[Subject]:
    return (each.subject for each in (*rule.match, *rule.unless))


def _terms(route: Route) -> Terms:
    priority = {"high": 1, "normal": 0, "low": -1}[route.delivery.priority]
    group = route.group
    if group is None:
        return Terms(priority)
    quiet_for, deadline = timedelta(seconds=group.quiet_for), timedelta(seconds=group.deadline)
    return Terms(priority, group.by, quiet_for, deadline)


def _compile(route: Route, config: Config) -> RouteRule:
    for destination in route.send_to:
        _ = config.nodes[destination]
    senders = tuple(sender_rule(sender, config) for sender in route.from_)
    return RouteRule(
        route,
        senders,
        value_rules(route.match),
        value_rules(route.unless),
        owed=tuple(Owed(destination, route.name, _terms(route)) for destination in route.send_to),
        expression=None if route.expr is None else expression_rule(route.expr),
        hours=HoursRule(route.during) if route.during else None,
    )


def _table(routes: Sequence[RouteRule]) -> Table:
    bits = [(1 << index, rule) for index, rule in enumerate(routes)]
    every = (1 << len(routes)) - 1
    hours = [(bit, rule.hours.windows, rule.hours) for bit, rule in bits if rule.hours]
    said = [(bit, rule.expression.text, rule.expression) for bit, rule in bits if rule.expression]
    return Table(
        senders=index_senders((bit, rule.senders) for bit, rule in bits),
        match=strikes(((bit, each) for bit, rule in bits for each in rule.match), every),
        last=(*shared(hours), *shared(said)),
        unless=strikes(((bit, each) for bit, rule in bits for each in rule.unless), every),
        guarded=sum(bit for bit, rule in bits if rule.unless),
    )
