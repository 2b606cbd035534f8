"""``dicom-gateway check``: is this configuration file right, and what does it amount to."""

from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.serve import configuration
from gateway.config import effective


def check(
    file: Annotated[Path, typer.Argument(help="The YAML file.")],
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only problems.")] = False,
) -> None:
    """Print the effective configuration with all defaults, or every problem with its place."""
    config = configuration(file)
    if not quiet:
        typer.echo(effective(config), nl=False)
