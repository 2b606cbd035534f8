"""``-c FILE``: which configuration a command works with."""

from pathlib import Path
from typing import Annotated

import typer

from gateway.config import Config, ConfigError, default_config, load

ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="The YAML file; without it the embedded default."),
]


def configuration(file: Path | None) -> Config:
    """The configuration in a file, or the embedded default; exits 1 naming every problem."""
    try:
        return default_config() if file is None else load(file)
    except ConfigError as error:
        for problem in error.problems:
            typer.echo(str(problem), err=True)
        raise typer.Exit(1) from None
