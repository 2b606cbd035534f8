"""Rows of the ledger on the terminal, or in plain columns where a program reads them."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import typer
from rich.console import Console
from rich.table import Table

from gateway.model import Instance

_LEAST: Final = 24
"""Characters for the last column, below which a table is not worth its folded lines."""


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under their headings, or "nothing"; only the last column is ever folded.

    UIDs are there to be copied: where a terminal is too narrow, it breaks the line as it likes.
    """
    if not rows:
        typer.echo("nothing")
        return
    console, lines = Console(soft_wrap=False), [headings, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    fits = sum(width + 1 for width in widths[:-1]) + min(widths[-1], _LEAST) <= console.width
    if not (console.is_terminal and fits):
        for line in lines:
            cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
            typer.echo("  ".join(cells).rstrip())
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings[:-1]:
        table.add_column(heading, no_wrap=True)
    table.add_column(headings[-1], overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def local_time(moment: datetime) -> str:
    """A moment on this machine's clock, to the second."""
    return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def arrival_of(instance: Instance) -> tuple[str, str, str]:
    """An instance's UID, who sent it, and when it came; nothing of the patient."""
    origin = instance.origin
    sender = " ".join(filter(None, (origin.calling, origin.address)))
    return instance.sop_instance_uid, sender, local_time(instance.received_at)
