"""Series and studies of which more may come: held back, and let go when they are complete.

Each delivery that is gathered falls due at the deadline by itself, so that none can be held back
for ever. One row beside them tells until when nothing must have come for the series or study to
be complete; each arrival moves it, up to the deadline. Letting go makes its deliveries due and
removes the row: what arrives later begins anew.
"""

import sqlite3
from datetime import datetime
from typing import Final

from gateway.model import Owed
from gateway.spool.rows import micros, span

_ARRIVED: Final = (
    "INSERT INTO gathering (destination, route, uid, first_at, due_at) VALUES (?, ?, ?, ?, ?) "
    "ON CONFLICT (destination, route, uid) DO UPDATE SET due_at = excluded.due_at "
    "RETURNING gathering, first_at"
)
_NOT_BEYOND: Final = "UPDATE gathering SET due_at = ? WHERE gathering = ? AND due_at > ?"
_COMPLETE: Final = "SELECT gathering FROM gathering WHERE due_at <= ?"
_LET_GO: Final = (
    "UPDATE delivery SET gathering = NULL, "
    "due_at = CASE WHEN state = 'owed' AND attempts = 0 AND due_at > ? THEN ? ELSE due_at END "
    "WHERE gathering = ?"
)


def gather(connection: sqlite3.Connection, owed: Owed, uid: str, now: int) -> tuple[int, int]:
    """One more of a series or study: the number of its row, and when the deadline is.

    Times are in microseconds since 1970.
    """
    quiet_at = now + span(owed.terms.quiet_for)
    row = (owed.destination, owed.route, uid, now, quiet_at)
    number, first_at = connection.execute(_ARRIVED, row).fetchone()
    deadline: int = first_at + span(owed.terms.deadline)
    connection.execute(_NOT_BEYOND, (deadline, number, deadline))
    return number, deadline


def is_complete(connection: sqlite3.Connection, now: datetime) -> bool:
    """Whether there is anything to be let go."""
    return connection.execute(f"{_COMPLETE} LIMIT 1", (micros(now),)).fetchone() is not None


def let_go(connection: sqlite3.Connection, now: datetime) -> int:
    """Make due what is complete; returns how many deliveries. A step of ``Ledger.run``."""
    at = micros(now)
    numbers = [row[0] for row in connection.execute(_COMPLETE, (at,)).fetchall()]
    rows = [(at, at, number) for number in numbers]
    count = connection.executemany(_LET_GO, rows).rowcount if rows else 0
    connection.executemany(
        "DELETE FROM gathering WHERE gathering = ?", [(number,) for number in numbers]
    )
    return count
