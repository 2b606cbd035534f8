"""Other rules for instances that were routed before: what they owe then, and what no longer.

What is owed or held and no longer routed is dropped; what is newly routed is owed at once. What a
destination has, or a person has dropped, stays as it is: nothing is sent twice by this.
"""

import sqlite3
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

from gateway.model import Owed
from gateway.spool.queries import next_ids
from gateway.spool.rows import micros

REROUTED: Final = "rerouted: the rules do not send it there any more"

_ROWS: Final = (
    "SELECT delivery_id, destination, route, priority, state, reason FROM delivery "
    "WHERE spool_id = ? ORDER BY delivery_id"
)
_OWE: Final = (
    "INSERT INTO delivery (delivery_id, spool_id, destination, route, state, due_at, priority) "
    "VALUES (?, ?, ?, ?, 'owed', ?, ?)"
)
_DROP: Final = (
    "UPDATE delivery SET state = 'dropped', settled_at = ?, reason = ? "
    "WHERE delivery_id = ? AND state IN ('owed', 'held')"
)
_RENAME: Final = "UPDATE delivery SET route = ?, priority = ? WHERE delivery_id = ?"
_KNOWN: Final = "SELECT 1 FROM instance WHERE spool_id = ?"


class Row(NamedTuple):
    """A delivery that there is."""

    delivery_id: int
    destination: str
    route: str
    priority: int
    state: str
    reason: str

    @property
    def open(self) -> bool:
        """Whether it is still to be made."""
        return self.state in ("owed", "held")

    @property
    def rerouted(self) -> bool:
        """Whether only rules have dropped it, and rules may owe it again."""
        return self.state == "dropped" and self.reason == REROUTED


@dataclass(frozen=True, slots=True)
class Rerouted:
    """What other rules change: deliveries that are new, dropped, or owed by another route."""

    new: tuple[Owed, ...] = ()
    dropped: tuple[Row, ...] = ()
    renamed: tuple[tuple[Row, Owed], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.new or self.dropped or self.renamed)


def compare(rows: Collection[Row], owed: Iterable[Owed]) -> Rerouted:
    """What becomes of the deliveries of one instance that is now owed so."""
    wanted = {each.destination: each for each in owed}
    there = {row.destination for row in rows if not row.rerouted}
    open_rows = [row for row in rows if row.open]
    renamed = ((row, wanted[row.destination]) for row in open_rows if row.destination in wanted)
    return Rerouted(
        new=tuple(each for each in wanted.values() if each.destination not in there),
        dropped=tuple(row for row in open_rows if row.destination not in wanted),
        renamed=tuple(
            (row, each)
            for row, each in renamed
            if (row.route, row.priority) != (each.route, each.terms.priority)
        ),
    )


def rerouted(connection: sqlite3.Connection, spool_id: int, owed: Sequence[Owed]) -> Rerouted:
    """What would change for an instance, nothing where it is gone."""
    if connection.execute(_KNOWN, (spool_id,)).fetchone() is None:
        return Rerouted()
    rows = [Row(*row) for row in connection.execute(_ROWS, (spool_id,)).fetchall()]
    return compare(rows, owed)


def reroute(
    connection: sqlite3.Connection, spool_id: int, owed: Sequence[Owed], now: datetime
) -> Rerouted:
    """Change it; to be called in a transaction."""
    found = rerouted(connection, spool_id, owed)
    at = micros(now)
    for row in found.dropped:
        connection.execute(_DROP, (at, REROUTED, row.delivery_id))
    for row, each in found.renamed:
        connection.execute(_RENAME, (each.route, each.terms.priority, row.delivery_id))
    if found.new:
        _, first = next_ids(connection)
        for number, each in enumerate(found.new, first):
            values = (number, spool_id, each.destination, each.route, at, each.terms.priority)
            connection.execute(_OWE, values)
    return found
