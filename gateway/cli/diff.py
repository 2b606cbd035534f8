"""``dicom-gateway diff``: what a new configuration changes, and what it would send elsewhere."""

import difflib
import json
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final

import typer

from gateway.cli.configuration import configuration
from gateway.cli.objects import header_of_kept
from gateway.clock import utc_now
from gateway.config import Config, effective
from gateway.config.units import parse_duration
from gateway.failures import Failure
from gateway.model import Instance, Owed
from gateway.route.replay import Change, changes
from gateway.route.rules import Rules, compile_rules
from gateway.spool.history import History

_CONTEXT: Final = 2
_HUNK: Final = re.compile(r"@@ .*\+(\d+).* @@")
"""With line numbers of the effective form, which nobody has in a file."""


def diff(
    old: Annotated[Path, typer.Argument(help="The YAML file in force.")],
    new: Annotated[Path, typer.Argument(help="The YAML file that may take its place.")],
    replay: Annotated[
        str, typer.Option(help="Try both on what was received in so long, such as 7d.")
    ] = "",
    spool: Annotated[Path | None, typer.Option("--spool", help="The spool folder.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Print what differs, every default written out; with --replay, whom it would concern."""
    before, after = configuration(old), configuration(new)
    lines = list(_lines(before, after, old, new))
    if not as_json:
        typer.echo("".join(f"{line}\n" for line in lines), nl=False)
        if not lines:
            typer.echo("both come to the same configuration", err=True)
    elif not replay:
        typer.echo(json.dumps({"lines": lines}, indent=1))
    if not replay:
        return
    try:
        span = timedelta(seconds=parse_duration(replay))
        folder = spool or Path(before.gateway.spool.path)
        report = _Report()
        for change in _replayed(before, after, span, folder, report):
            report.note(change)
    except ValueError as error:
        raise typer.BadParameter(f"--replay: {error}") from None
    except Failure as failure:
        typer.echo(str(failure), err=True)
        raise typer.Exit(1) from None
    if as_json:
        typer.echo(json.dumps({"lines": lines, **report.facts()}, indent=1))
    else:
        typer.echo("\n".join(report.sentences(replay)))


def _lines(before: Config, after: Config, old: Path, new: Path) -> Iterator[str]:
    was, becomes = (effective(config).splitlines() for config in (before, after))
    for line in difflib.unified_diff(was, becomes, str(old), str(new), lineterm="", n=_CONTEXT):
        found = _HUNK.match(line)
        yield f"@@ {_section(becomes, int(found[1]))} @@" if found else line


def _section(lines: list[str], first: int) -> str:
    """In which node, route or other part of the configuration a hunk changes something."""
    outer = inner = ""
    for line in lines[: first + _CONTEXT]:
        if line[:1] != " ":
            outer, inner = line, ""
        elif line[2:3] != " ":
            inner = line.strip().removeprefix("- name: ")
    return f"{outer} {inner}".replace(":", "").strip()


def _replayed(
    before: Config, after: Config, span: timedelta, folder: Path, report: "_Report"
) -> Iterator[Change]:
    rules = compile_rules(before), compile_rules(after)
    with History(folder) as history:
        received = history.since(utc_now() - span)
        yield from changes(*rules, ((each, _header(each, rules, report)) for each in received))


def _header(instance: Instance, rules: tuple[Rules, Rules], report: "_Report") -> dict[str, str]:
    report.looked_at += 1
    return header_of_kept(instance, *rules)


class _Report:
    """How many instances, and of how many studies, go elsewhere, by destination and route."""

    def __init__(self) -> None:
        self.looked_at = 0
        self.changed = 0
        self._by_what: dict[tuple[str, Owed], tuple[int, set[str]]] = {}

    def note(self, change: Change) -> None:
        """Count one instance."""
        self.changed += 1
        for sign, owed in (("-", change.gone), ("+", change.new)):
            for each in owed:
                count, studies = self._by_what.get((sign, each), (0, set()))
                studies.add(change.instance.study_uid)
                self._by_what[sign, each] = count + 1, studies

    def sentences(self, span: str) -> Iterator[str]:
        """The report for a person."""
        yield f"{self.changed} of {self.looked_at} instances of the last {span} would go elsewhere"
        for (sign, owed), (count, studies) in sorted(self._by_what.items(), key=str):
            what = "would go to" if sign == "+" else "would no longer go to"
            of = "1 study" if len(studies) == 1 else f"{len(studies)} studies"
            instances = f"{count} instance{'s' * (count != 1)} of {of}"
            yield f"{sign} {instances} {what} {owed.destination} by route {owed.route}"

    def facts(self) -> dict[str, object]:
        """The report for machines."""
        return {
            "looked_at": self.looked_at,
            "changed": self.changed,
            "changes": [
                {
                    "change": {"+": "new", "-": "gone"}[sign],
                    "destination": owed.destination,
                    "route": owed.route,
                    "instances": count,
                    "studies": len(studies),
                }
                for (sign, owed), (count, studies) in sorted(self._by_what.items(), key=str)
            ],
        }
