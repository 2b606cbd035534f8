"""All routes at once: each distinct condition is tried once, and strikes the routes that ask it.

Routes are the bits of an integer. Values that are compared for equality are looked up, so that
their number costs nothing; what is not equality is tried only where a route is left that asks it.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeVar

from gateway.config.conditions import Condition
from gateway.route.predicates import NOTHING, Test, ValueRule
from gateway.route.senders import Senders
from gateway.route.values import Met

R = TypeVar("R")


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
    """Conditions of all routes: after ``left`` only those routes remain that had all theirs.

    ``tests`` are what is not looked up, the cheapest first: (attribute, test, routes that ask it).
    """

    lookups: tuple[Lookup, ...]
    tests: tuple[tuple[str, Test, int], ...]

    def left(self, routes: int, met: Met) -> int:
        """Those of some routes whose conditions all hold."""
        values = met.values
        for key, satisfied, others in self.lookups:
            having = others
            for value in values.get(key, NOTHING):
                having |= satisfied.get(value, 0)
            routes &= having
        for key, test, asking in self.tests:
            asked = routes & asking
            if asked and not test(values.get(key, NOTHING), met):
                routes ^= asked
        return routes


def strikes(conditions: Iterable[tuple[int, ValueRule]], every: int) -> Strikes:
    """The conditions of routes, given as (the route's bit, one of its rules)."""
    plain: dict[str, dict[str, int]] = {}
    asking: dict[str, int] = {}
    tested = []
    for bit, rule in conditions:
        if rule.wanted:
            table = plain.setdefault(rule.key, {})
            asking[rule.key] = asking.get(rule.key, 0) | bit
            for value in rule.wanted:
                table[value] = table.get(value, 0) | bit
        else:
            tested.append((bit, (rule.key, rule.condition), rule))
    tested.sort(key=lambda each: _cost(each[2].condition))
    lookups = (Lookup(key, table, every & ~asking[key]) for key, table in plain.items())
    tests = ((rule.key, rule.test, mask) for rule, mask in shared(tested))
    return Strikes(tuple(lookups), tuple(tests))


def _cost(condition: Condition) -> tuple[bool, bool]:
    return bool(condition.matches), bool(condition.contains)


def shared(rules: Sequence[tuple[int, Hashable, R]]) -> tuple[tuple[R, int], ...]:
    """Rules that several routes may have in common, each with the bits of its routes."""
    found: dict[Hashable, tuple[R, int]] = {}
    for bit, identity, rule in rules:
        known, mask = found.get(identity, (rule, 0))
        found[identity] = known, mask | bit
    return tuple(found.values())


@dataclass(frozen=True, slots=True)
class Table:
    """What all routes ask. ``last`` is tried on what is left by then; ``guarded`` are the routes
    with ``unless``."""

    senders: Senders
    match: Strikes
    last: tuple[tuple[Rule, int], ...]
    unless: Strikes
    guarded: int

    def left(self, met: Met) -> int:
        """The routes that take an instance."""
        routes = self.match.left(self.senders.routes(met), met)
        for rule, asking in self.last:
            if routes & asking and not rule.holds(met):
                routes &= ~asking
        return routes & ~self.unless.left(routes & self.guarded, met)
