"""``dicom-gateway explain``: why an object goes where it goes."""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, NamedTuple

import typer
from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from gateway.cli.configuration import ConfigFile, configuration
from gateway.cli.objects import Shown, find_objects
from gateway.cli.outcomes import Outcome, outcomes
from gateway.cli.terms import refusal, who_may_send
from gateway.clock import utc_now
from gateway.config import Config
from gateway.config.dicom_names import uid_name
from gateway.config.problems import allowed, shown
from gateway.config.units import parse_size
from gateway.failures import Failure
from gateway.route.explain import ExplainedRoute, Explanation, Predicate
from gateway.route.explain import explain as explained
from gateway.route.rules import Rules, compile_rules
from gateway.route.senders import origin_of
from gateway.transfer_syntax import name_of


def explain(
    objects: Annotated[
        list[str],
        typer.Argument(help="DICOM files, DICOM JSON headers (.json), or SOP Instance UIDs."),
    ],
    config: ConfigFile = None,
    calling: Annotated[str, typer.Option("--calling", help="The sender's AE title.")] = "",
    from_: Annotated[
        str, typer.Option("--from", help="The node that sends it, or that it is fetched from.")
    ] = "",
    called: Annotated[str, typer.Option("--called", help="The AE title that it calls.")] = "",
    address: Annotated[str, typer.Option("--address", help="The sender's IP address.")] = "",
    size: Annotated[
        str, typer.Option("--size", help="The size of a header's file, such as 600MiB.")
    ] = "",
    spool: Annotated[Path | None, typer.Option("--spool", help="The spool folder.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Show every route, each condition with the value met, and where the object would go."""
    settings = configuration(config)
    if config is None:
        typer.echo("without -c FILE: by the embedded default, which has no routes", err=True)
    rules = compile_rules(settings)
    off = [route.name for route in settings.routes if not route.enabled]
    _check_sender(from_, calling, settings)
    origin = origin_of(settings, from_, calling, called, address)
    stated = _size(size)
    folder = spool or Path(settings.gateway.spool.path)
    facts, failed = [], False
    for name in objects:
        try:
            for shown in find_objects(name, rules, origin, utc_now(), folder, stated):
                explanation = _explained(rules, shown)
                found = list(outcomes(shown, explanation.decision, settings))
                door = _Door.of(shown, settings)
                facts.append(_facts(shown, explanation, found, door))
                if not as_json:
                    _print(shown, door, explanation, found, off)
        except Failure as failure:
            typer.echo(str(failure), err=True)
            failed = True
    if as_json:
        typer.echo(json.dumps(facts, indent=1))
    if failed:
        raise typer.Exit(1)


def _check_sender(node: str, calling: str, config: Config) -> None:
    if node and node not in config.nodes:
        raise typer.BadParameter(f"{shown(node)} is no node{allowed(tuple(config.nodes), node)}")
    if node and calling:
        raise typer.BadParameter("--from and --calling both name the sender: give one of them")


def _size(text: str) -> int | None:
    try:
        return parse_size(text) if text else None
    except ValueError as error:
        raise typer.BadParameter(f"--size: {error}") from None


class _Door(NamedTuple):
    """Why the sender is turned away, or else who is not."""

    refusal: str
    hint: str

    @classmethod
    def of(cls, shown: Shown, config: Config) -> "_Door":
        """What was received already has passed it."""
        if shown.kept:
            return cls("", "")
        return cls(refusal(shown.origin, config), who_may_send(shown.origin, config))


def _print(
    shown: Shown,
    door: _Door,
    explanation: Explanation,
    found: Sequence[Outcome],
    off: Sequence[str],
) -> None:
    typer.echo(_title(shown))
    Console(highlight=False, width=_width()).print(_tree(door, explanation, found, off))


def _width() -> int | None:
    """A terminal's own; lines that go elsewhere are not broken."""
    return None if sys.stdout.isatty() else 1000


def _explained(rules: Rules, shown: Shown) -> Explanation:
    return explained(rules, shown.header, shown.origin, size=shown.size, now=shown.now)


def _tree(
    door: _Door, explanation: Explanation, found: Sequence[Outcome], off: Sequence[str]
) -> Tree:
    tree = Tree("", hide_root=True)
    if door.refusal:
        tree.add(_marked(False, f"the association would be refused: {door.refusal}"))
    if door.hint:
        tree.add(Text(door.hint, style="dim"))
    for route in explanation.routes:
        tree.add(_route(route))
    for name in off:
        tree.add(_marked(False, f"route {name} is switched off"))
    goes = "if it were let in, it would go to" if door.refusal else "goes to"
    ends = tree.add(Text(goes if explanation.decision.owed else "goes nowhere"))
    for outcome in found:
        end = ends.add(Text(outcome.sentence(), style="red" if outcome.held else ""))
        if outcome.when:
            end.add(Text(f"when: {outcome.when}"))
        for remark in outcome.remarks:
            end.add(Text(remark))
    for reason in explanation.decision.reasons:
        ends.add(Text(reason, style="dim"))
    return tree


def _title(shown: Shown) -> str:
    origin = shown.origin
    sender = f"from {origin.calling or 'no AE title'} to {origin.called or 'no AE title'}"
    stored = name_of(shown.header.get("TransferSyntaxUID", "")) or "unknown transfer syntax"
    sop_class = uid_name("SOPClassUID", shown.header.get("SOPClassUID", ""))
    return f"{shown.name}: {sop_class or 'no SOP class'}, {stored}, {sender}"


def _route(route: ExplainedRoute) -> Tree:
    branch = Tree(_marked(route.takes, f"route {route.name}"))
    for heading, predicates, hint in (
        ("from", route.senders, "one of these"),
        ("match", route.match, "all of these"),
        ("and", route.rest, "all of these"),
    ):
        if predicates:
            group = branch.add(Text(f"{heading} ({hint})", style="dim"))
            for each in predicates:
                group.add(_marked(each.holds, each.sentence()))
    if route.unless:
        group = branch.add(Text("unless (all of these)", style="dim"))
        for text in _exclusions(route.unless):
            group.add(text)
    return branch


def _exclusions(unless: Sequence[Predicate]) -> Iterator[Text]:
    """What is met here counts against the route: words say so, in place of signs."""
    excluded = all(each.holds for each in unless)
    for each in unless:
        if not each.holds:
            yield Text(f"does not exclude it: {each.sentence()}")
        elif excluded:
            yield Text(f"excludes it: {each.sentence()}", style="red")
        else:
            yield Text(f"does not exclude it by itself: {each.sentence()}")


def _marked(holds: bool, text: str) -> Text:
    sign, style = ("✓", "green") if holds else ("✗", "red")
    return Text.assemble((f"{sign} ", style), text)


def _facts(
    shown: Shown, explanation: Explanation, found: Sequence[Outcome], door: _Door
) -> dict[str, object]:
    return {
        "object": shown.name,
        "refused": door.refusal,
        "routes": [asdict(route) for route in explanation.routes],
        "destinations": [asdict(outcome) for outcome in found],
        "reasons": list(explanation.decision.reasons),
    }
