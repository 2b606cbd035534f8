"""The queue as a person sees it, from a process beside the gateway or without one."""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final, Self, TypeVar

from gateway.failures import PermanentFailure, TemporaryFailure
from gateway.model import Owed
from gateway.spool import passports, queries
from gateway.spool.ledger import Step, dropping, holding, retrying
from gateway.spool.passports import PassportRow
from gateway.spool.queries import Chosen, Selector
from gateway.spool.rerouting import Rerouted, reroute, rerouted
from gateway.spool.rows import Counts, QueueRow
from gateway.spool.schema import LEDGER, check_version, connect

T = TypeVar("T")

BY_HAND: Final = "by hand"
_COUNT: Final = (
    "INSERT INTO meta (name, value) VALUES ('changes_by_hand', 1) "
    "ON CONFLICT (name) DO UPDATE SET value = value + 1"
)


class Queue:
    """The deliveries of a spool, to be looked at and changed while a gateway may be running.

    A selector is a delivery id or a SOP Instance UID; ``destination`` narrows it, or stands
    alone; ``state`` "owed" or "held" narrows both. Each change is counted in the ledger, by which
    a running gateway notices it (``Spool.changes_by_hand``). Use it in one thread, as a context
    manager.
    """

    def __init__(self, spool: Path, *, clock: Callable[[], datetime]) -> None:
        """Open the ledger of a spool. Raises PermanentFailure when there is none."""
        self._path = spool / LEDGER
        self._clock = clock
        if not self._path.is_file():
            raise PermanentFailure(f"there is no spool at {spool}: {self._path} does not exist")
        try:
            self._connection = connect(self._path)
            check_version(self._connection, self._path)
        except sqlite3.Error as error:
            raise PermanentFailure(f"cannot open {self._path}: {error}") from error

    def list(
        self, state: str | None = None, destination: str | None = None, limit: int = 100
    ) -> Sequence[QueueRow]:
        """Deliveries, the longest known first; all states unless one is named."""
        return self._ask(queries.listing, state, destination, limit)

    def show(self, selector: Selector) -> Sequence[QueueRow]:
        """The deliveries of one id or instance; empty when there is none."""
        return self._ask(queries.show, selector)

    def passports(self, selector: Selector) -> Sequence[PassportRow]:
        """How the derived pixels of one instance, or of one delivery's, were made."""
        return self._ask(passports.passports, selector)

    def counts(self) -> Counts:
        """The ledger in numbers."""
        return self._ask(queries.counts)

    def contradictions(self) -> Sequence[str]:
        """What does not add up in the ledger; empty when it is whole."""
        return self._ask(queries.contradictions)

    def retry(
        self, selector: Selector | None = None, *, destination: str = "", state: str = ""
    ) -> int:
        """Make what is held or deferred due at once; returns how many deliveries."""
        return self._change(retrying(Chosen(selector, destination, state), self._clock()))

    def hold(
        self, selector: Selector | None = None, *, destination: str = "", state: str = ""
    ) -> int:
        """Stop trying what is owed; returns how many deliveries."""
        return self._change(holding(Chosen(selector, destination, state), BY_HAND))

    def drop(
        self, selector: Selector | None = None, *, destination: str = "", state: str = ""
    ) -> int:
        """Give up what is owed or held, for good; returns how many deliveries."""
        chosen = Chosen(selector, destination, state)
        return self._change(dropping(chosen, self._clock(), BY_HAND))

    def reroute(
        self, owed: Mapping[int, Sequence[Owed]], *, dry_run: bool = False
    ) -> dict[int, Rerouted]:
        """Let instances (by spool id) owe what they are said to, in one transaction.

        Returns what has changed for each, or with ``dry_run`` what would.
        """
        if dry_run:
            return {key: self._ask(rerouted, key, each) for key, each in owed.items()}
        found: dict[int, Rerouted] = {}

        def step(connection: sqlite3.Connection) -> int:
            now = self._clock()
            found.update({key: reroute(connection, key, each, now) for key, each in owed.items()})
            return len(found)

        self._change(step)
        return found

    def close(self) -> None:
        """Close the ledger."""
        self._connection.close()

    def _ask(self, question: Callable[..., T], *facts: object) -> T:
        try:
            return question(self._connection, *facts)
        except sqlite3.Error as error:
            raise TemporaryFailure(f"cannot read {self._path}: {error}") from error

    def _change(self, step: Step) -> int:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            changed = step(self._connection)
            self._connection.execute(_COUNT)
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise TemporaryFailure(f"cannot change {self._path}: {error}") from error
        return changed

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
