"""What is asked of the ledger. Each function takes a connection and only reads."""

import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, TypeAlias

from gateway.failures import PermanentFailure
from gateway.model import PRIORITIES, Instance, Owed
from gateway.spool.rows import (
    INSTANCE_COLUMNS,
    QUEUE_COLUMNS,
    STATES,
    Counts,
    DestinationCounts,
    QueueRow,
    instance_of,
    micros,
    moment,
    queue_row_of,
)

Selector: TypeAlias = int | str
"""A delivery id, in digits or as a number, or else a SOP Instance UID."""

# The column lists are constants of this package; every value is a parameter.
_QUEUE: Final = (
    f"SELECT {QUEUE_COLUMNS} FROM delivery d "  # noqa: S608
    "JOIN instance i ON i.spool_id = d.spool_id "
)
_LIST: Final = (
    f"{_QUEUE} WHERE (:state = '' OR d.state = :state) "
    "AND (:destination = '' OR d.destination = :destination) ORDER BY d.delivery_id LIMIT :limit"
)
_SHOW_ONE: Final = f"{_QUEUE} WHERE d.delivery_id = ?"
_SHOW_UID: Final = f"{_QUEUE} WHERE i.sop_instance_uid = ? ORDER BY d.delivery_id"
_OPEN: Final = (
    "SELECT d.delivery_id, d.destination, d.state FROM delivery d "
    "JOIN instance i ON i.spool_id = d.spool_id WHERE d.state IN ('owed', 'held') AND "
)
_OPEN_ONE: Final = f"{_OPEN} d.delivery_id = ?"
_OPEN_UID: Final = f"{_OPEN} i.sop_instance_uid = ?"
_OPEN_OF: Final = f"{_OPEN} d.destination = ?"
_STANDING: Final = (
    "SELECT destination, state, deliveries, tried FROM standing WHERE deliveries > 0 ORDER BY 1, 2"
)
_STANDING_COUNTED: Final = (
    "SELECT destination, state, count(*), sum(attempts > 0) FROM delivery "
    "GROUP BY destination, state ORDER BY 1, 2"
)
_VOLUME: Final = "SELECT instances, size FROM volume"
_VOLUME_COUNTED: Final = "SELECT count(*), coalesce(sum(size), 0) FROM instance"
_OLDEST: Final = "SELECT min(spool_id) FROM delivery WHERE state = 'owed' AND destination = ?"
_FINISHED: Final = (
    "SELECT i.spool_id FROM instance i "
    "WHERE i.spool_id BETWEEN :first AND :last AND i.received_at < :before "
    "AND NOT EXISTS (SELECT 1 FROM delivery d WHERE d.spool_id = i.spool_id "
    "AND (d.state IN ('owed', 'held') OR d.settled_at >= :before)) "
    "ORDER BY i.spool_id LIMIT :limit"
)


def owed_destinations(connection: sqlite3.Connection) -> list[str]:
    """To whom anything is owed."""
    query = "SELECT destination FROM standing WHERE state = 'owed' AND deliveries > 0"
    return [row[0] for row in connection.execute(query).fetchall()]


def is_owed_after(connection: sqlite3.Connection, after: datetime) -> bool:
    """Whether anything that is owed falls due later than ``after``."""
    query = (
        "SELECT max(due_at) FROM delivery WHERE state = 'owed' AND destination = ? "
        "AND priority = ?"
    )
    latest = (
        connection.execute(query, (destination, priority)).fetchone()[0]
        for destination in owed_destinations(connection)
        for priority in PRIORITIES
    )
    return any(due_at is not None and due_at > micros(after) for due_at in latest)


def owed(connection: sqlite3.Connection) -> dict[Owed, int]:
    """How many deliveries are owed to each destination by each route."""
    query = (
        "SELECT destination, route, count(*) FROM delivery WHERE state = 'owed' "
        "GROUP BY destination, route"
    )
    rows = connection.execute(query).fetchall()
    return {Owed(destination, route): count for destination, route, count in rows}


def listing(
    connection: sqlite3.Connection, state: str | None, destination: str | None, limit: int
) -> list[QueueRow]:
    """Deliveries in the order of their ids. Raises PermanentFailure for an unknown state."""
    if state and state not in STATES:
        raise PermanentFailure(f"no such state: {state!r}; there are {', '.join(STATES)}")
    values = {"state": state or "", "destination": destination or "", "limit": limit}
    return [queue_row_of(row) for row in connection.execute(_LIST, values).fetchall()]


def show(connection: sqlite3.Connection, selector: Selector) -> list[QueueRow]:
    """The deliveries of one id or of one SOP Instance UID; empty when there is none."""
    query, value = (_SHOW_UID, selector) if is_uid(selector) else (_SHOW_ONE, int(selector))
    return [queue_row_of(row) for row in connection.execute(query, (value,)).fetchall()]


@dataclass(frozen=True, slots=True)
class Chosen:
    """Deliveries that a person means: by a selector, a destination, or both together.

    ``state`` "owed" or "held" leaves out the others. Raises PermanentFailure where nothing is
    named, or no such state.
    """

    selector: Selector | None = None
    destination: str = ""
    state: str = ""

    def __post_init__(self) -> None:
        if self.selector is None and not self.destination:
            raise PermanentFailure("name a delivery, an instance or a destination")
        if self.state not in ("", "owed", "held"):
            raise PermanentFailure(
                f"what is {self.state} cannot be changed; there are owed and held"
            )


def open_ids(connection: sqlite3.Connection, chosen: Chosen) -> list[int]:
    """Deliveries owed or held that a person has chosen."""
    selector = chosen.selector
    if selector is None:
        rows = connection.execute(_OPEN_OF, (chosen.destination,))
    elif is_uid(selector):
        rows = connection.execute(_OPEN_UID, (selector,))
    else:
        rows = connection.execute(_OPEN_ONE, (int(selector),))
    return [
        delivery_id
        for delivery_id, destination, state in rows.fetchall()
        if chosen.destination in ("", destination) and chosen.state in ("", state)
    ]


def is_uid(selector: Selector) -> bool:
    """Whether a selector is a UID: a text that is not a bare number."""
    return isinstance(selector, str) and not selector.isdecimal()


def changes_by_hand(connection: sqlite3.Connection) -> int:
    """How often another process has changed deliveries."""
    row = connection.execute("SELECT value FROM meta WHERE name = 'changes_by_hand'").fetchone()
    return int(row[0]) if row else 0


def counts(connection: sqlite3.Connection) -> Counts:
    """Every destination that was ever owed something, by state, and the spool's size.

    The cost does not grow with the rows: the sums run along with each change.
    """
    with _at_one_moment(connection):
        return _counts(connection)


@contextmanager
def _at_one_moment(connection: sqlite3.Connection) -> Iterator[None]:
    """Let several questions see one state of the ledger, whatever is written meanwhile."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")


def _counts(connection: sqlite3.Connection) -> Counts:
    states: dict[str, dict[str, int]] = {}
    oldest: dict[str, datetime] = {}
    for destination, delivered, dropped in connection.execute("SELECT * FROM tally").fetchall():
        states[destination] = {"delivered": delivered, "dropped": dropped}
    for destination, state, count, tried in connection.execute(_STANDING).fetchall():
        of = states.setdefault(destination, {})
        of[state] = of.get(state, 0) + count
        if state == "owed":
            of["deferred"] = tried
            (first,) = connection.execute(_OLDEST, (destination,)).fetchone()
            oldest[destination] = received_at(connection, first)
    instances, size = connection.execute(_VOLUME).fetchone()
    each = {
        name: DestinationCounts(**of, oldest=oldest.get(name))
        for name, of in sorted(states.items())
    }
    return Counts(destinations=each, instances=instances, size=size)


def received_at(connection: sqlite3.Connection, spool_id: int) -> datetime:
    """When an instance came in."""
    query = "SELECT received_at FROM instance WHERE spool_id = ?"
    return moment(connection.execute(query, (spool_id,)).fetchone()[0])


def finished(
    connection: sqlite3.Connection, before: datetime, first: int, last: int, limit: int
) -> list[int]:
    """Instances from id ``first`` to ``last`` that nobody is owed and nothing touched since.

    "Since" is ``before``: they were received, and their last delivery settled, earlier.
    """
    values = {"before": micros(before), "first": first, "last": last, "limit": limit}
    return [row[0] for row in connection.execute(_FINISHED, values).fetchall()]


def is_owed(connection: sqlite3.Connection, spool_id: int) -> bool:
    """Whether any delivery of an instance is still to be made."""
    query = "SELECT 1 FROM delivery WHERE spool_id = ? AND state = 'owed' LIMIT 1"
    return connection.execute(query, (spool_id,)).fetchone() is not None


def instances(
    connection: sqlite3.Connection, spool_ids: Sequence[int], file_of: Callable[[int], Path]
) -> list[Instance]:
    """Those that have a row, in the order of the ids."""
    query = (
        f"SELECT {INSTANCE_COLUMNS} FROM json_each(?) wanted "  # noqa: S608
        "JOIN instance i ON i.spool_id = wanted.value ORDER BY wanted.key"
    )
    rows = connection.execute(query, (json.dumps(list(spool_ids)),)).fetchall()
    return [instance_of(row, file_of(row[-1])) for row in rows]


def is_there(connection: sqlite3.Connection, spool_id: int) -> bool:
    """Whether an instance has a row."""
    query = "SELECT 1 FROM instance WHERE spool_id = ?"
    return connection.execute(query, (spool_id,)).fetchone() is not None


def ids_between(connection: sqlite3.Connection, first: int, end: int) -> set[int]:
    """The spool ids in [first, end) that have a row."""
    query = "SELECT spool_id FROM instance WHERE spool_id >= ? AND spool_id < ?"
    return {row[0] for row in connection.execute(query, (first, end)).fetchall()}


def next_ids(connection: sqlite3.Connection) -> tuple[int, int]:
    """The first spool id and the first delivery id that no row has ever had."""
    used = dict(connection.execute("SELECT name, value FROM meta").fetchall())
    spool = connection.execute("SELECT coalesce(max(spool_id), 0) + 1 FROM instance").fetchone()
    delivery = connection.execute(
        "SELECT coalesce(max(delivery_id), 0) + 1 FROM delivery"
    ).fetchone()
    return (
        max(spool[0], used.get("next_spool_id", 1)),
        max(delivery[0], used.get("next_delivery_id", 1)),
    )


def contradictions(connection: sqlite3.Connection) -> list[str]:
    """What does not add up in the ledger, one sentence each; empty when it is whole.

    Delivery ids are given without gaps, so what is there and what retention has removed must
    together be every delivery that was ever owed.
    """
    with _at_one_moment(connection):
        return _contradictions(connection)


def _contradictions(connection: sqlite3.Connection) -> list[str]:
    found = []
    made = next_ids(connection)[1] - 1
    known = sum(of.received for of in _counts(connection).destinations.values())
    if made != known:
        found.append(f"{made} deliveries were owed, but {known} are accounted for")
    for sums, counted in ((_STANDING, _STANDING_COUNTED), (_VOLUME, _VOLUME_COUNTED)):
        kept, rows = (connection.execute(query).fetchall() for query in (sums, counted))
        if kept != rows:
            found.append(f"the running sums are {kept}, but the rows are {rows}")
    strays = connection.execute("PRAGMA foreign_key_check").fetchall()
    if strays:
        found.append(f"{len(strays)} deliveries have no instance")
    (silent,) = connection.execute(
        "SELECT count(*) FROM delivery WHERE state = 'held' AND reason = ''"
    ).fetchone()
    if silent:
        found.append(f"{silent} deliveries are held without a reason")
    found += [row[0] for row in connection.execute("PRAGMA quick_check") if row[0] != "ok"]
    return found
