"""Taking in: what was handed over is kept whole, or refused, whatever the disk does."""

import asyncio
import errno
import os
import sqlite3
from pathlib import Path

import pytest

from gateway.failures import TemporaryFailure
from gateway.spool import Spool
from gateway.spool.schema import LEDGER
from tests.spool.arrivals import (
    Clock,
    arriving,
    contradictions,
    keep,
    rows,
)


def name_of(descriptor: int) -> str:
    return Path(f"/proc/self/fd/{descriptor}").readlink().name


async def test_many_that_wait_together_are_all_kept(spool: Spool) -> None:
    kept = await asyncio.gather(
        *(keep(spool, f"1.2.{n}", "pacs", content=b"%d" % n) for n in range(600))
    )
    assert [instance.file.read_bytes() for instance in kept] == [b"%d" % n for n in range(600)]
    assert (await spool.counts()).instances == 600
    assert contradictions(spool) == []


async def test_closing_finishes_what_was_handed_over(
    spool: Spool, folder: Path, clock: Clock
) -> None:
    waiting = [asyncio.ensure_future(keep(spool, f"1.2.{n}", "pacs")) for n in range(50)]
    await asyncio.sleep(0)
    await spool.aclose()
    kept = await asyncio.gather(*waiting)
    again = Spool.open(folder, clock=clock)
    assert len(await again.due("pacs", limit=100, now=clock())) == len(kept) == 50
    await again.aclose()


async def test_a_cancelled_commit_does_not_disturb_the_others(spool: Spool) -> None:
    tasks = [asyncio.ensure_future(keep(spool, f"1.2.{n}", "pacs")) for n in range(20)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert sum(isinstance(one, asyncio.CancelledError) for one in done) == 10
    for one in done[1::2]:
        assert one.file.is_file()
    assert (await spool.counts()).instances == 20


async def test_a_file_that_cannot_be_synced_fails_alone(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync, parts = os.fdatasync, [spool.create() for _ in range(3)]

    def fdatasync(descriptor: int) -> None:
        if name_of(descriptor) == "2.part":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        sync(descriptor)

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    first, bad, last = await asyncio.gather(
        *(spool.commit(part, arriving(f"1.2.{part.spool_id}"), []) for part in parts),
        return_exceptions=True,
    )
    assert isinstance(bad, TemporaryFailure)
    assert "EIO" in str(bad)
    assert sorted(first.file.parent.iterdir()) == [first.file, last.file]
    assert (await spool.counts()).instances == 2


async def test_an_unbelievable_disk_keeps_none_of_a_batch(
    spool: Spool, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One sync fails and so does the probe: the others' syncs are not to be trusted either."""
    sync, parts = os.fdatasync, [spool.create() for _ in range(3)]

    def fdatasync(descriptor: int) -> None:
        if name_of(descriptor) not in ("1.part", "3.part"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        sync(descriptor)

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    spool._disk.distrust("a write elsewhere has failed")
    commits = (spool.commit(part, arriving("1.2.3"), []) for part in parts)
    outcomes = await asyncio.gather(*commits, return_exceptions=True)
    assert all(isinstance(outcome, TemporaryFailure) for outcome in outcomes)
    assert list(os.scandir(folder / "instances/000000")) == []


async def test_a_folder_that_cannot_be_synced_keeps_nothing(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fsync(_descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    part = spool.create()
    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(TemporaryFailure, match=r"cannot sync .*instances/000000.*EIO"):
        await spool.commit(part, arriving("1.2.1"), [])
    assert list(os.scandir(part.path.parent)) == []
    monkeypatch.undo()
    assert (await spool.counts()).instances == 0


async def test_a_row_that_cannot_be_written_fails_alone(spool: Spool) -> None:
    """A lone surrogate has no UTF-8 form, so the row cannot be bound."""
    batch = (keep(spool, uid, "pacs") for uid in ("1.2.1", "1.2.\udcff", "1.2.3"))
    first, bad, last = await asyncio.gather(*batch, return_exceptions=True)
    assert isinstance(bad, TemporaryFailure)
    assert {row.sop_instance_uid for row in rows(spool)} == {"1.2.1", "1.2.3"}
    assert first.file.is_file()
    assert last.file.is_file()
    assert contradictions(spool) == []


async def test_a_ledger_that_cannot_be_written_refuses_and_heals(
    spool: Spool, folder: Path
) -> None:
    """Another process holds the write lock for longer than anybody should wait."""
    before = await keep(spool, "1.2.1", "pacs")
    spool._ledger._connected().execute("PRAGMA busy_timeout = 10")
    other = sqlite3.connect(folder / LEDGER, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(TemporaryFailure, match=r"cannot write the ledger.*SQLITE_BUSY"):
        await keep(spool, "1.2.2", "pacs")
    other.execute("ROLLBACK")
    other.close()
    after = await keep(spool, "1.2.3", "pacs")
    assert sorted(before.file.parent.iterdir()) == [before.file, after.file]
    assert contradictions(spool) == []
