"""Why an instance goes where it goes: every route, every predicate, the value that was met."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from gateway.config.conditions import as_written, write_condition
from gateway.config.expression import MOST_VALUES, values_of
from gateway.config.senders import NODE
from gateway.config.subjects import ADDRESS, CALLING_AE, SIZE, Subject
from gateway.model import Origin
from gateway.route.predicates import ExpressionRule, ValueRule
from gateway.route.rules import Decision, RouteRule, Rules
from gateway.route.senders import SenderRule
from gateway.route.values import Met


@dataclass(frozen=True, slots=True)
class Predicate:
    """One condition: ``subject`` is calling_ae, called_ae, address, node (that it was fetched
    from), an attribute, expr, during.

    ``wanted`` are the values of which one suffices, ``met`` the value that the instance has (None
    where it has none), UIDs by name; ``written`` is the entry as the file has it.
    """

    subject: str
    wanted: tuple[str, ...]
    met: str | None
    holds: bool
    written: str

    def sentence(self) -> str:
        """The condition and what was met, for people."""
        if self.met is not None:
            return f"{self.written}: it is {self.met}"
        unknown = "it is not known"
        nothing = {NODE: "it was not fetched from there", SIZE: unknown, ADDRESS: unknown}
        return f"{self.written}: {nothing.get(self.subject, 'it has none')}"


@dataclass(frozen=True, slots=True)
class ExplainedRoute:
    """One route: one of ``senders`` must hold, all of ``match`` and ``rest``, not all ``unless``.

    ``rest`` are ``expr`` and ``during``.
    """

    name: str
    senders: tuple[Predicate, ...]
    match: tuple[Predicate, ...]
    rest: tuple[Predicate, ...]
    unless: tuple[Predicate, ...]
    takes: bool
    send_to: tuple[str, ...]

    def objections(self) -> str:
        """Why the route does not take it, "" where it does."""
        found = [each.sentence() for each in (*self.match, *self.rest) if not each.holds]
        if self.senders and not any(each.holds for each in self.senders):
            found.insert(0, " and ".join(f"from {each.sentence()}" for each in self.senders))
        if self.unless and all(each.holds for each in self.unless):
            found += [f"unless {each.sentence()}" for each in self.unless]
        return ", ".join(found)


@dataclass(frozen=True, slots=True)
class Explanation:
    """Every route in the order of the file, and the decision that they come to."""

    routes: tuple[ExplainedRoute, ...]
    decision: Decision


def explain(
    rules: Rules,
    header: Mapping[str, str],
    origin: Origin,
    *,
    size: int | None = None,
    now: datetime | None = None,
) -> Explanation:
    """What ``rules.route`` decides of the same, with the value met by each predicate."""
    met = rules.meet(header, origin, size=size, now=now)
    return Explanation(tuple(explained(rule, met) for rule in rules.routes), rules.decide(met))


def explained(rule: RouteRule, met: Met) -> ExplainedRoute:
    """One route with the value met by each of its predicates."""
    return ExplainedRoute(
        rule.route.name,
        tuple(_sender(each, met) for each in rule.senders),
        tuple(_value(each, met) for each in rule.match),
        tuple(_rest(rule, met)),
        tuple(_value(each, met) for each in rule.unless),
        rule.takes(met),
        rule.route.send_to,
    )


def _sender(rule: SenderRule, met: Met) -> Predicate:
    sender = rule.sender
    if sender.kind in met.facts:
        found = met.facts[sender.kind] or None
        return Predicate(sender.kind, (sender.value,), found, rule.holds(met), str(sender))
    if met.node:
        return Predicate(NODE, (rule.node,), met.node, rule.holds(met), str(sender))
    if not rule.calling:
        return Predicate(NODE, (rule.node,), None, False, str(sender))
    written = f"{sender} (AE title {rule.calling})"
    return Predicate(CALLING_AE, (rule.calling,), met.calling or None, rule.holds(met), written)


def _value(rule: ValueRule, met: Met) -> Predicate:
    subject, condition = rule.subject, rule.condition
    written = write_condition(subject, condition)
    if isinstance(written, list):
        wanted = tuple(written)
        text = " or ".join(wanted)
    else:
        text = ", ".join(f"{name} {_shown(value)}" for name, value in written.items())
        wanted = (text,)
    return Predicate(rule.key, wanted, _met(subject, met), rule.holds(met), f"{rule.key}: {text}")


def _shown(value: object) -> str:
    if isinstance(value, list):
        return " or ".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _met(subject: Subject, met: Met) -> str | None:
    """The value as it came, names in place of UIDs."""
    text = met.facts.get(subject.key) or met.header.get(subject.source, "").strip(" \0")
    return as_written(subject, text) if text else None


def _unseen(rule: ExpressionRule, met: Met) -> Iterator[str]:
    """Attributes with more values than an expression sees."""
    for name, subject in rule.subjects.items():
        count = values_of(subject, met.header.get(subject.source, ""))
        if count > MOST_VALUES:
            yield f"by the first {MOST_VALUES} of {count} values of {name}"


def _rest(rule: RouteRule, met: Met) -> list[Predicate]:
    found = []
    if rule.expression is not None:
        text, outcome = rule.expression.text, rule.expression.outcome(met)
        shown = ", ".join([outcome, *_unseen(rule.expression, met)])
        found.append(Predicate("expr", (text,), shown, outcome == "true", f"expr: {text}"))
    if rule.hours is not None:
        wanted = tuple(map(str, rule.hours.windows))
        time = None
        if met.now is not None:
            time = f"{met.now:%a %H:%M}".lower()
        text = f"during: {', '.join(wanted)}"
        found.append(Predicate("during", wanted, time, rule.hours.holds(met), text))
    return found
