"""Predicates, compiled: one attribute or fact, and the tests that its values have to pass."""

import re
from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from typing import Any, Final, TypeAlias

from gateway.config.conditions import Condition, last_ordinal, ordinal, pattern
from gateway.config.days import Day, parse_day
from gateway.config.expression import Program, program, subjects_of, variable
from gateway.config.predicates import Match
from gateway.config.subjects import (
    BYTES,
    DAY,
    MOMENT,
    NETWORK,
    TIME,
    TITLE,
    Subject,
    find_subject,
)
from gateway.route.values import Met, folded, network_of, places

Test: TypeAlias = Callable[[frozenset[str], Met], bool]
"""Whether one of an attribute's values passes, in sight of all that the instance shows."""

NOTHING: Final[frozenset[str]] = frozenset()
_NO_WILDCARDS: Final = re.compile(r"[^*?]*")


@dataclass(frozen=True, slots=True)
class ValueRule:
    """One key of ``match`` or ``unless``; ``wanted`` where equality is all that it asks for."""

    subject: Subject
    condition: Condition
    test: Test = field(compare=False)
    wanted: frozenset[str] = NOTHING

    @property
    def key(self) -> str:
        """What the rule speaks of."""
        return self.subject.key

    def holds(self, met: Met) -> bool:
        """The instance is as the condition wants it."""
        return self.test(met.values.get(self.key, NOTHING), met)


def value_rules(match: Match) -> tuple[ValueRule, ...]:
    """The rules of ``match`` or ``unless``."""
    return tuple(value_rule(find_subject(key), condition) for key, condition in match.items())


def value_rule(subject: Subject, condition: Condition) -> ValueRule:
    """One rule, compiled."""
    equality = condition.plain and not _relative(subject, condition)
    wanted = frozenset(condition.has) if equality else NOTHING
    tests = _tests(subject, condition)
    if len(tests) == 1:
        return ValueRule(subject, condition, tests[0], wanted)
    return ValueRule(
        subject, condition, lambda values, met: all(test(values, met) for test in tests)
    )


def _relative(subject: Subject, condition: Condition) -> bool:
    """Values that no set of texts can hold: spans, days from today, networks, wildcards."""
    if subject.kind == DAY:
        return any(not parse_day(text).text for text in condition.has)
    if subject.kind in (NETWORK, TIME, MOMENT):
        return True
    return subject.kind == TITLE and not all(map(_NO_WILDCARDS.fullmatch, condition.has))


def _tests(subject: Subject, condition: Condition) -> list[Test]:
    """The operators, the cheapest first."""
    tests: list[Test] = []
    if condition.missing is not None:
        missing = condition.missing
        tests.append(lambda values, _: bool(values) != missing)
    if condition.has:
        tests.append(_has(subject, condition))
    if condition.min is not None or condition.max is not None:
        tests.append(_within(subject.kind, condition.min, condition.max))
    if condition.contains:
        tests.append(_contains(condition.contains, condition.ignore_case))
    if condition.matches:
        patterns = [pattern(text, ignore_case=condition.ignore_case) for text in condition.matches]
        tests.append(lambda values, _: any(fits(value) for value in values for fits in patterns))
    return tests


def _has(subject: Subject, condition: Condition) -> Test:
    if subject.kind == DAY:
        days = [parse_day(text) for text in condition.has]
        return lambda values, met: any(_day(day, met.today) in values for day in days)
    if subject.kind in (TIME, MOMENT):
        return _in_spans(subject.kind, condition.has)
    if subject.kind == NETWORK:
        networks = [network_of(text) for text in condition.has]
        return lambda _, met: any(network.has(met.address) for network in networks)
    if subject.kind == TITLE and not all(map(_NO_WILDCARDS.fullmatch, condition.has)):
        shapes = [title_shape(text, condition.ignore_case) for text in condition.has]
        return lambda values, _: any(shape(value) for value in values for shape in shapes)
    if not condition.ignore_case:
        wanted = frozenset(condition.has)
        return lambda values, _: not wanted.isdisjoint(values)
    low = frozenset(text.casefold() for text in condition.has)
    return lambda values, _: not low.isdisjoint(folded(values))


def _in_spans(kind: str, texts: tuple[str, ...]) -> Test:
    """One value begins within what one text stands for; several in one text are compared as is."""
    spans = [(ordinal(kind, text), last_ordinal(kind, text)) for text in texts]
    tests = [partial(_between, first=first, last=last) for first, last in spans if first]
    whole = frozenset(text for text in texts if "\\" in text)
    return lambda values, _: (
        any(test(places(kind, values)) for test in tests) or not whole.isdisjoint(values)
    )


def _day(day: Day, today: date | None) -> str | None:
    """The day as YYYYMMDD, None where it depends on a day that is not known."""
    return day.text or (None if today is None else day.on(today))


def title_shape(text: str, ignore_case: bool = False) -> Callable[[str], bool]:
    """Whether an AE title has the shape of a text in which ``*`` and ``?`` are wildcards."""
    parts = (".*" if sign == "*" else "." if sign == "?" else re.escape(sign) for sign in text)
    squeezed = re.sub(r"(\.\*)+", ".*", "".join(parts))
    shape = re.compile(squeezed, re.IGNORECASE if ignore_case else 0)
    return lambda value: shape.fullmatch(value[:64]) is not None


def _contains(pieces: tuple[str, ...], ignore_case: bool) -> Test:
    if not ignore_case:
        return lambda values, _: any(piece in value for value in values for piece in pieces)
    low = [piece.casefold() for piece in pieces]
    return lambda values, _: any(piece in value for value in folded(values) for piece in low)


def _within(kind: str, low: str | None, high: str | None) -> Test:
    """One value lies between the bounds, both included."""
    if kind == DAY:
        return _within_days(*(None if text is None else parse_day(text) for text in (low, high)))
    first = None if low is None else ordinal(kind, low)
    last = None if high is None else last_ordinal(kind, high)
    return lambda values, _: _between(places(kind, values), first, last)


def _within_days(low: Day | None, high: Day | None) -> Test:
    def test(values: frozenset[str], met: Met) -> bool:
        first = None if low is None else _day(low, met.today)
        last = None if high is None else _day(high, met.today)
        if (low is not None and first is None) or (high is not None and last is None):
            return False
        return _between(places(DAY, values), first, last)

    return test


def _between(found: tuple[Any, ...], first: Any, last: Any) -> bool:
    """The least place from ``first`` on is not behind ``last``; None is an open end."""
    index = 0 if first is None else bisect_left(found, first)
    return index < len(found) and (last is None or bool(found[index] <= last))


@dataclass(frozen=True, slots=True)
class ExpressionRule:
    """``expr``, compiled. What cannot be computed does not hold."""

    text: str
    run: Program
    subjects: Mapping[str, Subject]

    def holds(self, met: Met) -> bool:
        """The expression is true."""
        return self.outcome(met) == "true"

    def outcome(self, met: Met) -> str:
        """ "true", "false", or why neither."""
        try:
            found = self.run(self.variables(met))
        except Exception as error:  # noqa: BLE001 - any value of an object may be at odds with it
            return f"cannot be computed: {type(error).__name__}"
        return {True: "true", False: "false"}.get(found, "neither true nor false")

    def variables(self, met: Met) -> dict[str, Any]:
        """What the expression sees of an instance."""
        found = {}
        for name, subject in self.subjects.items():
            if name in met.facts:
                found[name] = met.size if subject.kind == BYTES else met.facts[name]
            else:
                found[name] = variable(subject, met.header.get(subject.source, ""))
        return found


def expression_rule(text: str) -> ExpressionRule:
    """One ``expr``, compiled; raises ValueError where it is none."""
    return ExpressionRule(text, program(text), subjects_of(text))
