"""A ledger that is gone, empty or older than the files beside it: no image is ever deleted."""

import shutil
import sqlite3
import stat
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.failures import PermanentFailure
from gateway.spool import Spool
from gateway.spool.schema import LEDGER
from tests.spool.arrivals import Clock, keep

KEEP = timedelta(days=7)


def reopened(folder: Path, clock: Clock) -> Spool:
    return Spool.open(folder, clock=clock, refuse_below_free=0, keep=KEEP)


async def two_kept_and_closed(spool: Spool) -> list[Path]:
    files = [(await keep(spool, f"1.2.{number}", "pacs")).file for number in (1, 2)]
    await spool.aclose()
    return files


@pytest.mark.parametrize("lost", ["missing", "empty", "without its log"])
async def test_images_without_any_ledger_are_not_touched_and_nothing_starts(
    spool: Spool, folder: Path, clock: Clock, lost: str
) -> None:
    files = await two_kept_and_closed(spool)
    ledger = folder / LEDGER
    if lost == "missing":
        ledger.unlink()
    else:
        ledger.write_bytes(b"")
    if lost == "without its log":
        with closing(sqlite3.connect(ledger)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")  # writes the first page, no table
    for _ in range(2):
        with pytest.raises(PermanentFailure) as refusal:
            reopened(folder, clock)
        text = str(refusal.value)
        assert text.startswith(f"{ledger} is missing or empty, but {folder}/instances holds 2 ")
        assert "Restore the ledger" in text
        assert [file.read_bytes() for file in files] == [b"pixels"] * 2


async def test_a_log_beside_a_missing_ledger_stays_for_who_restores_it(
    spool: Spool, folder: Path, clock: Clock
) -> None:
    await two_kept_and_closed(spool)
    log = folder / f"{LEDGER}-wal"
    log.write_bytes(b"frames")
    (folder / LEDGER).unlink()
    with pytest.raises(PermanentFailure):
        reopened(folder, clock)
    assert log.read_bytes() == b"frames"


async def test_images_that_an_older_ledger_does_not_know_are_set_aside_with_an_alarm(
    spool: Spool, folder: Path, clock: Clock
) -> None:
    await keep(spool, "1.2.0", "pacs")
    shutil.copytree(folder, folder.parent / "backup")
    files = await two_kept_and_closed(spool)
    shutil.rmtree(folder.parent / "backup/instances")
    shutil.copytree(folder / "instances", folder.parent / "backup/instances")
    shutil.rmtree(folder)
    (folder.parent / "backup").rename(folder)
    with capture_logs() as logs:
        again = reopened(folder, clock)
    orphans = folder / "orphans"
    assert sorted(orphans.iterdir()) == [orphans / file.name for file in files]
    assert {path.read_bytes() for path in orphans.iterdir()} == {b"pixels"}
    assert stat.S_IMODE(orphans.stat().st_mode) == 0o700
    (alarm,) = [log for log in logs if log["log_level"] == "warning"]
    assert (alarm["count"], alarm["folder"]) == (2, str(orphans))
    assert (await keep(again, "1.2.9")).spool_id == 4
    await again.aclose()


async def test_an_orphan_never_overwrites_another(
    spool: Spool, folder: Path, clock: Clock
) -> None:
    kept = await keep(spool, "1.2.1")
    await spool.aclose()
    for text in (b"first", b"second", b"third"):
        kept.file.with_name("7.dcm").write_bytes(text)
        await reopened(folder, clock).aclose()
    found = {path.name: path.read_bytes() for path in (folder / "orphans").iterdir()}
    assert found == {"7.dcm": b"first", "7-2.dcm": b"second", "7-3.dcm": b"third"}


async def test_the_number_of_an_orphan_is_not_given_again(
    spool: Spool, folder: Path, clock: Clock
) -> None:
    kept = await keep(spool, "1.2.1")
    await spool.aclose()
    kept.file.with_name("7.dcm").write_bytes(b"orphan")
    for _ in range(2):
        again = reopened(folder, clock)
        await again.aclose()
    assert again._files.next_id == 8


async def test_orphans_go_when_their_time_is_over_counted_from_when_they_were_set_aside(
    spool: Spool, folder: Path, clock: Clock
) -> None:
    kept = await keep(spool, "1.2.1", "pacs")
    await spool.aclose()
    clock.advance(days=30)
    kept.file.with_name("7.dcm").write_bytes(b"orphan")
    again = reopened(folder, clock)
    assert (await again.tidy(clock.advance(days=7))).orphans == 0
    assert (folder / "orphans/7.dcm").is_file()
    assert (await again.tidy(clock.advance(seconds=2))).orphans == 1
    assert list((folder / "orphans").iterdir()) == []
    assert kept.file.is_file()
    await again.aclose()
