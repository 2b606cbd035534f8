"""``dicom-gateway queue reroute``: the rules as they are now, for instances that came before."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.configuration import ConfigFile, configuration
from gateway.cli.listing import arrival_of
from gateway.cli.opened import SpoolFolder, open_queue
from gateway.dataset.elements import MalformedDataSet
from gateway.dataset.header import read_header
from gateway.failures import Failure, PermanentFailure
from gateway.model import Instance, Owed
from gateway.route.replay import decided
from gateway.route.rules import Rules, compile_rules
from gateway.spool.history import History
from gateway.spool.rerouting import Rerouted

AT_A_TIME = 100


def reroute(
    selector: Annotated[
        str | None, typer.Argument(help="A SOP Instance UID, or a delivery's number.")
    ] = None,
    destination: Annotated[
        str, typer.Option(help="All instances that this node is owed, or for which it holds.")
    ] = "",
    study: Annotated[str, typer.Option(help="All instances of this Study Instance UID.")] = "",
    unrouted: Annotated[
        bool, typer.Option("--unrouted", help="All instances that no route has taken.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Change nothing; name each instance and what would become of it."
        ),
    ] = False,
    config: ConfigFile = None,
    spool: SpoolFolder = None,
) -> None:
    """Apply the routes of the configuration file anew: owe what they say, drop what they do not.

    What was delivered is not sent again, and what a person has dropped stays dropped. A running
    gateway goes on by the rules that it has loaded: reload it first.
    """
    if sum(map(bool, (selector, destination, study, unrouted))) != 1:
        raise typer.BadParameter(
            "name one: a SOP Instance UID, a delivery's number, --destination, --study, --unrouted"
        )
    settings = configuration(config)
    folder = spool or Path(settings.gateway.spool.path)
    rules, counted, failed = compile_rules(settings), Counter[str](), False
    with open_queue(config, folder) as queue, History(folder) as history:
        found = history.chosen(selector, destination=destination, study=study, unrouted=unrouted)
        for instances in _pages(found):
            plan: dict[int, tuple[Owed, ...]] = {}
            for instance in instances:
                try:
                    plan[instance.spool_id] = _decided(rules, instance)
                except Failure as failure:
                    typer.echo(f"{instance.sop_instance_uid}: {failure}", err=True)
                    failed = True
            changes = queue.reroute(plan, dry_run=dry_run)
            counted.update(_counts(changes.values()))
            if dry_run:
                _name(instances, changes, every=unrouted)
    _tell(counted, dry_run)
    if failed or not counted["instances"]:
        raise typer.Exit(1)


def _pages(instances: Iterator[Instance]) -> Iterator[list[Instance]]:
    page: list[Instance] = []
    for instance in instances:
        page.append(instance)
        if len(page) == AT_A_TIME:
            yield page
            page = []
    yield page


def _decided(rules: Rules, instance: Instance) -> tuple[Owed, ...]:
    """To whom it is owed by what its file says; a header in part might drop what is owed."""
    try:
        return decided(rules, instance, read_header(instance.file, rules.tags))
    except (OSError, MalformedDataSet) as error:
        raise PermanentFailure(f"cannot be read, and stays as it is: {error}") from error


def _name(instances: Iterable[Instance], changes: Mapping[int, Rerouted], every: bool) -> None:
    """A line for each instance that would change, or for ``every`` one that is understood."""
    for instance in instances:
        change = changes.get(instance.spool_id)
        if change is None or not (change or every):
            continue
        parts = [
            *(f"to {each.destination}" for each in change.new),
            *(f"no longer to {row.destination}" for row in change.dropped),
            *(f"to {row.destination} by {each.route}" for row, each in change.renamed),
        ]
        what = ", ".join(parts) or "no route takes it"
        typer.echo(f"{'  '.join(arrival_of(instance))}  {what}")


def _counts(changes: Iterable[Rerouted]) -> Counter[str]:
    found = Counter[str]()
    for change in changes:
        found["instances"] += 1
        found["changed"] += bool(change)
        found["new"] += len(change.new)
        found["dropped"] += len(change.dropped)
        found["renamed"] += len(change.renamed)
    return found


def _tell(counted: Counter[str], dry_run: bool) -> None:
    is_changed = "would be routed anew" if dry_run else "routed anew"
    typer.echo(
        f"{counted['changed']} of {counted['instances']} instances {is_changed}: "
        f"{counted['new']} deliveries new, {counted['dropped']} dropped, "
        f"{counted['renamed']} by another route or priority"
    )
