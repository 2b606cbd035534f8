"""The ledger's versions."""

import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gateway.failures import PermanentFailure
from gateway.spool import Queue, Spool, schema
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


def of_version(number: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ledger as an earlier version left it, with an instance that is owed."""
    with monkeypatch.context() as patched:
        patched.setattr(schema, "MIGRATIONS", MIGRATIONS[:number])
        prepare(folder)
    with closing(connect(folder / LEDGER)) as connection:
        connection.execute(
            "INSERT INTO instance (spool_id, sop_instance_uid, sop_class_uid, transfer_syntax, "
            "study_uid, series_uid, arrival, calling, called, address, size, received_at, header) "
            "VALUES (1, '1.2.1', '', '', '', '', 'C-STORE', '', '', '', 5, 0, '{}')"
        )
        connection.execute(
            "INSERT INTO delivery (delivery_id, spool_id, destination, route, state, due_at) "
            "VALUES (1, 1, 'pacs', 'r', 'owed', 0)"
        )


@pytest.mark.parametrize("older", range(1, len(MIGRATIONS)))
async def test_a_ledger_of_an_earlier_version_opens_with_what_it_holds(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, older: int
) -> None:
    of_version(older, tmp_path, monkeypatch)
    assert version(tmp_path) == older
    spool = Spool.open(tmp_path, clock=clock, refuse_below_free=0)
    await spool.aclose()
    assert version(tmp_path) == len(MIGRATIONS)
    with Queue(tmp_path, clock=clock) as queue:
        assert [row.sop_instance_uid for row in queue.list()] == ["1.2.1"]
        assert (queue.counts().instances, queue.counts().size) == (1, 5)
        assert queue.passports("1.2.1") == []
        assert queue.contradictions() == []


@pytest.mark.parametrize("older", range(1, 6))
async def test_of_what_an_earlier_version_took_in_nothing_is_known_to_be_mislabelled(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, older: int
) -> None:
    of_version(older, tmp_path, monkeypatch)
    (tmp_path / "instances/000000").mkdir(parents=True)
    (tmp_path / "instances/000000/1.dcm").touch()
    spool = Spool.open(tmp_path, clock=clock, refuse_below_free=0)
    (found,) = await spool.instances([1])
    assert not found.mislabelled
    await spool.aclose()
    with Queue(tmp_path, clock=clock) as queue:
        assert [row.mislabelled for row in queue.list()] == [False]


class Doomed(sqlite3.Connection):
    """A connection whose process is killed before its n-th statement."""

    left = 0

    def execute(self, *arguments: object) -> sqlite3.Cursor:
        if Doomed.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        Doomed.left -= 1
        return super().execute(*arguments)  # type: ignore[arg-type]


def migrate_until_killed(folder: Path, statements: int) -> int:
    """Migrate in a process of its own; the signal that ended it, 0 for none."""
    child = os.fork()
    if child == 0:
        Doomed.left = statements
        connected = sqlite3.connect
        schema.sqlite3.connect = lambda *a, **k: connected(*a, factory=Doomed, **k)
        prepare(folder)
        os._exit(0)
    return os.WTERMSIG(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("older", range(1, len(MIGRATIONS)))
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_killed_before_any_statement_the_migration_has_not_happened_or_is_whole(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, older: int
) -> None:
    of_version(older, tmp_path, monkeypatch)
    seen, ends = set(), 0
    while migrate_until_killed(tmp_path, ends):
        seen.add(version(tmp_path))
        ends += 1
        assert ends < 50
    assert ends > sum(len(statements) for statements in MIGRATIONS[older:])
    assert seen <= {older, len(MIGRATIONS)}
    assert older in seen
    with Queue(tmp_path, clock=clock) as queue:
        assert len(queue.list()) == 1
        assert queue.contradictions() == []


def test_the_largest_question_uses_its_index(tmp_path: Path) -> None:
    """What is due is found, in its order, without looking at what is not."""
    prepare(tmp_path)
    connection = connect(tmp_path / LEDGER, "ro")
    plan = connection.execute(
        "EXPLAIN QUERY PLAN SELECT delivery_id FROM delivery WHERE state = 'owed' "
        "AND destination = 'pacs' AND priority = 0 AND due_at <= 1 ORDER BY due_at, spool_id"
    ).fetchall()
    connection.close()
    assert [row[3] for row in plan] == [
        "SEARCH delivery USING COVERING INDEX delivery_by_state "
        "(state=? AND destination=? AND priority=? AND due_at<?)"
    ]
