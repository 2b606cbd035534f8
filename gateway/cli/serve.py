"""``dicom-gateway serve``: the service, until SIGTERM or SIGINT; SIGHUP reloads its file."""

import asyncio
import contextlib
import gc
import signal
from pathlib import Path
from typing import Annotated, Final

import typer

from gateway.cli.configuration import ConfigFile, configuration
from gateway.config import Config
from gateway.failures import Failure
from gateway.operate import logs
from gateway.operate.descriptors import raise_limit
from gateway.rehearsal import rehearse
from gateway.route.rules import compile_rules
from gateway.service import Service

_NEW_OBJECTS: Final = 5_000
"""So many between two looks for cycles: an instance makes hundreds, and next to no cycle."""


def serve(
    config: ConfigFile = None,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
    log_json: Annotated[
        bool | None, typer.Option("--log-json/--log-text", help="Default: text on a terminal.")
    ] = None,
) -> None:
    """Receive, keep, decompress and forward until told to stop."""
    try:
        logs.set_up(level=log_level, json=log_json)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    settings = configuration(config)
    if problems := rehearse(settings, compile_rules(settings)):
        _stop("\n".join(map(str, problems)))
    raise_limit()
    try:
        asyncio.run(_serve(settings, config))
    except Failure as failure:
        _stop(str(failure))
    except OSError as error:
        _stop(f"{error.filename or 'the system'}: {error.strerror or error}")


def _stop(text: str) -> None:
    typer.echo(text, err=True)
    raise typer.Exit(1)


async def _serve(config: Config, file: Path | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(number, stop.set)
    service = Service(config, file)
    with contextlib.suppress(NotImplementedError, AttributeError):
        loop.add_signal_handler(signal.SIGHUP, service.reload)
    async with service:
        _spare_the_collector()
        await stop.wait()


def _spare_the_collector() -> None:
    """What stands by now stays: it is not looked through again and again for cycles."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS)
