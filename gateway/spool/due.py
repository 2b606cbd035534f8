"""What a destination is owed and when, in the order in which it is served. Only reads."""

import sqlite3
from collections.abc import Callable, Collection, Iterator
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Final

from gateway.model import (
    BY_SERIES,
    BY_STUDY,
    NEWEST_FIRST,
    PRIORITIES,
    Delivery,
    Instance,
    Order,
)
from gateway.spool.rows import INSTANCE_COLUMNS, Row, instance_of, micros, moment

# The column lists are constants of this package; every value is a parameter.
_SELECT: Final = (
    "SELECT d.delivery_id, d.destination, d.route, d.attempts, d.due_at, d.priority, "  # noqa: S608
    f"{INSTANCE_COLUMNS} FROM delivery d JOIN instance i ON i.spool_id = d.spool_id WHERE "
)
_DUE: Final = "d.destination = ? AND d.priority = ? AND d.due_at <= ? ORDER BY "
_OLDEST: Final = f"{_SELECT}d.state = 'owed' AND {_DUE}d.due_at, d.spool_id LIMIT ?"
_NEWEST: Final = f"{_SELECT}d.state = 'owed' AND {_DUE}d.due_at DESC, d.spool_id DESC LIMIT ?"
# The state is hidden from the index by state: a study is looked through, not all that is owed.
_REST: Final = f"(d.state || '') = 'owed' AND {_DUE}d.due_at, d.spool_id LIMIT ?"
_OF_STUDY: Final = f"{_SELECT}i.study_uid = ? AND {_REST}"
_OF_SERIES: Final = f"{_SELECT}i.study_uid = ? AND i.series_uid = ? AND {_REST}"
_DUE_AT: Final = (
    "SELECT delivery_id, due_at FROM delivery "
    "WHERE state = 'owed' AND destination = ? AND priority = ? ORDER BY due_at, spool_id LIMIT ?"
)


def due(
    connection: sqlite3.Connection,
    destination: str,
    limit: int,
    now: datetime,
    exclude: Collection[int],
    file_of: Callable[[int], Path],
    order: Order,
) -> list[Delivery]:
    """At most ``limit`` deliveries due, without the ids in ``exclude``.

    The highest priority comes first, and of one priority what ``order`` says.
    """
    found: list[Delivery] = []
    for priority in PRIORITIES:
        if len(found) == limit:
            break
        values = (destination, priority, micros(now), limit - len(found) + len(exclude))
        rows = _in_order(connection, order, order.last.get(priority), values, file_of)
        wanted = (each for each in rows if each.delivery_id not in exclude)
        found += islice(wanted, limit - len(found))
    return found


def next_due_at(
    connection: sqlite3.Connection, destination: str, exclude: Collection[int]
) -> datetime | None:
    """When the next owed delivery that is not in ``exclude`` falls due; None when none is owed."""
    times = [
        due_at
        for priority in PRIORITIES
        for delivery_id, due_at in connection.execute(
            _DUE_AT, (destination, priority, len(exclude) + 1)
        ).fetchall()
        if delivery_id not in exclude
    ]
    return moment(min(times)) if times else None


def _in_order(
    connection: sqlite3.Connection,
    order: Order,
    last: Instance | None,
    values: tuple[str, int, int, int],
    file_of: Callable[[int], Path],
) -> Iterator[Delivery]:
    """What is due by ``values``: (destination, priority, time, how much of each query)."""

    def ask(query: str, *facts: str) -> list[Delivery]:
        rows = connection.execute(query, (*facts, *values)).fetchall()
        return [_delivery_of(row, file_of(row[-1])) for row in rows]

    if order.kind == NEWEST_FIRST:
        yield from ask(_NEWEST)
    elif order.kind in (BY_SERIES, BY_STUDY):
        whole = order.kind == BY_STUDY
        oldest = [each.instance for each in ask(_OLDEST)]
        groups = dict.fromkeys(
            (each.study_uid,) if whole else (each.study_uid, each.series_uid)
            for each in ([last, *oldest] if last else oldest)
        )
        for uids in groups:
            yield from ask(_OF_STUDY if whole else _OF_SERIES, *uids)
    else:
        yield from ask(_OLDEST)


def _delivery_of(row: Row, file: Path) -> Delivery:
    return Delivery(
        delivery_id=row[0],
        instance=instance_of(row[6:], file),
        destination=row[1],
        route=row[2],
        attempts=row[3],
        due_at=moment(row[4]),
        priority=row[5],
    )
