"""What a spool has received and still keeps, read while a gateway may be running."""

import sqlite3
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Final, Self

from gateway.failures import PermanentFailure, TemporaryFailure
from gateway.model import UID, Arrival, Instance
from gateway.spool.disk import Disk
from gateway.spool.files import Files
from gateway.spool.queries import Selector, is_uid
from gateway.spool.rows import INSTANCE_COLUMNS, Row, instance_of, micros
from gateway.spool.schema import LEDGER, check_version, connect

_PAGE: Final = 1000
_SELECT: Final = f"SELECT {INSTANCE_COLUMNS} FROM instance i WHERE "  # noqa: S608
_SINCE: Final = _SELECT + "i.spool_id > ? AND i.received_at >= ? ORDER BY i.spool_id LIMIT ?"
_IS_UID: Final = "i.sop_instance_uid = ?"
_IS_DELIVERY: Final = (
    "i.spool_id = (SELECT spool_id FROM delivery WHERE delivery_id = CAST(? AS INTEGER))"
)
_IS_OF_STUDY: Final = "i.study_uid = ?"
_IS_OWED_TO: Final = (
    "EXISTS (SELECT 1 FROM delivery d WHERE d.spool_id = i.spool_id AND d.destination = ? "
    "AND d.state IN ('owed', 'held'))"
)
_IS_UNROUTED: Final = (
    "i.arrival <> ? AND NOT EXISTS (SELECT 1 FROM delivery d WHERE d.spool_id = i.spool_id)"
)
# From two indexes alone, until something is found.
_UNROUTED: Final = (
    "WITH alone AS MATERIALIZED (SELECT i.spool_id FROM instance i "
    "WHERE NOT EXISTS (SELECT 1 FROM delivery d WHERE d.spool_id = i.spool_id)) "
    "SELECT count(*) FROM alone JOIN instance i USING (spool_id) WHERE i.arrival <> ?"
)
_OF_UID: Final = _SELECT + "i.sop_instance_uid = ? ORDER BY i.spool_id DESC LIMIT ?"


class History:
    """The instances of a spool. Use it in one thread, as a context manager."""

    def __init__(self, spool: Path) -> None:
        """Open the ledger of a spool. Raises PermanentFailure when there is none."""
        path = spool / LEDGER
        if not path.is_file():
            raise PermanentFailure(f"there is no spool at {spool}: {path} does not exist")
        self._files = Files(spool, Disk(spool, 0))
        try:
            self._connection = connect(path)
            check_version(self._connection, path)
        except sqlite3.Error as error:
            raise PermanentFailure(f"cannot open {path}: {error}") from error

    def since(self, moment: datetime) -> Iterator[Instance]:
        """What was received at ``moment`` or later, in the order of arrival."""
        last = 0
        while page := self._ask(_SINCE, last, micros(moment), _PAGE):
            yield from page
            last = page[-1].spool_id

    def of(self, sop_instance_uid: UID) -> list[Instance]:
        """The arrivals of one SOP Instance, the latest first."""
        return self._ask(_OF_UID, sop_instance_uid, _PAGE)

    def chosen(
        self,
        selector: Selector | None = None,
        *,
        destination: str = "",
        study: UID = "",
        unrouted: bool = False,
    ) -> Iterator[Instance]:
        """Those that a person means by one of these, in the order of arrival.

        ``selector`` is a SOP Instance UID or a delivery's number; ``destination`` means what is
        owed to it or held for it, ``unrouted`` what was never owed to anybody, though it was not
        only looked at upstream.
        """
        if selector is not None:
            which, value = (_IS_UID if is_uid(selector) else _IS_DELIVERY), str(selector)
        elif destination:
            which, value = _IS_OWED_TO, destination
        elif study:
            which, value = _IS_OF_STUDY, study
        else:
            which, value = _IS_UNROUTED, Arrival.UPSTREAM.value
        query, last = f"{_SELECT}i.spool_id > ? AND {which} ORDER BY i.spool_id LIMIT ?", 0
        while page := self._ask(query, last, value, _PAGE):
            yield from page
            last = page[-1].spool_id

    def unrouted(self) -> int:
        """How many ``chosen(unrouted=True)`` has; the time grows with all that is kept."""
        return int(self._rows(_UNROUTED, Arrival.UPSTREAM.value)[0][0])

    def _ask(self, query: str, *values: object) -> list[Instance]:
        rows = self._rows(query, *values)
        return [instance_of(row, self._files.file_of(row[-1])) for row in rows]

    def _rows(self, query: str, *values: object) -> list[Row]:
        try:
            return self._connection.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise TemporaryFailure(f"cannot read the ledger: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
