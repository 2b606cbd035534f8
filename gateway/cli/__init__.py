"""The command line: ``dicom-gateway serve``, ``check``, ``explain`` and the others.

Exit status 0: done; 1: something failed, and the output says what; 2: the call was wrong.
"""

from typing import Annotated

import typer

from gateway import __version__
from gateway.cli import config, queue
from gateway.cli.check import check
from gateway.cli.codecs import codecs
from gateway.cli.decompress import decompress
from gateway.cli.demo import demo
from gateway.cli.diff import diff
from gateway.cli.explain import explain
from gateway.cli.fetch import fetch
from gateway.cli.serve import serve

app = typer.Typer(
    help=__doc__.split(".")[0] if __doc__ else None,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("serve")(serve)
app.command("check")(check)
app.command("explain")(explain)
app.command("diff")(diff)
app.command("codecs")(codecs)
app.command("decompress")(decompress)
app.command("demo")(demo)
app.command("fetch")(fetch)
app.add_typer(queue.app, name="queue")
app.add_typer(config.app, name="config")


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
