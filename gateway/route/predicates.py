"""Predicates, compiled: one attribute or fact, and the tests that its values have to pass."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final, TypeAlias

from gateway.config.conditions import Condition, ordinal, pattern
from gateway.config.days import Day, parse_day
from gateway.config.expression import Program, program, subjects_of, variable
from gateway.config.predicates import Match
from gateway.config.subjects import (
    ADDRESS,
    BYTES,
    CALLED_AE,
    CALLING_AE,
    DAY,
    MOMENT,
    NETWORK,
    SIZE,
    TITLE,
    Subject,
    find_subject,
)
from gateway.route.values import Met, network_of

Test: TypeAlias = Callable[[frozenset[str], date | None], bool]
"""Whether one of an attribute's values passes, given the day that it is."""

_NOTHING: Final[frozenset[str]] = frozenset()
_ABSENT: Final = frozenset({""})
_NO_WILDCARDS: Final = re.compile(r"[^*?]*")


@dataclass(frozen=True, slots=True)
class ValueRule:
    """One key of ``match`` or ``unless``; ``wanted`` where equality is all that it asks for."""

    subject: Subject
    condition: Condition
    holds: Callable[[Met], bool] = field(compare=False)
    wanted: frozenset[str] = _NOTHING

    @property
    def key(self) -> str:
        """What the rule speaks of."""
        return self.subject.key


_FACTS: Final[Mapping[str, Callable[[Met], str]]] = {
    CALLING_AE: lambda met: met.calling,
    CALLED_AE: lambda met: met.called,
    ADDRESS: lambda met: met.origin.address,
    SIZE: lambda met: str(met.size),
}


def value_rules(match: Match) -> tuple[ValueRule, ...]:
    """The rules of ``match`` or ``unless``."""
    return tuple(value_rule(find_subject(key), condition) for key, condition in match.items())


def value_rule(subject: Subject, condition: Condition) -> ValueRule:
    """One rule, compiled."""
    key, wanted = subject.key, frozenset(condition.has)
    if key in _FACTS:
        return ValueRule(subject, condition, _of_fact(subject, condition))
    if condition.plain and not _relative(subject, condition):
        return ValueRule(
            subject,
            condition,
            lambda met: not wanted.isdisjoint(met.values.get(key, _NOTHING)),
            wanted,
        )
    tests = _tests(subject, condition)
    if len(tests) == 1:
        (test,) = tests
        return ValueRule(
            subject, condition, lambda met: test(met.values.get(key, _NOTHING), met.today)
        )
    return ValueRule(
        subject,
        condition,
        lambda met: all(test(met.values.get(key, _NOTHING), met.today) for test in tests),
    )


def _of_fact(subject: Subject, condition: Condition) -> Callable[[Met], bool]:
    """A condition for what is not in the data set: titles, the address, the size."""
    fact = _FACTS[subject.key]
    if subject.kind == NETWORK and condition.has:
        networks = tuple(map(network_of, condition.has))
        return lambda met: any(network.has(met.address) for network in networks)
    tests = _tests(subject, condition)
    return lambda met: all(test(frozenset((fact(met),)) - _ABSENT, met.today) for test in tests)


def _relative(subject: Subject, condition: Condition) -> bool:
    """Values that no set of texts can hold: days from today, titles with wildcards."""
    if subject.kind == DAY:
        return any(not parse_day(text).text for text in condition.has)
    return subject.kind == TITLE and not all(map(_NO_WILDCARDS.fullmatch, condition.has))


def _tests(subject: Subject, condition: Condition) -> list[Test]:
    tests: list[Test] = []
    if condition.missing is not None:
        missing = condition.missing
        tests.append(lambda values, _: bool(values) != missing)
    if condition.has:
        tests.append(_has(subject, condition))
    if condition.contains:
        tests.append(_contains(condition.contains, condition.ignore_case))
    if condition.matches:
        patterns = [pattern(text, ignore_case=condition.ignore_case) for text in condition.matches]
        tests.append(lambda values, _: any(fits(value) for value in values for fits in patterns))
    if condition.min is not None or condition.max is not None:
        tests.append(_within(subject, condition.min, condition.max))
    return tests


def _has(subject: Subject, condition: Condition) -> Test:
    if subject.kind == DAY:
        days = [parse_day(text) for text in condition.has]
        return lambda values, today: any(_day(day, today) in values for day in days)
    if subject.kind == TITLE:
        shapes = [title_shape(text, condition.ignore_case) for text in condition.has]
        return lambda values, _: any(shape(value) for value in values for shape in shapes)
    if not condition.ignore_case:
        wanted = frozenset(condition.has)
        return lambda values, _: not wanted.isdisjoint(values)
    folded = frozenset(text.casefold() for text in condition.has)
    return lambda values, _: any(value.casefold() in folded for value in values)


def _day(day: Day, today: date | None) -> str:
    """The day as YYYYMMDD, what no value is where it depends on a day that is not known."""
    if day.text:
        return day.text
    return "-" if today is None else day.on(today)


def title_shape(text: str, ignore_case: bool = False) -> Callable[[str], bool]:
    """Whether an AE title has the shape of a text in which ``*`` and ``?`` are wildcards."""
    parts = (".*" if sign == "*" else "." if sign == "?" else re.escape(sign) for sign in text)
    squeezed = re.sub(r"(\.\*)+", ".*", "".join(parts))
    shape = re.compile(squeezed, re.IGNORECASE if ignore_case else 0)
    return lambda value: shape.fullmatch(value[:64]) is not None


def _contains(pieces: tuple[str, ...], ignore_case: bool) -> Test:
    if not ignore_case:
        return lambda values, _: any(piece in value for value in values for piece in pieces)
    folded = [piece.casefold() for piece in pieces]
    return lambda values, _: any(
        piece in low for low in map(str.casefold, values) for piece in folded
    )


def _within(subject: Subject, low: str | None, high: str | None) -> Test:
    """One value lies between the bounds, both included."""
    kind = subject.kind
    if kind == DAY:
        return _within_days(*(None if text is None else parse_day(text) for text in (low, high)))
    first, last = (None if text is None else ordinal(kind, text) for text in (low, high))
    return lambda values, _: any(
        _lies(kind, ordinal(kind, value), first, last) for value in values
    )


def _within_days(low: Day | None, high: Day | None) -> Test:
    def test(values: frozenset[str], today: date | None) -> bool:
        first, last = (None if day is None else _day(day, today) for day in (low, high))
        if "-" in (first, last):
            return False
        return any(_lies(DAY, ordinal(DAY, value), first, last) for value in values)

    return test


def _lies(kind: str, place: Any, first: Any, last: Any) -> bool:
    if place is None:
        return False
    if kind == MOMENT and last is not None:
        return bool((first is None or first <= place) and place[: len(last)] <= last)
    return bool((first is None or first <= place) and (last is None or place <= last))


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
            if name in _FACTS:
                found[name] = met.size if subject.kind == BYTES else _FACTS[name](met)
            else:
                found[name] = variable(subject, met.header.get(subject.source, ""))
        return found


def expression_rule(text: str) -> ExpressionRule:
    """One ``expr``, compiled; raises ValueError where it is none."""
    return ExpressionRule(text, program(text), subjects_of(text))
