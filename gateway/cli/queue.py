"""``dicom-gateway queue``: the ledger from the shell, also while the gateway runs."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from gateway.cli.configuration import ConfigFile
from gateway.cli.listing import arrival_of, local_time, print_table
from gateway.cli.opened import SpoolFolder, open_history, open_queue
from gateway.cli.reroute import reroute
from gateway.model import Instance, Verification
from gateway.spool import PassportRow, Queue, QueueRow
from gateway.transfer_syntax import name_of

app = typer.Typer(
    help="See, retry, hold, drop or reroute what is owed.",
    no_args_is_help=True,
    add_completion=False,
)

AsJson = Annotated[bool, typer.Option("--json", help="One JSON array, for machines.")]
Selector = Annotated[str, typer.Argument(help="A SOP Instance UID, or a delivery's number.")]
Selected = Annotated[
    str | None,
    typer.Argument(help="A SOP Instance UID, or a delivery's number; or name a --destination."),
]
Destination = Annotated[
    str, typer.Option(help="All deliveries to this node, or those of them that SELECTOR means.")
]
State = Annotated[str, typer.Option(help="Only what is owed, or only what is held.")]


@app.command("list")
def list_(
    state: Annotated[
        str, typer.Option(help="owed, held, delivered, dropped or all.")
    ] = "owed,held",
    destination: Annotated[str | None, typer.Option(help="Only this destination.")] = None,
    unrouted: Annotated[
        bool, typer.Option("--unrouted", help="Instances that no route has taken, instead.")
    ] = False,
    limit: Annotated[int, typer.Option(help="At most so many rows.")] = 100,
    as_json: AsJson = False,
    config: ConfigFile = None,
    spool: SpoolFolder = None,
) -> None:
    """What is owed and held (by default), the oldest first."""
    if unrouted:
        with open_history(config, spool) as history:
            found = list(islice(history.chosen(unrouted=True), limit))
        _show_unrouted(found, as_json=as_json)
        return
    states = [None] if state == "all" else [*state.split(",")]
    with open_queue(config, spool) as queue:
        rows = [
            row
            for wanted in states
            for row in queue.list(state=wanted, destination=destination, limit=limit)
        ]
    rows.sort(key=lambda row: row.delivery_id)
    _show(rows[:limit], as_json=as_json)


@app.command()
def show(
    selector: Selector,
    as_json: AsJson = False,
    config: ConfigFile = None,
    spool: SpoolFolder = None,
) -> None:
    """Everything the ledger knows of an instance: its deliveries, and how its pixels were made."""
    with open_queue(config, spool) as queue:
        rows = list(queue.show(_selected(selector)))
        made = list(queue.passports(_selected(selector)))
    if not rows:
        typer.echo(f"nothing in the ledger for {selector}", err=True)
        raise typer.Exit(1)
    if as_json:
        typer.echo(json.dumps([_all_facts(row, made) for row in rows], indent=2, default=str))
        return
    for spool_id in dict.fromkeys(row.spool_id for row in rows):
        for row in (each for each in rows if each.spool_id == spool_id):
            _print_facts(_facts(row))
        for passport in (each for each in made if each.spool_id == spool_id):
            _print_facts(passport_lines(passport))


def _print_facts(facts: Mapping[str, object]) -> None:
    for name, value in facts.items():
        typer.echo(f"{name:>20}  {value}")
    typer.echo()


def _all_facts(row: QueueRow, made: Iterable[PassportRow]) -> dict[str, object]:
    """For machines: a delivery with the passports of its instance."""
    passports = [
        {"form": each.form, "made_at": each.made_at, **asdict(each.passport)}
        for each in made
        if each.spool_id == row.spool_id
    ]
    return {**_facts(row), "passports": passports}


def passport_lines(row: PassportRow) -> dict[str, str]:
    """How pixels were made, for a person; what there is nothing to say of is left out."""
    passport = row.passport
    form = row.form.removeprefix(passport.target).lstrip("+").replace("+", ", ")
    by = f"{passport.decoder} {passport.version}".strip() or "nobody: nothing was compressed"
    frames = f"{passport.frames} frame{'' if passport.frames == 1 else 's'} in "
    lines = {
        "pixels made for": name_of(passport.target) + (f" ({form})" if form else ""),
        "decoded by": by,
        "self-test": passport.self_test,
        "verified": verification_line(passport.verification),
        "colour": passport.colour,
        "corrections": "; ".join(passport.notes),
        "printed": passport.stderr,
        "stored SHA-256": passport.stored_digest,
        "native SHA-256": passport.native_digest,
        "took": f"{frames if passport.frames else ''}{passport.seconds * 1000:.1f} ms",
        "made": local_time(row.made_at),
    }
    return {name: text for name, text in lines.items() if text}


def verification_line(found: Verification | None) -> str:
    """What a second decoder said, in words; "" where nobody was asked."""
    if found is None:
        return ""
    frames = f"{found.frames} frame{'' if found.frames == 1 else 's'}"
    match found.state:
        case "equal":
            return f"equal in {frames}: {' and '.join(found.decoders)}"
        case "within bound":
            text = f"{frames} equal but for {found.maximum}, {found.bound} is allowed"
            return f"{text}: {' and '.join(found.decoders)}"
        case "one lineage":
            return f"no: there is no decoder of another lineage than {', '.join(found.decoders)}"
        case _:
            return "no: the codestream is lossy, and lossless ones are to be verified"


@app.command()
def retry(
    selector: Selected = None,
    destination: Destination = "",
    state: State = "",
    config: ConfigFile = None,
    spool: SpoolFolder = None,
) -> None:
    """Try again now, whether deferred or held."""
    _change(Queue.retry, _chosen(selector, destination, state), "to be tried again", config, spool)


@app.command()
def hold(
    selector: Selected = None,
    destination: Destination = "",
    config: ConfigFile = None,
    spool: SpoolFolder = None,
) -> None:
    """Keep back what is owed until somebody retries or drops it."""
    _change(Queue.hold, _chosen(selector, destination), "held", config, spool)


@app.command()
def drop(
    selector: Selected = None,
    destination: Destination = "",
    state: State = "",
    config: ConfigFile = None,
    spool: SpoolFolder = None,
) -> None:
    """Give up deliveries for good; the instances stay as long as the spool keeps them."""
    _change(Queue.drop, _chosen(selector, destination, state), "dropped", config, spool)


app.command("reroute")(reroute)


def _chosen(selector: str | None, destination: str, state: str = "") -> dict[str, Any]:
    if selector is None and not destination:
        raise typer.BadParameter(
            "name a delivery's number, a SOP Instance UID, or --destination NODE"
        )
    if state not in ("", "owed", "held"):
        raise typer.BadParameter(f"--state {state}: only what is owed or held can be changed")
    selected = None if selector is None else _selected(selector)
    return {"selector": selected, "destination": destination, "state": state}


def _change(
    act: Callable[..., int],
    chosen: Mapping[str, Any],
    done: str,
    config: Path | None,
    spool: Path | None,
) -> None:
    with open_queue(config, spool) as queue:
        count = act(queue, **chosen)
    typer.echo(f"{count} {'delivery' if count == 1 else 'deliveries'} {done}")
    if not count:
        raise typer.Exit(1)


def _selected(selector: str) -> str | int:
    return int(selector) if selector.isdecimal() else selector


def _show(rows: list[QueueRow], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps([_facts(row) for row in rows], indent=2, default=str))
        return
    headings = ("no.", "instance", "to", "state", "tries", "received", "next try", "why")
    print_table(headings, [_cells(row) for row in rows])


def _cells(row: QueueRow) -> tuple[str, ...]:
    return (
        str(row.delivery_id),
        row.sop_instance_uid,
        row.destination,
        row.state,
        str(row.attempts),
        local_time(row.received_at),
        local_time(row.due_at) if row.state == "owed" else "",
        row.reason or row.warning,
    )


def _show_unrouted(found: list[Instance], *, as_json: bool) -> None:
    if not as_json:
        print_table(("instance", "from", "received"), [arrival_of(each) for each in found])
        return
    facts = [
        {
            "sop_instance_uid": each.sop_instance_uid,
            "spool_id": each.spool_id,
            "calling": each.origin.calling,
            "address": each.origin.address,
            "transfer_syntax": name_of(each.transfer_syntax),
            "size": each.size,
            "received_at": each.received_at,
        }
        for each in found
    ]
    typer.echo(json.dumps(facts, indent=2, default=str))


def _facts(row: QueueRow) -> dict[str, object]:
    facts = asdict(row)
    facts["transfer_syntax"] = name_of(row.transfer_syntax)
    facts["delivered_as"] = name_of(row.delivered_as) if row.delivered_as else ""
    return facts
