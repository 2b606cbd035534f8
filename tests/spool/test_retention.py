"""What goes after its time, and what never goes."""

import os
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from gateway.failures import PermanentFailure
from gateway.model import Delivered, Instance, Rejected
from gateway.spool import Spool, files
from gateway.spool.disk import Disk
from gateway.spool.sweep import Tidied
from gateway.transfer_syntax import EXPLICIT_LE, IMPLICIT_LE
from tests.spool.arrivals import START, Clock, by_hand, contradictions, keep

DONE = Delivered(IMPLICIT_LE)


async def settle_all(spool: Spool, destination: str, clock: Clock) -> None:
    for delivery in await spool.due(destination, limit=10_000, now=clock()):
        await spool.settle(delivery, DONE)


async def test_what_is_done_goes_when_its_time_is_over(
    spool: Spool, folder: Path, clock: Clock
) -> None:
    await keep(spool, "1.2.1", "pacs")
    await keep(spool, "1.2.2")
    await settle_all(spool, "pacs", clock)
    early = await spool.tidy(clock.advance(days=7))
    late = await spool.tidy(clock.advance(seconds=1))
    assert (early.instances, late.instances) == (0, 2)
    counts = await spool.counts()
    assert (counts.instances, counts.size) == (0, 0)
    assert counts.destinations["pacs"].delivered == 1
    assert not (folder / "instances/000000/1.dcm").exists()
    assert contradictions(spool) == []


async def test_the_time_begins_when_the_last_delivery_is_settled(
    spool: Spool, clock: Clock
) -> None:
    instance = await keep(spool, "1.2.1", "pacs")
    clock.advance(days=10)
    await settle_all(spool, "pacs", clock)
    assert (await spool.tidy(clock.advance(days=6))).instances == 0
    assert instance.file.is_file()
    assert (await spool.tidy(clock.advance(days=2))).instances == 1


@pytest.mark.parametrize("state", ["owed", "held"])
async def test_what_is_owed_or_held_never_goes(spool: Spool, clock: Clock, state: str) -> None:
    instance = await keep(spool, "1.2.1", "pacs", "viewer")
    await settle_all(spool, "viewer", clock)
    if state == "held":
        (delivery,) = await spool.due("pacs", limit=1, now=clock())
        await spool.settle(delivery, Rejected(PermanentFailure("status 0xC000")))
    assert (await spool.tidy(clock.advance(days=1000))).instances == 0
    assert instance.file.is_file()


async def test_what_is_dropped_goes_like_what_is_delivered(spool: Spool, clock: Clock) -> None:
    await keep(spool, "1.2.1", "pacs", "viewer")
    await settle_all(spool, "viewer", clock)
    by_hand(spool, "drop", "1.2.1")
    assert (await spool.tidy(clock.advance(days=8))).instances == 1
    pacs = (await spool.counts()).destinations["pacs"]
    assert (pacs.dropped, pacs.received) == (1, 1)


async def test_without_a_limit_everything_stays(folder: Path, clock: Clock) -> None:
    spool = Spool.open(folder, clock=clock, refuse_below_free=0, keep=None)
    await keep(spool, "1.2.1")
    assert (await spool.tidy(clock.advance(days=10_000))).instances == 0
    await spool.aclose()


async def test_numbers_are_not_used_again(spool: Spool, folder: Path, clock: Clock) -> None:
    await keep(spool, "1.2.1", "pacs")
    await settle_all(spool, "pacs", clock)
    await spool.tidy(clock.advance(days=8))
    await spool.aclose()
    again = Spool.open(folder, clock=clock, refuse_below_free=0)
    assert (await keep(again, "1.2.2", "pacs")).spool_id == 2
    (delivery,) = await again.due("pacs", limit=1, now=clock())
    assert delivery.delivery_id == 2
    assert contradictions(again) == []
    await again.aclose()


async def test_many_go_in_several_transactions_and_empty_folders_with_them(
    spool: Spool, folder: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "PER_FOLDER", 4)
    monkeypatch.setattr("gateway.spool.spool._CHUNK", 5)
    for number in range(18):
        await keep(spool, f"1.2.{number}")
    held = await keep(spool, "1.2.99", "pacs")
    assert (await spool.tidy(clock.advance(days=8))).instances == 18
    left = sorted(str(path.relative_to(folder)) for path in (folder / "instances").rglob("*"))
    assert left == ["instances/000004", "instances/000004/19.dcm"]
    assert held.file.is_file()


def derive(spool: Spool, instance: Instance, used: datetime, form: str = IMPLICIT_LE) -> Path:
    path = spool.derived_path(instance, form)
    path.write_bytes(b"native")
    os.utime(path, (used.timestamp(), used.timestamp()))
    return path


async def test_derived_files_go_when_nobody_is_owed_the_instance_nor_has_used_them(
    spool: Spool, clock: Clock
) -> None:
    owed = await keep(spool, "1.2.1", "pacs")
    done = await keep(spool, "1.2.2", "viewer")
    long_ago = clock() - timedelta(minutes=61)
    needed, unused = (derive(spool, one, long_ago) for one in (owed, done))
    half = derive(spool, done, long_ago, f"{IMPLICIT_LE}.half")
    used = derive(spool, done, clock() - timedelta(minutes=59), EXPLICIT_LE)
    await settle_all(spool, "viewer", clock)
    assert (await spool.tidy(clock())).derived == 2
    there = [path.exists() for path in (needed, unused, half, used)]
    assert there == [True, False, False, True]


async def test_on_a_short_disk_derived_files_that_nobody_is_owed_go_at_once(
    spool: Spool, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    owed = derive(spool, await keep(spool, "1.2.1", "pacs"), clock())
    served = derive(spool, await keep(spool, "1.2.2"), clock())
    monkeypatch.setattr(Disk, "has_room", lambda _: False)
    assert (await spool.tidy(clock())).derived == 1
    assert [owed.exists(), served.exists()] == [True, False]


async def test_what_is_no_folder_among_the_derived_ones_stops_nothing(
    spool: Spool, folder: Path, clock: Clock
) -> None:
    done = await keep(spool, "1.2.1", "pacs")
    derived = spool.derived_path(done, "1.2.840.10008.1.2")
    derived.write_bytes(b"native")
    (folder / "derived/.nfs0001").write_text("stray")
    derived.with_name("1-folder").mkdir()
    await settle_all(spool, "pacs", clock)
    assert (await spool.tidy(clock.advance(days=8))) == Tidied(instances=1, derived=1)
    await spool.aclose()
    again = Spool.open(folder, clock=clock)
    assert list((folder / "derived").iterdir()) == []
    await again.aclose()


async def test_a_crash_between_row_and_file_leaves_what_the_next_start_sets_aside(
    spool: Spool, folder: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = await keep(spool, "1.2.1", received_at=START - timedelta(days=30))
    monkeypatch.setattr("gateway.spool.spool.remove_files", lambda *_facts: [])
    assert (await spool.tidy(clock())).instances == 1
    assert instance.file.is_file()
    await spool.aclose()
    again = Spool.open(folder, clock=clock)
    assert not instance.file.exists()
    assert (folder / "orphans/1.dcm").is_file()
    await again.aclose()
