"""The writing side of the ledger: instances, the deliveries they are owed, and verdicts.

One ``Ledger`` writes the instances of a spool. What people do to the queue may come from another
process at the same time; SQLite lets one transaction in after the other, and the states decide:
``delivered`` and ``dropped`` are final.
"""

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Final, TypeAlias

from gateway.failures import Failure
from gateway.model import PRIORITIES, Deferred, Delivered, Owed, Rejected, Verdict
from gateway.spool import passports, queries
from gateway.spool.gathering import gather
from gateway.spool.queries import Chosen
from gateway.spool.rows import Values, micros
from gateway.spool.schema import LEDGER, check_version, connect

Step: TypeAlias = Callable[[sqlite3.Connection], int]
"""Something to do inside a transaction; returns how many rows it changed."""

_INSERT_INSTANCE: Final = (
    "INSERT INTO instance (sop_instance_uid, sop_class_uid, transfer_syntax, study_uid, "
    "series_uid, arrival, calling, called, address, size, received_at, header, mislabelled, "
    "digest, spool_id) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_INSERT_DELIVERY: Final = (
    "INSERT INTO delivery (delivery_id, spool_id, destination, route, state, due_at, priority, "
    "gathering) VALUES (?, ?, ?, ?, 'owed', ?, ?, ?)"
)
_DELIVERED: Final = (
    "UPDATE delivery SET state = 'delivered', settled_at = ?, transfer_syntax = ?, decoder = ?, "
    "warning = ?, reason = '' WHERE delivery_id = ? AND state IN ('owed', 'held')"
)
_DEFERRED: Final = (
    "UPDATE delivery SET attempts = attempts + 1, due_at = ?, reason = ? "
    "WHERE delivery_id = ? AND state = 'owed'"
)
_REJECTED: Final = (
    "UPDATE delivery SET state = 'held', attempts = attempts + 1, reason = ? "
    "WHERE delivery_id = ? AND state IN ('owed', 'held')"
)
_RETRY: Final = (
    "UPDATE delivery SET state = 'owed', attempts = 0, due_at = ? "
    "WHERE delivery_id = ? AND state IN ('owed', 'held')"
)
_TRUST: Final = (
    "DELETE FROM interrupted "
    "WHERE spool_id = (SELECT spool_id FROM delivery WHERE delivery_id = ?)"
)
_HOLD: Final = (
    "UPDATE delivery SET state = 'held', reason = ? WHERE delivery_id = ? AND state = 'owed'"
)
_DROP: Final = (
    "UPDATE delivery SET state = 'dropped', settled_at = ?, reason = ? "
    "WHERE delivery_id = ? AND state IN ('owed', 'held')"
)
_BRING_FORWARD: Final = (
    "UPDATE delivery SET due_at = ? WHERE state = 'owed' AND destination = ? AND due_at > ?"
)
_PUT_OFF: Final = "UPDATE delivery SET due_at = ? WHERE delivery_id = ? AND state = 'owed'"
_RECONSIDER: Final = (
    "UPDATE delivery SET due_at = ? WHERE state = 'owed' AND destination = ? AND priority = ? "
    "AND due_at > ? AND attempts = 0 AND gathering IS NULL"
)
_MISSING: Final = (
    "UPDATE delivery SET state = 'held', reason = ? WHERE spool_id = ? AND state = 'owed'"
)
_TALLY: Final = (
    "INSERT INTO tally (destination, delivered, dropped) "
    "SELECT destination, sum(CASE WHEN state = 'delivered' THEN 1 ELSE 0 END), "
    "sum(CASE WHEN state = 'dropped' THEN 1 ELSE 0 END) "
    "FROM delivery WHERE spool_id = ? GROUP BY destination "
    "ON CONFLICT (destination) DO UPDATE SET delivered = tally.delivered + excluded.delivered, "
    "dropped = tally.dropped + excluded.dropped"
)
_REMEMBER: Final = (
    "INSERT INTO meta (name, value) VALUES (?, ?) "
    "ON CONFLICT (name) DO UPDATE SET value = excluded.value"
)


class Ledger:
    """The one connection that writes instances; used by one thread at a time."""

    def __init__(self, root: Path) -> None:
        self._path = root / LEDGER
        self._connection: sqlite3.Connection | None = None
        self._next_delivery_id = 0
        connection = self._connected()
        try:
            check_version(connection, self._path)
            self.next_spool_id, _ = queries.next_ids(connection)
        except BaseException:
            self.close()
            raise

    def run(self, steps: Sequence[Step]) -> list[int]:
        """Do the steps in one transaction, durable on return. Raises sqlite3.Error.

        After a failure the connection is given up, so that no descriptor is synced again after
        its sync has failed; the next call opens a new one.
        """
        self._next_delivery_id = 0
        try:
            connection = self._connected()
            connection.execute("BEGIN IMMEDIATE")
            results = [step(connection) for step in steps]
            connection.execute("COMMIT")
        except BaseException:
            self.close()
            raise
        return results

    def keep(self, connection: sqlite3.Connection, values: Values, owed: Sequence[Owed]) -> int:
        """Write an instance (``INSTANCE_COLUMNS``) and what it is owed; a step of ``run``."""
        connection.execute(_INSERT_INSTANCE, values)
        if owed and not self._next_delivery_id:  # another process may have given numbers as well
            _, self._next_delivery_id = queries.next_ids(connection)
        for one in owed:
            owe(connection, self._next_delivery_id, one, values)
            self._next_delivery_id += 1
        return 1

    def forgetting(self, spool_ids: Sequence[int], before: datetime) -> Step:
        """The step that deletes instances that are still finished, adding them to the tally.

        It returns how many are gone. The numbers they had are never used again.
        """
        return lambda connection: self._forget(connection, spool_ids, before)

    def _forget(
        self, connection: sqlite3.Connection, spool_ids: Sequence[int], before: datetime
    ) -> int:
        gone = 0
        _, next_delivery_id = queries.next_ids(connection)
        for spool_id in spool_ids:
            if queries.finished(connection, before, spool_id, spool_id, 1):
                connection.execute(_TALLY, (spool_id,))
                passports.forget(connection, spool_id)
                connection.execute("DELETE FROM delivery WHERE spool_id = ?", (spool_id,))
                connection.execute("DELETE FROM instance WHERE spool_id = ?", (spool_id,))
                gone += 1
        used = {"next_delivery_id": next_delivery_id, "next_spool_id": max(spool_ids) + 1}
        known = dict(connection.execute("SELECT name, value FROM meta").fetchall())
        for name, value in used.items():
            connection.execute(_REMEMBER, (name, max(value, known.get(name, 0))))
        return gone

    def close(self) -> None:
        """Give up the connection; what was not committed has not happened."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = connect(self._path)
        return self._connection


def owe(connection: sqlite3.Connection, delivery_id: int, owed: Owed, values: Values) -> None:
    """Write one delivery of an instance (``INSTANCE_COLUMNS``), due at once unless gathered."""
    study, series, received_at, spool_id = values[3], values[4], values[10], values[-1]
    gathering, due_at = None, received_at
    uid = {"study": study, "series": series}.get(owed.terms.gather)
    if uid:
        gathering, due_at = gather(connection, owed, str(uid), int(received_at or 0))
    row = (owed.destination, owed.route, due_at, owed.terms.priority, gathering)
    connection.execute(_INSERT_DELIVERY, (delivery_id, spool_id, *row))


def _reason(failure: Failure) -> str:
    text = str(failure) or type(failure).__name__
    return f"{text} ({failure.remark})" if failure.remark else text


def settling(delivery_id: int, verdict: Verdict, now: datetime) -> Step:
    """The step that records what became of one try. A person's hold or drop stands."""
    match verdict:
        case Delivered(syntax, decoder, warning):
            return _update(_DELIVERED, micros(now), syntax, decoder, warning, delivery_id)
        case Deferred(failure, due_at):
            return _update(_DEFERRED, micros(due_at), _reason(failure), delivery_id)
        case Rejected(failure):
            return _update(_REJECTED, _reason(failure), delivery_id)


def retrying(chosen: Chosen, now: datetime) -> Step:
    """Owed again and due at once, as if never tried: what is held or deferred."""
    return _by_hand(chosen, _RETRY, (micros(now),), also=_TRUST)


def holding(chosen: Chosen, reason: str) -> Step:
    """Not tried any more until a person says so: what is owed."""
    return _by_hand(chosen, _HOLD, (reason,))


def dropping(chosen: Chosen, now: datetime, reason: str) -> Step:
    """Never delivered: what is owed or held. This is final."""
    return _by_hand(chosen, _DROP, (micros(now), reason))


def bringing_forward(now: datetime, after: datetime) -> Step:
    """Due now: what is owed and would fall due later than ``after``."""

    def step(connection: sqlite3.Connection) -> int:
        rows = [
            (micros(now), destination, micros(after))
            for destination in queries.owed_destinations(connection)
        ]
        return connection.executemany(_BRING_FORWARD, rows).rowcount if rows else 0

    return step


def putting_off(delivery_ids: Sequence[int], until: datetime) -> Step:
    """Due later without having been tried: what is owed."""
    rows = [(micros(until), delivery_id) for delivery_id in delivery_ids]
    return lambda connection: connection.executemany(_PUT_OFF, rows).rowcount


def reconsidering(now: datetime) -> Step:
    """Due now: what was put off without having been tried, and is not being gathered."""

    def step(connection: sqlite3.Connection) -> int:
        rows = [
            (micros(now), destination, priority, micros(now))
            for destination in queries.owed_destinations(connection)
            for priority in PRIORITIES
        ]
        return connection.executemany(_RECONSIDER, rows).rowcount if rows else 0

    return step


def missing(spool_id: int, file: Path) -> Step:
    """The step that holds what is owed of an instance whose file has vanished."""
    return _update(_MISSING, f"the spool file is missing: {file}", spool_id)


def _by_hand(chosen: Chosen, statement: str, values: Values, also: str = "") -> Step:
    def step(connection: sqlite3.Connection) -> int:
        ids = queries.open_ids(connection, chosen)
        if also:
            connection.executemany(also, [(delivery_id,) for delivery_id in ids])
        rows = [(*values, delivery_id) for delivery_id in ids]
        return connection.executemany(statement, rows).rowcount if rows else 0

    return step


def _update(statement: str, *values: str | int) -> Step:
    def step(connection: sqlite3.Connection) -> int:
        return connection.execute(statement, values).rowcount

    return step
