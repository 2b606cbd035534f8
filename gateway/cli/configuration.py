"""``-c FILE``, or FILE alone: the configuration that a command works with."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from gateway.config import Config, ConfigError, default_config, load

ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", help="The YAML file, with or without -c; else the embedded default."
    ),
]
_OPTION: Final = "--config"
_GIVEN: Final = re.compile(r"--config|-[A-Za-z]*c")
_ENDS: Final = (".yaml", ".yml")


def with_option(command: Any, arguments: Sequence[str]) -> list[str]:
    """The arguments of a command with ``FILE`` as ``--config FILE``.

    Where the command has arguments of its own, FILE is what ends in .yaml or .yml. Nothing is
    changed where the option is there, or not known.
    """
    options = {
        name: each for each in command.params for name in (*each.opts, *each.secondary_opts)
    }
    if _OPTION not in options or any(map(_is_option, arguments)):
        return list(arguments)
    alone = all(each.param_type_name == "option" for each in command.params)
    value_of = ""
    for index, text in enumerate(arguments):
        if value_of:
            value_of = ""
        elif text == "--":
            break
        elif text.startswith("-"):
            value_of = text if text in options and not options[text].is_flag else ""
        elif alone or text.lower().endswith(_ENDS):
            return [*arguments[:index], _OPTION, text, *arguments[index + 1 :]]
    return list(arguments)


def _is_option(text: str) -> bool:
    return _GIVEN.match(text) is not None


def configuration(file: Path | None) -> Config:
    """The configuration in a file, or the embedded default; exits 1 naming every problem."""
    try:
        return default_config() if file is None else load(file)
    except ConfigError as error:
        for problem in error.problems:
            typer.echo(str(problem), err=True)
        raise typer.Exit(1) from None
