"""``dicom-gateway check``: is this configuration file right, and what does it amount to."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from gateway.config import ConfigError, Problem, effective, load
from gateway.rehearsal import rehearse
from gateway.route.rules import compile_rules
from gateway.route.warnings import warnings


def check(
    file: Annotated[Path, typer.Argument(help="The YAML file.")],
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only problems.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Print the effective configuration with all defaults, or every problem with its place.

    The examples in the file are tried; one that fails is a problem. Warnings are no problem.
    """
    shown = ""
    remarks: Sequence[Problem] = ()
    try:
        config = load(file)
        problems = rehearse(config, compile_rules(config))
        remarks = warnings(config)
        shown = effective(config)
    except ConfigError as error:
        problems = error.problems
    if as_json:
        typer.echo(json.dumps(_facts(problems, remarks), indent=1))
    else:
        for remark in remarks:
            typer.echo(f"{_placed(remark)} warning: {remark.text}", err=True)
        for problem in problems:
            typer.echo(str(problem), err=True)
        if not quiet and not problems:
            typer.echo(shown, nl=False)
    if problems:
        raise typer.Exit(1)


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
