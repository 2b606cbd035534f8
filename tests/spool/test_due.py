"""How the ledger finds what is due in an order: by its indexes, however much is owed."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from gateway.model import ORDERS, Order
from gateway.spool import Spool
from gateway.spool.due import due
from gateway.spool.schema import LEDGER, connect
from tests.spool.arrivals import Clock, keep


@pytest.fixture
async def ledger(tmp_path: Path, clock: Clock) -> AsyncIterator[sqlite3.Connection]:
    spool = Spool.open(tmp_path, clock=clock, refuse_below_free=0)
    for number in range(3):
        await keep(spool, f"1.2.{number}", "pacs")
    await spool.aclose()
    with closing(connect(tmp_path / LEDGER)) as connection:
        yield connection


@pytest.mark.parametrize("kind", ORDERS)
async def test_no_query_walks_a_whole_table_or_all_that_is_owed(
    ledger: sqlite3.Connection, clock: Clock, kind: str
) -> None:
    asked: list[str] = []
    ledger.set_trace_callback(asked.append)
    found = due(ledger, "pacs", 2, clock(), (), lambda key: Path(str(key)), Order(kind))
    ledger.set_trace_callback(None)
    assert len(found) == 2
    for query in asked:
        plan = [row[3] for row in ledger.execute(f"EXPLAIN QUERY PLAN {query}")]
        assert not [step for step in plan if step.startswith("SCAN")], plan
        if "_uid =" in query:
            assert not [step for step in plan if "delivery_by_state" in step], plan
