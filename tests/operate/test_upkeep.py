"""The chores: they outlive what goes wrong, and say what a person has to know."""

import asyncio
import errno
import os
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.failures import TemporaryFailure
from gateway.model import Deferred, Delivered
from gateway.operate import upkeep
from gateway.operate.upkeep import Upkeep
from gateway.spool import Queue, Spool
from tests.spool.arrivals import Clock, keep


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def spool(tmp_path: Path, clock: Clock):
    opened = Spool.open(tmp_path / "spool", clock=clock, refuse_below_free=0)
    yield opened
    await opened.aclose()


class Anew:
    """Counts how often the lanes were told to read the ledger anew."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> None:
        self.times += 1


@pytest.fixture
def anew():
    return Anew()


@pytest.fixture
def chores(spool: Spool, clock: Clock, anew: Anew):
    return Upkeep(spool, anew=anew, due=anew, clock=clock)


async def logs_of(chore: Callable[[], Awaitable[None]]) -> list[dict[str, object]]:
    with capture_logs() as logs:
        await chore()
    return logs


async def test_a_chore_outlives_whatever_it_raises_and_says_it_once_per_kind() -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    stray = NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    outcomes = iter([full, full, stray, TypeError("bug"), TypeError("bug"), full, None, full])
    done = asyncio.Event()

    async def chore() -> None:
        try:
            outcome = next(outcomes)
        except StopIteration:
            done.set()
            return
        if outcome is not None:
            raise outcome

    with capture_logs() as logs:
        task = asyncio.create_task(upkeep.repeat("tidy", timedelta(0), chore))
        async with asyncio.timeout(10):
            await done.wait()
        task.cancel()
    reasons = [log.get("reason") or repr(log["exc_info"]) for log in logs]
    assert reasons == [str(full), str(stray), "TypeError('bug')", str(full)]
    assert {log["event"] for log in logs} == {"cannot tidy"}
    assert [log["log_level"] for log in logs] == ["warning", "warning", "error", "warning"]


async def test_every_chore_runs_and_ends_with_its_task(chores: Upkeep) -> None:
    tasks = chores.start()
    await asyncio.sleep(0)
    assert not any(task.done() for task in tasks)
    for task in tasks:
        task.cancel()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(end, asyncio.CancelledError) for end in ended)


async def test_what_retention_has_removed_is_said_and_nothing_where_it_was_nothing(
    spool: Spool, clock: Clock, chores: Upkeep
) -> None:
    await keep(spool, "1.2.1")
    derived = spool.derived_path(await keep(spool, "1.2.2"), "1.2.840.10008.1.2")
    derived.write_bytes(b"native")
    clock.advance(days=8)
    (line,) = await logs_of(chores.tidy)
    assert (line["log_level"], line["instances"], line["derived"]) == ("info", 2, 1)
    assert await logs_of(chores.tidy) == []


async def test_after_the_clock_was_set_back_the_lanes_read_the_ledger_anew(
    spool: Spool, clock: Clock, chores: Upkeep, anew: Anew
) -> None:
    clock.advance(days=30)
    await keep(spool, "1.2.1", "pacs", received_at=clock())
    (delivery,) = await spool.due("pacs", limit=1, now=clock())
    later = clock() + timedelta(minutes=15)
    await spool.settle(delivery, Deferred(TemporaryFailure("busy"), later))
    assert await logs_of(chores.mind_the_clock) == []
    clock.advance(days=-30)
    (alarm,) = await logs_of(chores.mind_the_clock)
    assert (alarm["log_level"], alarm["count"], anew.times) == ("warning", 1, 1)
    assert await spool.next_due_at("pacs") == clock()
    assert await logs_of(chores.mind_the_clock) == []


async def test_a_disk_that_has_failed_is_probed_though_nobody_sends(
    spool: Spool, chores: Upkeep
) -> None:
    spool._disk.distrust("cannot write the ledger")
    await chores.mind_the_disk()
    assert spool.broken == ""


async def test_a_change_by_hand_is_noticed_once(
    tmp_path: Path, spool: Spool, clock: Clock, chores: Upkeep, anew: Anew
) -> None:
    await keep(spool, "1.2.1", "pacs")
    await chores.notice_changes_by_hand()
    assert anew.times == 0
    with Queue(tmp_path / "spool", clock=clock) as queue:
        queue.hold("1.2.1")
    for _ in range(2):
        await chores.notice_changes_by_hand()
        assert anew.times == 1


async def test_deliveries_to_a_node_that_is_gone_are_told_of_with_what_to_do(
    spool: Spool, clock: Clock, chores: Upkeep
) -> None:
    for number in range(3):
        await keep(spool, f"1.2.{number}", "old_pacs", "pacs")
    (first, *_) = await spool.due("old_pacs", limit=9, now=clock())
    await spool.settle(first, Delivered("1.2.840.10008.1.2"))

    async def tell() -> None:
        await chores.tell_what_nobody_delivers({"pacs"}, {"to-pacs"})

    (alarm,) = await logs_of(tell)
    assert (alarm["log_level"], alarm["destination"], alarm["owed"]) == ("warning", "old_pacs", 2)
    assert "queue list --destination old_pacs" in str(alarm["do"])


async def test_deliveries_by_a_route_that_is_gone_are_told_of(
    spool: Spool, chores: Upkeep
) -> None:
    await keep(spool, "1.2.1", "pacs", "viewer")
    await keep(spool, "1.2.2", "pacs")

    async def tell() -> None:
        await chores.tell_what_nobody_delivers({"pacs", "viewer"}, {"to-viewer"})

    (alarm,) = await logs_of(tell)
    assert (alarm["route"], alarm["owed"], alarm["destinations"]) == ("to-pacs", 2, "pacs")


async def test_what_is_configured_is_no_alarm(spool: Spool, chores: Upkeep) -> None:
    await keep(spool, "1.2.1", "pacs")

    async def tell() -> None:
        await chores.tell_what_nobody_delivers({"pacs"}, {"to-pacs"})

    assert await logs_of(tell) == []
