"""A disk that is really full: a small file system in memory, where one may be mounted."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.failures import TemporaryFailure
from gateway.model import Delivered
from gateway.spool import Spool
from tests.spool.arrivals import Clock, arriving, contradictions, keep

WHOLE = b"x" * 100_000


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    options = ["-t", "tmpfs", "-o", "size=2m", "spool-test", str(tmp_path)]
    mounted = subprocess.run(["mount", *options], capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


async def keep_until_refused(spool: Spool, *destinations: str) -> tuple[list[str], str]:
    """The UIDs that were kept, and the words of the refusal."""
    kept: list[str] = []
    try:
        while True:
            await keep(spool, f"1.2.{len(kept)}", *destinations, content=WHOLE)
            kept.append(f"1.2.{len(kept)}")
    except TemporaryFailure as failure:
        return kept, str(failure)


async def test_a_full_disk_refuses_loses_nothing_and_heals(small_disk: Path, clock: Clock) -> None:
    spool = Spool.open(small_disk / "spool", clock=clock, refuse_below_free=0)
    kept = [
        (await keep(spool, f"1.2.{number}", "pacs", content=WHOLE)).sop_instance_uid
        for number in range(5)
    ]
    filler, room = small_disk / "filler", os.statvfs(small_disk)
    filler.write_bytes(b"x" * (room.f_bavail * room.f_frsize - len(WHOLE) // 2))
    with pytest.raises(TemporaryFailure, match=r"No space left on device \(ENOSPC\)"):
        await keep(spool, "1.2.5", "pacs", content=WHOLE)
    filler.unlink()
    assert await spool.probe()
    kept.append((await keep(spool, "1.2.99", "pacs", content=WHOLE)).sop_instance_uid)
    due = await spool.due("pacs", limit=100, now=clock())
    assert [one.instance.sop_instance_uid for one in due] == kept
    assert all(one.instance.file.read_bytes() == WHOLE for one in due)
    assert len(list((small_disk / "spool/instances/000000").iterdir())) == len(kept)
    assert contradictions(spool) == []
    await spool.aclose()


async def test_the_watermark_stops_intake_before_it_stops_delivery(
    small_disk: Path, clock: Clock
) -> None:
    spool = Spool.open(small_disk / "spool", clock=clock, refuse_below_free=500_000)
    kept, reason = await keep_until_refused(spool, "pacs")
    assert "500000 of spool.refuse_below_free" in reason
    for delivery in await spool.due("pacs", limit=100, now=clock()):
        await spool.settle(delivery, Delivered("1.2.840.10008.1.2"))
    assert (await spool.counts()).destinations["pacs"].delivered == len(kept)
    await spool.tidy(clock.advance(days=8))
    assert (await keep(spool, "1.2.99", content=WHOLE)).file.is_file()
    await spool.aclose()


async def test_a_ledger_without_room_refuses_and_the_file_does_not_stay(
    small_disk: Path, clock: Clock
) -> None:
    """The last bytes go into the instance, so that it is the ledger that finds no room."""
    spool = Spool.open(small_disk / "spool", clock=clock, refuse_below_free=0)
    first = await keep(spool, "1.2.1", "pacs")
    part = spool.create()
    part.write(b"small")
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            filled = True
    assert filled
    with pytest.raises(TemporaryFailure, match="cannot write the ledger"):
        await spool.commit(part, arriving("1.2.2"), [])
    filler.unlink()
    assert await spool.probe()
    last = await keep(spool, "1.2.3", "pacs")
    assert sorted(first.file.parent.iterdir()) == [first.file, last.file]
    assert contradictions(spool) == []
    await spool.aclose()
