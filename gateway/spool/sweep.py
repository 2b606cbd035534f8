"""Putting a spool in order: at start after any kind of end, and later by retention."""

import os
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from gateway.failures import PermanentFailure
from gateway.spool import queries
from gateway.spool.disk import sync_folder
from gateway.spool.files import PER_FOLDER, Files
from gateway.spool.schema import LEDGER, is_new


@dataclass(frozen=True, slots=True)
class Swept:
    """What a start has found: parts deleted, orphans set aside, rows whose file is missing."""

    parts: int
    orphans: int
    missing: tuple[int, ...]
    next_id: int


@dataclass(frozen=True, slots=True)
class Tidied:
    """What retention has removed."""

    instances: int = 0
    derived: int = 0
    orphans: int = 0


def check_ledger_is_there(files: Files) -> None:
    """Raise PermanentFailure where images lie in the spool and no ledger knows of them."""
    if not is_new(files.root):
        return
    images = sum(1 for _ in files.instances.glob("*/*.dcm"))
    if images:
        ledger = files.root / LEDGER
        raise PermanentFailure(
            f"{ledger} is missing or empty, but {files.instances} holds {images} images (.dcm): "
            "nothing says to whom they are owed. Restore the ledger (with ledger.sqlite3-wal, if "
            "there is one), or see whether spool.path is right; to begin anew, move "
            f"{files.instances} away, start, and send its files to the gateway again"
        )


def sweep(files: Files, connection: sqlite3.Connection, now: datetime) -> Swept:
    """Delete parts, set images without a row aside, find missing files. Raises OSError.

    A ``.part`` belongs to nobody: the peer has had no answer. So does a ``.dcm`` without a row
    after a crash, but under a ledger that is older than the files it may be all there is.
    """
    parts = orphans = 0
    newest = max(_contents(files.orphans)[1], default=0)
    missing: list[int] = []
    for number in sorted({*files.folders(), *_folders_of_rows(connection)}):
        first = number * PER_FOLDER
        known = queries.ids_between(connection, first, first + PER_FOLDER)
        unfinished, kept = _contents(files.instances / f"{number:06d}")
        newest = max(newest, *unfinished, *kept, 0)
        parts += _delete(unfinished.values())
        strangers = [path for spool_id, path in kept.items() if spool_id not in known]
        orphans += _set_aside(files.orphans, strangers, now)
        missing += sorted(known - kept.keys())
    return Swept(parts, orphans, tuple(missing), newest + 1)


def _folders_of_rows(connection: sqlite3.Connection) -> list[int]:
    query = "SELECT DISTINCT spool_id / ? FROM instance"
    return [row[0] for row in connection.execute(query, (PER_FOLDER,)).fetchall()]


def _contents(folder: Path) -> tuple[dict[int, Path], dict[int, Path]]:
    parts: dict[int, Path] = {}
    kept: dict[int, Path] = {}
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.stem.isdecimal() and path.suffix in (".part", ".dcm"):
            (kept if path.suffix == ".dcm" else parts)[int(path.stem)] = path
    return parts, kept


def _delete(paths: Iterable[Path]) -> int:
    count = 0
    for path in paths:
        path.unlink()
        count += 1
    return count


def _set_aside(orphans: Path, paths: Sequence[Path], now: datetime) -> int:
    """Move files to the folder of orphans, dated ``now``: from then on retention counts."""
    if not paths:
        return 0
    if not orphans.is_dir():
        orphans.mkdir(mode=0o700)
        sync_folder(orphans.parent)
    for path in paths:
        os.utime(path, (now.timestamp(), now.timestamp()))
        path.rename(_free_name(orphans, path))
    sync_folder(orphans)
    sync_folder(paths[0].parent)
    return len(paths)


def _free_name(folder: Path, path: Path) -> Path:
    """The same name in another folder, with a number behind it where it is taken."""
    name, number = folder / path.name, 1
    while os.path.lexists(name):
        number += 1
        name = folder / f"{path.stem}-{number}{path.suffix}"
    return name


def remove_orphans(files: Files, before: datetime) -> int:
    """Delete orphans that were set aside earlier than ``before``; how many there were."""
    count = 0
    for path in files.orphans.iterdir() if files.orphans.is_dir() else ():
        with suppress(OSError):
            if path.is_file() and path.stat().st_mtime < before.timestamp():
                path.unlink()
                count += 1
    return count


def remove_files(
    connection: sqlite3.Connection, files: Files, spool_ids: Sequence[int]
) -> list[int]:
    """Delete the files of instances whose rows are gone; which these are.

    The next start sets aside what stays.
    """
    known = queries.ids_between(connection, spool_ids[0], spool_ids[-1] + 1)
    gone = [spool_id for spool_id in spool_ids if spool_id not in known]
    for spool_id in gone:
        with suppress(OSError):
            files.file_of(spool_id).unlink()
    return gone


def remove_derived(
    connection: sqlite3.Connection, files: Files, before: datetime, short: bool
) -> int:
    """Delete derived files that no delivery waits for; how many there were.

    What was used since ``before`` stays for those who may ask again, unless the disk is
    ``short`` or its instance is gone.
    """
    count = 0
    for spool_id, path in list(files.derived_files()):
        if queries.is_owed(connection, spool_id):
            continue
        with suppress(OSError):
            status = path.stat()
            used = max(status.st_atime, status.st_mtime) >= before.timestamp()
            if short or not used or not queries.is_there(connection, spool_id):
                path.unlink()
                count += 1
    return count
