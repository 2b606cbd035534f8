"""The command line: ``dicom-gateway serve``, ``check``, ``explain`` and the others.

Exit status 0: done; 1: something failed, and the output says what; 2: the call was wrong.
Each command's module is imported when it is called: the shell need not wait for the others.
"""

from importlib import import_module
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from gateway import __version__
from gateway.cli.configuration import with_option

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

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Every command takes its configuration in the same ways."""
        return super().parse_args(ctx, _configured(args))


def _configured(arguments: list[str]) -> list[str]:
    """``FILE.yaml`` behind the names of a command as ``--config FILE.yaml``."""
    words = 0
    command: Any = None
    for name in arguments[:2]:
        found = _command(name) if not words and name in COMMANDS else None
        found = found or getattr(command, "commands", {}).get(name)
        if found is None:
            break
        command, words = found, words + 1
    if command is None:
        return arguments
    return [*arguments[:words], *with_option(command, arguments[words:])]


def _command(name: str) -> Any:
    """The module's group of commands, or its function of the same name as a command."""
    module = import_module(f"gateway.cli.{name}")
    group = getattr(module, "app", None)
    if group is None:
        group = typer.Typer(add_completion=False)
        group.command(name)(getattr(module, name))
    found = typer.main.get_command(group)
    found.name = name
    for each in (found, *getattr(found, "commands", {}).values()):
        if any("--config" in param.opts for param in each.params):
            each.options_metavar = "[OPTIONS] [FILE.yaml]"
    return found


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
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
