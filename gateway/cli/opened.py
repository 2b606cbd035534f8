"""The queue of a spool, opened for a command."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.configuration import configuration
from gateway.clock import utc_now
from gateway.failures import Failure
from gateway.spool import Queue
from gateway.spool.history import History

SpoolFolder = Annotated[
    Path | None, typer.Option("--spool", help="The spool folder, instead of a configuration.")
]


@contextmanager
def open_queue(config: Path | None, spool: Path | None) -> Iterator[Queue]:
    """The queue of a spool folder; exits 1 where it cannot be had, or what is asked fails."""
    with _opened(config, spool) as folder, Queue(folder, clock=utc_now) as queue:
        yield queue


@contextmanager
def open_history(config: Path | None, spool: Path | None) -> Iterator[History]:
    """What a spool folder keeps; exits as ``open_queue`` does."""
    with _opened(config, spool) as folder, History(folder) as history:
        yield history


@contextmanager
def _opened(config: Path | None, spool: Path | None) -> Iterator[Path]:
    folder = spool or Path(configuration(config).gateway.spool.path)
    if config is None and spool is None and not folder.exists():
        typer.echo(
            f"there is no spool in {folder.absolute()}: name the gateway's configuration with "
            "--config FILE, or its spool folder with --spool FOLDER",
            err=True,
        )
        raise typer.Exit(1)
    try:
        yield folder
    except Failure as failure:
        typer.echo(str(failure), err=True)
        raise typer.Exit(1) from None
