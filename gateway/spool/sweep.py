"""Putting a spool in order: at start after any kind of end, and later by retention."""

import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gateway.spool import queries
from gateway.spool.files import PER_FOLDER, Files


@dataclass(frozen=True, slots=True)
class Swept:
    """What a start has found: parts and orphans deleted, rows whose file is missing."""

    parts: int
    orphans: int
    missing: tuple[int, ...]
    next_id: int


@dataclass(frozen=True, slots=True)
class Tidied:
    """What retention has removed."""

    instances: int = 0
    derived: int = 0


def sweep(files: Files, connection: sqlite3.Connection) -> Swept:
    """Delete what was never acknowledged, and find what is missing. Raises OSError.

    A ``.part`` and a ``.dcm`` without a row belong to nobody: the peer has had no answer.
    """
    parts = orphans = newest = 0
    missing: list[int] = []
    for number in sorted({*files.folders(), *_folders_of_rows(connection)}):
        first = number * PER_FOLDER
        known = queries.ids_between(connection, first, first + PER_FOLDER)
        unfinished, kept = _contents(files.instances / f"{number:06d}")
        newest = max(newest, *unfinished, *kept, 0)
        parts += _delete(unfinished.values())
        orphans += _delete(path for spool_id, path in kept.items() if spool_id not in known)
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


def remove_files(connection: sqlite3.Connection, files: Files, spool_ids: Sequence[int]) -> None:
    """Delete the files of instances whose rows are gone; the next start sweeps what stays."""
    known = queries.ids_between(connection, spool_ids[0], spool_ids[-1] + 1)
    for spool_id in spool_ids:
        if spool_id not in known:
            with suppress(OSError):
                files.file_of(spool_id).unlink()


def remove_derived(connection: sqlite3.Connection, files: Files) -> int:
    """Delete derived files of instances that no destination is owed; how many there were."""
    count = 0
    for spool_id, path in list(files.derived_files()):
        if not queries.is_owed(connection, spool_id):
            with suppress(OSError):
                path.unlink()
                count += 1
    return count
