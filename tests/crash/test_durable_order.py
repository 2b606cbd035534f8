"""The spool's durable order, call by call; and what is left after a kill or an error at each.

Per instance: fdatasync(file) < rename < fsync(folder) < fdatasync(ledger's log) < the answer.
"""

import asyncio
import itertools
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.spool import Queue, Spool
from tests.crash import strace
from tests.crash.traced import Call, Ended, calls_in, traced

pytestmark = [
    pytest.mark.crash,
    pytest.mark.skipif(bool(strace.missing()), reason=strace.missing()),
]

ORDER = ("fdatasync", "rename", "fsync", "pwrite64", "write")
LEDGER_LOG = "/ledger.sqlite3-wal>"


def broken_rules(ended: Ended) -> list[str]:
    """Where a trace breaks the durable order; instances are numbered as they were created."""
    calls = calls_in(ended.trace)
    answers = [call for call in calls if call.name == "write" and '"kept ' in call.text]
    found = []
    for answer in answers:
        number = int(answer.text.split('"kept ')[1].split(" ")[0].rpartition(".")[2]) + 1
        found += _rules_of(calls, number, answer)
    assert len(answers) == len(ended.kept)
    return found


def _rules_of(calls: list[Call], number: int, answer: Call) -> list[str]:
    """The four steps of one instance, each begun after the one before has ended."""
    wanted = (
        ("file synced", "fdatasync", f"/{number}.part>"),
        ("renamed", "rename", f"/{number}.part"),
        ("folder synced", "fsync", "/instances/000000>"),
        ("ledger written", "pwrite64", LEDGER_LOG),
        ("ledger synced", "fdatasync", LEDGER_LOG),
    )
    after = 0
    for step, name, text in wanted:
        found = (
            call.ended
            for call in calls
            if call.name == name and text in call.text and call.began > after
        )
        after = next(found, answer.began)
        if after >= answer.began:
            return [f"instance {number} was answered before: {step}"]
    return []


def look(folder: Path) -> dict[str, str]:
    """Open what a keeper has left: UID -> content, after checking that all of it is whole."""
    return asyncio.run(_look(folder))


async def _look(folder: Path) -> dict[str, str]:
    spool = Spool.open(folder, clock=lambda: datetime.now(UTC), refuse_below_free=0)
    try:
        with Queue(folder, clock=lambda: datetime.now(UTC)) as queue:
            rows = queue.list(limit=1000)
            assert queue.contradictions() == []
        assert {row.state for row in rows} <= {"owed"}
        due = await spool.due("pacs", limit=1000, now=datetime.now(UTC))
        assert len(rows) == 2 * len(due)
        files = {one.instance.file for one in due}
        assert set((folder / "instances/000000").glob("*")) == files
        return {one.instance.sop_instance_uid: one.instance.file.read_text() for one in due}
    finally:
        await spool.aclose()


@pytest.mark.parametrize(("instances", "at_once"), [(6, 1), (24, 8)])
def test_every_step_has_ended_before_the_next_begins(
    tmp_path: Path, instances: int, at_once: int
) -> None:
    ended = traced(
        tmp_path / "spool",
        *("-e", f"trace={','.join(ORDER)}"),
        instances=instances,
        at_once=at_once,
    )
    assert len(ended.kept) == instances
    assert broken_rules(ended) == []


@pytest.mark.parametrize("sync", ["file", "folder", "ledger"])
def test_the_checker_notices_a_missing_sync(tmp_path: Path, sync: str) -> None:
    ended = traced(tmp_path / "spool", "-e", f"trace={','.join(ORDER)}", leave_out=sync)
    assert len(ended.kept) == 3
    rules = broken_rules(ended)
    assert rules
    assert all(f"{sync} synced" in rule for rule in rules)


@pytest.mark.parametrize(
    ("call", "at_once"),
    [*((call, 1) for call in ORDER), *((call, 2) for call in ("fdatasync", "rename", "fsync"))],
)
def test_a_kill_at_any_step_loses_nothing_acknowledged(
    tmp_path: Path, figures: Callable[[str], None], call: str, at_once: int
) -> None:
    """Killed on entry to the n-th call of a thread, for every n until none is left to kill at."""
    kept = killed = 0
    for when in itertools.count(1):
        folder = tmp_path / f"{when}"
        inject = f"inject={call}:signal=SIGKILL:when={when}"
        options = ("-e", f"trace={call}", "-e", inject)
        ended = traced(folder, *options, instances=2, at_once=at_once)
        there = look(folder)
        assert ended.kept.items() <= there.items()
        kept += len(ended.kept)
        if ended.status == 0:
            break
        assert ended.status == -9
        killed += 1
    assert killed >= 1
    figures(f"{call}, {at_once} at once: killed {killed} times, {kept} acknowledged, 0 lost")


@pytest.mark.parametrize(
    ("call", "kill_at_end"),
    [
        ("fdatasync", False),
        ("fdatasync", True),
        ("fsync", True),
        ("rename", True),
        ("pwrite64", True),
    ],
)
def test_an_error_at_any_step_is_never_answered_with_success(
    tmp_path: Path, call: str, kill_at_end: bool
) -> None:
    """EIO from the n-th call; whoever was refused may be there, whoever was kept must be."""
    refused = 0
    for when in itertools.count(1):
        folder = tmp_path / f"{when}"
        inject = f"inject={call}:error=EIO:when={when}"
        trace = ("-e", "trace=openat,close,fdatasync,fsync,rename,pwrite64", "-e", inject)
        ended = traced(folder, *trace, instances=2, kill_at_end=kill_at_end)
        calls = calls_in(ended.trace)
        assert ended.done
        assert len(ended.kept) + len(ended.refused) == 2
        assert synced_again(calls) == []
        assert ended.kept.items() <= look(folder).items()
        refused += len(ended.refused)
        if not any(one.injected for one in calls):
            break
    assert refused >= 2


def synced_again(calls: list[Call]) -> list[str]:
    """Descriptors that were synced after a sync of them had failed, without being reopened."""
    failed: set[str] = set()
    found = []
    for call in calls:
        if call.name == "close":
            failed.discard(call.text)
        elif call.name in ("fdatasync", "fsync"):
            if call.text in failed:
                found.append(call.text)
            if call.injected:
                failed.add(call.text)
    return found


def test_a_failed_sync_of_a_file_costs_that_instance_only(tmp_path: Path) -> None:
    """The second instance's file cannot be synced; the disk is probed, and the third is kept."""
    folder = tmp_path / "spool"
    part = folder / "instances/000000/2.part"
    options = ("-P", str(part), "-e", "trace=fdatasync", "-e", "inject=fdatasync:error=EIO")
    ended = traced(folder, *options)
    assert [uid[-1] for uid in ended.kept] == ["0", "2"]
    (reason,) = ended.refused.values()
    assert reason == f"cannot sync {part}: Input/output error (EIO)"
    assert look(folder) == ended.kept


def test_while_the_disk_is_dead_nothing_is_kept(tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    options = ("-e", "trace=fdatasync", "-e", "inject=fdatasync:error=EIO")
    ended = traced(folder, *options)
    assert ended.kept == {}
    assert len(ended.refused) == 3
    assert look(folder) == {}
