"""The ledger's versions."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gateway.failures import PermanentFailure
from gateway.spool import Queue, schema
from gateway.spool.schema import LEDGER, MIGRATIONS, connect, prepare
from tests.spool.arrivals import Clock


def version(folder: Path) -> int:
    connection = connect(folder / LEDGER, "ro")
    number = connection.execute("PRAGMA user_version").fetchone()[0]
    connection.close()
    return number


def test_a_new_ledger_has_the_newest_version_and_the_log_that_syncs(tmp_path: Path) -> None:
    prepare(tmp_path)
    assert version(tmp_path) == len(MIGRATIONS)
    connection = connect(tmp_path / LEDGER)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    connection.close()


def test_preparing_again_changes_nothing(tmp_path: Path) -> None:
    prepare(tmp_path)
    before = (tmp_path / LEDGER).read_bytes()
    prepare(tmp_path)
    assert (tmp_path / LEDGER).read_bytes() == before


def test_a_migration_that_fails_half_way_has_not_happened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(tmp_path)
    good = (*MIGRATIONS, ("CREATE TABLE study (study_uid TEXT)",))
    broken = (*MIGRATIONS, (*good[-1], "ALTER TABLE nonsense ADD COLUMN x"))
    monkeypatch.setattr(schema, "MIGRATIONS", broken)
    with pytest.raises(sqlite3.OperationalError):
        prepare(tmp_path)
    assert version(tmp_path) == len(MIGRATIONS)
    monkeypatch.setattr(schema, "MIGRATIONS", good)
    prepare(tmp_path)
    assert version(tmp_path) == len(good)


def test_the_sums_of_an_older_ledger_are_those_of_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "MIGRATIONS", MIGRATIONS[:1])
    prepare(tmp_path)
    with closing(connect(tmp_path / LEDGER)) as connection:
        for number in range(1, 5):
            instance = (number, f"1.2.{number}", *[""] * 8, 100, number, "{}")
            marks = ", ".join("?" * len(instance))
            connection.execute(f"INSERT INTO instance VALUES ({marks})", instance)  # noqa: S608
            connection.execute(
                "INSERT INTO delivery (spool_id, destination, route, state, attempts, due_at) "
                "VALUES (?, 'pacs', 'r', 'owed', ?, 0)",
                (number, number // 3),
            )
        connection.execute("UPDATE delivery SET state = 'held', reason = 'x' WHERE spool_id = 1")
    monkeypatch.setattr(schema, "MIGRATIONS", MIGRATIONS)
    prepare(tmp_path)
    with Queue(tmp_path, clock=Clock()) as queue:
        counts = queue.counts()
        assert queue.contradictions() == []
    pacs = counts.destinations["pacs"]
    assert (pacs.owed, pacs.deferred, pacs.held) == (3, 2, 1)
    assert (counts.instances, counts.size) == (4, 400)


def test_the_queue_of_an_older_ledger_says_what_to_do(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(tmp_path)
    monkeypatch.setattr(schema, "MIGRATIONS", (*MIGRATIONS, ()))
    with pytest.raises(PermanentFailure, match="start the gateway once"):
        Queue(tmp_path, clock=clock)
    prepare(tmp_path)
    with Queue(tmp_path, clock=clock) as queue:
        assert queue.list() == []


def test_the_largest_question_uses_its_index(tmp_path: Path) -> None:
    """What is due is found, in its order, without looking at what is not."""
    prepare(tmp_path)
    connection = connect(tmp_path / LEDGER, "ro")
    plan = connection.execute(
        "EXPLAIN QUERY PLAN SELECT delivery_id FROM delivery WHERE state = 'owed' "
        "AND destination = 'pacs' AND due_at <= 1 ORDER BY due_at, spool_id"
    ).fetchall()
    connection.close()
    assert [row[3] for row in plan] == [
        "SEARCH delivery USING COVERING INDEX delivery_by_state "
        "(state=? AND destination=? AND due_at<?)"
    ]
