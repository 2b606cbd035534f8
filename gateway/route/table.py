"""All routes at once: each distinct condition is tried once, and strikes the routes that ask it.

Routes are the bits of an integer. Values that are compared for equality are looked up, so that
their number costs nothing; what is not equality is tried only where a route is left that asks it.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from gateway.route.predicates import ValueRule
from gateway.route.values import Met

_NOTHING: Final[frozenset[str]] = frozenset()


class Rule(Protocol):
    """One condition of a route."""

    def holds(self, met: Met) -> bool:
        """Whether an instance is as the condition wants it."""
        ...


class Lookup(NamedTuple):
    """One attribute: the routes that each value satisfies, and those that do not ask for it."""

    key: str
    satisfied: Mapping[str, int]
    others: int


@dataclass(frozen=True, slots=True)
class Strikes:
    """Conditions of all routes: after ``left`` only those routes remain that had all theirs."""

    lookups: tuple[Lookup, ...]
    rules: tuple[tuple[Rule, int], ...]

    def left(self, routes: int, met: Met) -> int:
        """Those of some routes whose conditions all hold."""
        values = met.values
        for key, satisfied, others in self.lookups:
            having = others
            for value in values.get(key, _NOTHING):
                having |= satisfied.get(value, 0)
            routes &= having
        for rule, asking in self.rules:
            if routes & asking and not rule.holds(met):
                routes &= ~asking
        return routes


def strikes(conditions: Iterable[tuple[int, ValueRule]], every: int) -> Strikes:
    """The conditions of routes, given as (the route's bit, one of its rules)."""
    plain: dict[str, dict[str, int]] = {}
    asking: dict[str, int] = {}
    rest: dict[Hashable, tuple[Rule, int]] = {}
    for bit, rule in conditions:
        if (rule.wanted and rule.subject.steps) or (
            rule.key == "TransferSyntaxUID" and rule.wanted
        ):
            table = plain.setdefault(rule.key, {})
            asking[rule.key] = asking.get(rule.key, 0) | bit
            for value in rule.wanted:
                table[value] = table.get(value, 0) | bit
        else:
            known, mask = rest.get((rule.key, rule.condition), (rule, 0))
            rest[rule.key, rule.condition] = known, mask | bit
    lookups = (Lookup(key, table, every & ~asking[key]) for key, table in plain.items())
    return Strikes(tuple(lookups), tuple(rest.values()))


def shared(rules: Sequence[tuple[int, Hashable, Rule]]) -> tuple[tuple[Rule, int], ...]:
    """Rules that several routes may have in common, each with the bits of its routes."""
    found: dict[Hashable, tuple[Rule, int]] = {}
    for bit, identity, rule in rules:
        known, mask = found.get(identity, (rule, 0))
        found[identity] = known, mask | bit
    return tuple(found.values())


@dataclass(frozen=True, slots=True)
class Table:
    """What all routes ask. ``anyone`` are the routes without ``from``, ``guarded`` those with
    ``unless``."""

    every: int
    anyone: int
    senders: tuple[tuple[Rule, int], ...]
    match: Strikes
    unless: Strikes
    guarded: int

    def left(self, met: Met) -> int:
        """The routes that take an instance."""
        routes = self.match.left(self._sent(met), met)
        return routes & ~self.unless.left(routes & self.guarded, met)

    def _sent(self, met: Met) -> int:
        routes = self.anyone
        for rule, asking in self.senders:
            if asking & ~routes and rule.holds(met):
                routes |= asking
        return routes
