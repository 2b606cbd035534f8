"""``dicom-gateway codecs``: the measured matrix of transfer syntaxes and decoders."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.failures import Failure
from gateway.transcode.decoders import BACKENDS
from gateway.transcode.matrix import Matrix, proven, refresh
from gateway.transcode.outcome import PROVEN
from gateway.transcode.survey import (
    COLUMNS,
    MISSING,
    NOTHING,
    PARTLY,
    Row,
    Square,
    markdown,
    survey,
)
from gateway.transfer_syntax import name_of

_HEAT: Final = ((0.8, "black on green3"), (0.4, "black on dark_sea_green2"), (0.0, "on grey30"))


def codecs(
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="As in the README.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Repeat the self-test.")] = False,
) -> None:
    """What each decoder was proven to decode here, how fast, and which one serves."""
    try:
        matrix = refresh() if again else proven()
    except Failure as failure:
        typer.echo(f"{failure}", err=True)
        raise typer.Exit(1) from failure
    rows = survey(matrix)
    if as_json:
        typer.echo(json.dumps(_for_machines(rows), indent=1))
    elif as_markdown:
        typer.echo(markdown(rows), nl=False)
    else:
        _show(rows, matrix)


def _for_machines(rows: Sequence[Row]) -> dict[str, object]:
    versions = {one.name: one.version() for one in BACKENDS}
    return {"decoders": versions, "transfer_syntaxes": [asdict(row) for row in rows]}


def _show(rows: Sequence[Row], matrix: Matrix) -> None:
    console = Console()
    table = Table(
        title="proven test pictures, and millions of samples per second",
        box=None,
        padding=(0, 0),
        collapse_padding=True,
    )
    table.add_column("transfer syntax", no_wrap=True)
    for name in COLUMNS:
        table.add_column(name, justify="center", overflow="fold")
    table.add_column("serves", no_wrap=True)
    for row in rows:
        fastest = max((one.speed for one in row.squares), default=0.0)
        squares = [_square(one, fastest) for one in row.squares]
        if not squares:
            continue
        table.add_row(name_of(row.uid), *squares, "\n".join(row.serves))
    console.print(table)
    for line in _remarks(rows):
        console.print(line, highlight=False, soft_wrap=True)
    versions = ", ".join(f"{one.name} {one.version() or 'missing'}" for one in BACKENDS)
    console.print(f"[dim]{len(matrix.outcomes)} tries; {versions}[/]", highlight=False)


def _square(one: Square, fastest: float) -> Text:
    if one.state == NOTHING:
        return Text("-", style="dim")
    if one.state == MISSING:
        return Text("missing", style="yellow")
    style = "black on red3"
    if one.state in (PROVEN, PARTLY):
        share = one.speed / fastest if fastest else 0.0
        style = next(colour for least, colour in _HEAT if share >= least)
    mark = {PROVEN: "", PARTLY: "! "}.get(one.state, "failed ")
    speed = f" {one.speed:.0f}/s" if one.speed else ""
    return Text(f" {mark}{one.proven}/{one.tried}{speed} ", style=style)


def _remarks(rows: Sequence[Row]) -> list[str]:
    """What failed and why, what is missing and how to get it, what is not decoded."""
    lines = [
        f"[red]failed[/]  {row.title}, {one.backend}: {one.why}"
        for row in rows
        for one in row.squares
        if one.why and one.state != MISSING
    ]
    missing = {(one.backend, one.why) for row in rows for one in row.squares}
    lines += [f"[yellow]missing[/] {name}: {why}" for name, why in sorted(missing) if "pip" in why]
    notes: dict[str, list[str]] = {}
    for row in rows:
        if row.note:
            notes.setdefault(row.note, []).append(row.title)
    return lines + [f"{note}: {'; '.join(titles)}" for note, titles in notes.items()]
