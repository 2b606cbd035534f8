"""``dicom-gateway fetch``: have the running gateway fetch studies, and see how far it is.

The gateway that runs has the spool, so it is asked over HTTP at ``gateway.web.listen``.
"""

import asyncio
import json
import ssl
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Final

import aiohttp
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from gateway.cli.configuration import ConfigFile, configuration
from gateway.config import Config

_LOOK_EVERY: Final = 0.5
_PATIENCE: Final = 30.0
_ANYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104


class _NoGateway(Exception):
    """It cannot be asked; the text says what to do."""


def fetch(
    studies: Annotated[list[str], typer.Argument(help="Study Instance UIDs.")],
    node: Annotated[str, typer.Option("--from", help="A node with dicomweb: to fetch from.")],
    series: Annotated[str, typer.Option(help="Only this series of the one study.")] = "",
    instance: Annotated[str, typer.Option(help="Only this instance of the series.")] = "",
    url: Annotated[str, typer.Option(help="Where the gateway is, unless as configured.")] = "",
    token_file: Annotated[
        Path | None, typer.Option(help="A file with a bearer token, where the API asks for one.")
    ] = None,
    ca: Annotated[
        Path | None, typer.Option(help="Whom to trust, where the gateway serves HTTPS (PEM).")
    ] = None,
    config: ConfigFile = None,
) -> None:
    """Fetch studies from an origin server into the running gateway, which routes them."""
    if (series or instance) and (len(studies) != 1 or not series):
        raise typer.BadParameter("--series needs one study, --instance a --series")
    wanted: dict[str, Any] = {"from": node, "studies": studies}
    if series:
        wanted = {"from": node, "study": studies[0], "series": series}
        wanted |= {"instance": instance} if instance else {}
    address = url.rstrip("/") or address_of(configuration(config))
    try:
        job = asyncio.run(_fetch(address, wanted, _token(token_file), ca))
    except _NoGateway as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    for line in report(job):
        typer.echo(line)
    raise typer.Exit(0 if job["state"] == "done" else 1)


def address_of(config: Config) -> str:
    """Where the gateway of this configuration is asked from the same machine."""
    web = config.gateway.web
    if web.tls is not None and web.root_url:
        return web.root_url
    host = _ANYWHERE.get(web.listen.host, web.listen.host)
    host = f"[{host}]" if ":" in host else host
    return f"{'https' if web.tls else 'http'}://{host}:{web.listen.port}"


def report(job: dict[str, Any]) -> Iterable[str]:
    """One line for each study, and what is not as it should be."""
    for study in job["studies"]:
        counts = ", ".join(
            f"{study[name]} {word}"
            for name, word in (("received", "fetched"), ("held", "here before"))
            if name in study
        )
        listed = study.get("expected")
        of = "" if listed is None else f" of {listed} listed"
        yield f"{study['study']}  {study['state']}: {counts}{of}"
        if study.get("failure"):
            yield f"  {study['failure']}"
        yield from (f"  missing: {uid}" for uid in study.get("missing_instances", ()))


def _token(file: Path | None) -> str:
    try:
        return "" if file is None else file.read_text().strip()
    except OSError as error:
        raise typer.BadParameter(f"{file}: {error.strerror}") from None


async def _fetch(
    address: str, wanted: dict[str, Any], token: str, ca: Path | None
) -> dict[str, Any]:
    trust: ssl.SSLContext | bool = True if ca is None else ssl.create_default_context(cafile=ca)
    async with aiohttp.ClientSession(
        headers={"Authorization": f"Bearer {token}"} if token else {},
        connector=aiohttp.TCPConnector(ssl=trust),
        timeout=aiohttp.ClientTimeout(total=_PATIENCE),
    ) as session:
        job = await _asked(session, "POST", f"{address}/api/fetch", json=wanted)
        with Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            console=Console(stderr=True),
        ) as progress:
            bars: dict[int, TaskID] = {}
            while job["state"] == "running":
                _show(progress, bars, job)
                await asyncio.sleep(_LOOK_EVERY)
                job = await _asked(session, "GET", f"{address}/api/fetch/{job['id']}")
            _show(progress, bars, job)
    return job


def _show(progress: Progress, bars: dict[int, TaskID], job: dict[str, Any]) -> None:
    for number, study in enumerate(job["studies"]):
        if "received" not in study:
            continue
        if number not in bars:
            bars[number] = progress.add_task(study["study"])
        listed = study.get("expected")
        done = study["received"] + study.get("held", 0)
        progress.update(bars[number], completed=done, total=listed)


async def _asked(
    session: aiohttp.ClientSession, method: str, address: str, **body: Any
) -> dict[str, Any]:
    """The job that the gateway answers with. Raises _NoGateway."""
    try:
        async with session.request(method, address, **body) as answer:
            status, text = answer.status, await answer.read()
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise _NoGateway(
            f"no gateway answers at {address} ({type(error).__name__}): start it with"
            " dicom-gateway serve, or say --url where it is"
        ) from None
    if status in (401, 403):
        raise _NoGateway(f"the gateway answered {status}: say --token-file")
    try:
        said = json.loads(text)
    except ValueError:
        said = None
    if not isinstance(said, dict) or "state" not in said:
        reason = said.get("error") if isinstance(said, dict) else None
        raise _NoGateway(f"the gateway answered {status}: {reason or 'not what it should'}")
    return said
