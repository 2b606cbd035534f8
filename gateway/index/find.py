"""What one search asks of the database, in one turn of a reader's thread."""

import sqlite3
from array import array
from collections.abc import Callable
from typing import Final, TypeAlias

from gateway.dicomweb.query import Query
from gateway.index.select import Selection
from gateway.index.store import Counts

_MOST_COUNTS: Final = 1000
"""Counts that are remembered between two changes of the index."""

Maker: TypeAlias = Callable[[sqlite3.Connection, "array[int]"], list[bytes]]


def found_at_once(
    connection: sqlite3.Connection,
    found: Selection,
    query: Query,
    make: Maker,
    counts: Counts,
    at_once: int,
) -> tuple["array[int]", int | None, list[bytes]]:
    """The ids of what matches, how many match in all, and the first ``at_once`` results."""
    ids = ids_of(connection, found, query.limit, query.offset)
    matches = _matches(connection, found, query, len(ids), counts)
    return ids, matches, make(connection, ids[:at_once])


def ids_of(
    connection: sqlite3.Connection, found: Selection, limit: int | None, offset: int
) -> "array[int]":
    """The ids of what matches; ``limit`` None: of all."""
    sql, parameters = found.ids(-1 if limit is None else limit, offset)
    return array("q", (row[0] for row in connection.execute(sql, parameters)))


def _matches(
    connection: sqlite3.Connection,
    found: Selection,
    query: Query,
    results: int,
    counts: Counts,
) -> int | None:
    """How many match in all, None where there are too many to count."""
    is_last = query.limit is None or results < query.limit
    if is_last and (results or not query.offset):
        return query.offset + results
    sql, parameters, limit = found.count()
    if (count := counts.get((sql, parameters))) is None:
        count = int(connection.execute(sql, parameters).fetchone()[0])
        if len(counts) < _MOST_COUNTS:
            counts[sql, parameters] = count
    return None if limit and count >= limit else count
