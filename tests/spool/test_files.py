"""Parts, folders, the lock and the disk's standing."""

import asyncio
import errno
import os
import resource
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.failures import TemporaryFailure
from gateway.spool import Spool, files
from gateway.spool.disk import Disk
from tests.spool.arrivals import Clock, arriving, keep


@contextmanager
def longest_file(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond ``size`` bytes (EFBIG)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_what_is_written_can_be_read_before_the_commit(spool: Spool) -> None:
    with spool.create() as part:
        part.write(b"DICM")
        part.write(memoryview(b"-data-")[1:5])
        assert part.path.read_bytes() == b"DICMdata"
        assert part.size == 8


async def test_an_aborted_part_leaves_nothing(spool: Spool) -> None:
    with spool.create() as part:
        part.write(b"half")
    part.abort()
    assert not part.path.exists()


async def test_an_aborted_part_cannot_be_committed(spool: Spool) -> None:
    part = spool.create()
    part.abort()
    with pytest.raises(TemporaryFailure, match="aborted or committed"):
        await spool.commit(part, arriving("1.2.1"), [])


async def test_aborting_a_committed_part_deletes_nothing(spool: Spool) -> None:
    part = spool.create()
    part.write(b"all")
    instance = await spool.commit(part, arriving("1.2.1"), [])
    part.abort()
    assert instance.file.read_bytes() == b"all"


async def test_short_writes_are_continued(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: whole(descriptor, data[:3]))
    part = spool.create()
    part.write(b"0123456789")
    assert (part.size, part.path.read_bytes()) == (10, b"0123456789")
    part.abort()


async def test_a_folder_holds_4096_instances(
    spool: Spool, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "PER_FOLDER", 2)
    kept = [await keep(spool, f"1.2.{number}") for number in range(4)]
    names = [str(instance.file.relative_to(folder)) for instance in kept]
    assert names == [
        "instances/000000/1.dcm",
        "instances/000001/2.dcm",
        "instances/000001/3.dcm",
        "instances/000002/4.dcm",
    ]


async def test_nobody_else_may_read_the_spool(spool: Spool, folder: Path) -> None:
    instance = await keep(spool, "1.2.1", "a")
    for path in (folder, folder / "instances", folder / "derived", instance.file.parent):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    ledger = (folder / "ledger.sqlite3", folder / "ledger.sqlite3-wal")
    for path in (instance.file, *ledger, folder / "lock"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_folder_that_was_there_keeps_its_mode_and_an_open_one_is_told_of(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o755)
    with capture_logs() as logs:
        files.make_private(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755
    (alarm,) = logs
    assert (alarm["log_level"], alarm["spool"], alarm["mode"]) == ("warning", str(folder), "0755")


def test_a_folder_that_is_private_already_is_no_alarm(folder: Path) -> None:
    folder.mkdir(mode=0o700)
    with capture_logs() as logs:
        files.make_private(folder)
    assert logs == []


async def test_a_second_gateway_is_told_that_the_spool_is_taken(
    spool: Spool, folder: Path, clock: Clock
) -> None:
    with pytest.raises(TemporaryFailure, match=rf"process {os.getpid()}\) has the spool {folder}"):
        Spool.open(folder, clock=clock)


async def test_the_spool_is_free_again_after_a_refused_opening(
    spool: Spool, folder: Path, clock: Clock
) -> None:
    with pytest.raises(TemporaryFailure):
        Spool.open(folder, clock=clock)
    await spool.aclose()
    again = Spool.open(folder, clock=clock)
    await again.aclose()


def test_a_forked_worker_does_not_keep_the_lock_of_a_dead_gateway(folder: Path) -> None:
    """The parent is killed while its forked child lives on; then the lock can be had."""
    program = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from gateway.spool.files import take_lock\n"
        "take_lock(Path(sys.argv[1]))\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    print(os.getpid(), flush=True)\n"
        "sys.stdin.read()\n"
    )
    folder.mkdir()
    command = [sys.executable, "-c", program, str(folder / "lock")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        child = int(parent.stdout.readline())
        parent.kill()
        parent.wait()
        os.kill(child, 0)
        os.close(files.take_lock(folder / "lock"))


async def test_below_the_watermark_nothing_is_taken_in(folder: Path, clock: Clock) -> None:
    spool = Spool.open(folder, clock=clock, refuse_below_free=1 << 60)
    with pytest.raises(TemporaryFailure, match=r"bytes are free in .*refuse_below_free"):
        spool.create()
    await spool.aclose()


async def test_a_failed_write_is_answered_with_the_systems_words(spool: Spool) -> None:
    part = spool.create()
    with longest_file(4096), pytest.raises(TemporaryFailure, match=r"1\.part: File too large"):
        part.write(b"x" * 10_000)
    with pytest.raises(TemporaryFailure, match="File too large"):
        await spool.commit(part, arriving("1.2.1"), [])
    part.abort()


async def test_after_a_failed_write_nothing_is_taken_in_until_a_probe_succeeds(
    spool: Spool, folder: Path
) -> None:
    part = spool.create()
    with longest_file(0):
        with pytest.raises(TemporaryFailure):
            part.write(b"x")
        with pytest.raises(TemporaryFailure, match="has failed"):
            spool.create()
        assert not await spool.probe()
        assert "EFBIG" in spool.broken
    with pytest.raises(TemporaryFailure, match="has failed"):
        spool.create()
    assert await spool.probe()
    assert (await keep(spool, "1.2.1")).file.is_file()
    assert not (folder / "probe").exists()
    part.abort()


async def test_who_stops_waiting_for_a_probe_spoils_it_for_nobody(spool: Spool) -> None:
    """Those who ask meanwhile share one probe."""
    spool._disk.distrust("a write has failed")
    impatient, patient = (asyncio.ensure_future(spool.probe()) for _ in range(2))
    await asyncio.sleep(0)
    impatient.cancel()
    assert await patient
    assert impatient.cancelled()
    assert spool.broken == ""


async def test_what_was_written_before_the_failure_is_not_kept_before_the_probe(
    spool: Spool,
) -> None:
    """EIO on one file says that the disk may have lost the others' bytes as well."""
    first, second = spool.create(), spool.create()
    second.write(b"whole")
    with longest_file(0):
        with pytest.raises(TemporaryFailure):
            first.write(b"x")
        with pytest.raises(TemporaryFailure):
            await spool.commit(second, arriving("1.2.2"), [])
    assert not second.path.exists()
    assert (await spool.counts()).instances == 0
    first.abort()


def test_few_inodes_are_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room = os.statvfs(tmp_path)
    fields = list(room)
    fields[5:8] = [1_000_000, 10, 10]  # f_files, f_ffree, f_favail
    monkeypatch.setattr(os, "statvfs", lambda _path: os.statvfs_result(fields))
    with pytest.raises(TemporaryFailure, match="10 inodes are free"):
        Disk(tmp_path, 0).check_room()


def test_a_failure_during_a_probe_is_not_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(tmp_path, 0)
    sync = os.fdatasync

    def fail_meanwhile(descriptor: int) -> None:
        sync(descriptor)
        disk.failed("write", "another file", OSError(errno.EIO, os.strerror(errno.EIO)))

    monkeypatch.setattr(os, "fdatasync", fail_meanwhile)
    assert not disk.probe()
    assert "another file" in disk.broken


@pytest.mark.parametrize("key", ["", "../x", "a/b", ".", "-x", "a\0b", "x" * 200])
async def test_a_derived_key_cannot_leave_its_folder(spool: Spool, key: str) -> None:
    instance = await keep(spool, "1.2.1")
    with pytest.raises(ValueError, match="not a key"):
        spool.derived_path(instance, key)


async def test_derived_files_lie_beside_the_instances_by_number(
    spool: Spool, folder: Path
) -> None:
    instance = await keep(spool, "1.2.1")
    path = spool.derived_path(instance, "1.2.840.10008.1.2+RGB")
    assert path == folder / "derived/000000/1-1.2.840.10008.1.2+RGB"
    path.write_bytes(b"native")
