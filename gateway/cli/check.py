"""``dicom-gateway check``: is this configuration file right, and what does it amount to."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from gateway.config import Config, ConfigError, Problem, effective, load
from gateway.config.files import unreadable
from gateway.rehearsal import rehearse, remarks
from gateway.route.rules import compile_rules


def check(
    file: Annotated[
        Path | None, typer.Option("--config", "-c", help="The YAML file, with or without -c.")
    ] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Problems and warnings alone.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Print the effective configuration with all defaults, or every problem with its place.

    The examples in the file are tried; one that fails is a problem. Warnings are no problem.
    """
    if file is None:
        raise typer.BadParameter("it takes the file to check: dicom-gateway check FILE.yaml")
    shown, parts = "", ""
    remarked: Sequence[Problem] = ()
    try:
        config = load(file)
        parts = _parts(config)
        problems = rehearse(config, compile_rules(config))
        remarked = sorted([*remarks(config), *unreadable(config)])
        shown = effective(config)
    except ConfigError as error:
        problems = error.problems
    if as_json:
        typer.echo(json.dumps(_facts(problems, remarked), indent=1))
    else:
        for remark in remarked:
            typer.echo(f"{_placed(remark)} warning: {remark.text}", err=True)
        for problem in problems:
            typer.echo(str(problem), err=True)
        if not quiet:
            typer.echo("" if problems else shown, nl=False)
            typer.echo(f"{file}: {_verdict(problems, remarked, parts)}", err=True)
    if problems:
        raise typer.Exit(1)


def _parts(config: Config) -> str:
    parts = (
        ("node", len(config.nodes)),
        ("route", len(config.routes)),
        ("example", len(config.examples)),
    )
    return ", ".join(_counted(word, count) for word, count in parts)


def _counted(word: str, count: int) -> str:
    return f"{count} {word}" if count == 1 else f"{count or 'no'} {word}s"


def _verdict(problems: Sequence[Problem], remarks: Sequence[Problem], parts: str) -> str:
    if problems:
        return f"{_counted('problem', len(problems))}; the gateway would refuse this file"
    return f"right: {parts}; {_counted('warning', len(remarks))}"


def _placed(problem: Problem) -> str:
    return f"{problem.file}:{problem.line}:{problem.column}:"


def _facts(problems: Sequence[Problem], remarks: Sequence[Problem]) -> dict[str, object]:
    return {
        "ok": not problems,
        "problems": [_fact(each) for each in problems],
        "warnings": [_fact(each) for each in remarks],
    }


def _fact(problem: Problem) -> dict[str, object]:
    names = ("file", "line", "column", "text")
    return {name: getattr(problem, name) for name in names}
