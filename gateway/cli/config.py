"""``dicom-gateway config``: the configuration in force, and the schema that editors use."""

import json
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.configuration import ConfigFile, configuration
from gateway.config import effective
from gateway.config.includes import read_text
from gateway.config.problems import ConfigError
from gateway.config.schema import schema

app = typer.Typer(
    help="Show the configuration, or its schema.", no_args_is_help=True, add_completion=False
)


@app.command("show")
def show(
    config: ConfigFile = None,
    in_force: Annotated[
        bool, typer.Option("--effective", help="With every default and all that is included.")
    ] = False,
) -> None:
    """Print the configuration. Secrets are shown as the variables that hold them."""
    settings = configuration(config)
    if in_force or config is None:
        typer.echo(effective(settings), nl=False)
        return
    try:
        typer.echo(read_text(Path(config)), nl=False)
    except ConfigError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None


@app.command("schema")
def print_schema() -> None:
    """Print the JSON Schema of the configuration language."""
    typer.echo(json.dumps(schema(), indent=1))
