"""The command line: ``dicom-gateway serve``, ``check``, ``explain`` and the others.

Exit status 0: done; 1: something failed, and the output says what; 2: the call was wrong.
Each command's module is imported when it is called: the shell need not wait for the others.
"""

from importlib import import_module
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from gateway import __version__

COMMANDS: Final = (
    "serve",
    "check",
    "explain",
    "diff",
    "codecs",
    "decompress",
    "demo",
    "fetch",
    "queue",
    "config",
)
"""In the order of the help page; each is a module of this package."""


class _Commands(TyperGroup):
    """Commands that are found by their names."""

    def list_commands(self, _: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, _: Any, name: str) -> Any:
        return _command(name) if name in COMMANDS else None


def _command(name: str) -> Any:
    """The module's group of commands, or its function of the same name as a command."""
    module = import_module(f"gateway.cli.{name}")
    group = getattr(module, "app", None)
    if group is None:
        group = typer.Typer(add_completion=False)
        group.command(name)(getattr(module, name))
    found = typer.main.get_command(group)
    found.name = name
    return found


app = typer.Typer(
    cls=_Commands,
    help=__doc__.split(".")[0] if __doc__ else None,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"dicom-gateway {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """A DICOM gateway: compressed images in, uncompressed images out, none lost."""
