"""A few instances that may stand for a study or series, found without listing all of it."""

import sqlite3
from array import array
from typing import Final

from gateway.model import UID

_SERIES: Final = (
    "SELECT se.series_id, se.instances FROM series se JOIN study st ON st.study_id = se.study_id "
    "WHERE st.uid = ? AND ? IN ('', se.uid) AND se.instances > 0 "
    "ORDER BY se.number, se.series_id LIMIT 1000"
)
_MIDDLE: Final = (
    "SELECT spool_id FROM instance WHERE series_id = ? AND shown = 1 "
    "ORDER BY number, spool_id LIMIT ? OFFSET ?"
)


def sample(connection: sqlite3.Connection, study: UID, series: UID, most: int) -> "array[int]":
    """The spool ids of those in the middle of each series, in their order.

    ``most`` in all, but one of each series at least, 1000 of which are looked at.
    """
    found = array("q")
    rows = connection.execute(_SERIES, (study, series)).fetchall()
    for series_id, instances in rows:
        each = max(most // len(rows), 1)
        first = max(instances - each, 0) // 2
        middle = connection.execute(_MIDDLE, (series_id, each, first))
        found.extend(spool_id for (spool_id,) in middle)
    return found
