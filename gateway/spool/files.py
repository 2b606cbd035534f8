"""The files of a spool: their layout, the lock, and parts while they arrive.

``instances/NNNNNN/<spool_id>.part`` becomes ``<spool_id>.dcm``, 4,096 to a folder. Names are made
of our own numbers, never of anything a peer has sent. ``orphans`` holds images without a row.
"""

import fcntl
import os
import re
import shutil
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from gateway import telemetry
from gateway.failures import TemporaryFailure
from gateway.model import Instance
from gateway.spool.digest import digest_of
from gateway.spool.disk import Disk, start_writing, sync_folder

PER_FOLDER: Final = 4096
HEAD: Final = 32_768
EARLY: Final = 131_072
"""Bytes after which the disk is set to work on a part that is still arriving."""
UNFINISHED: Final = ".tmp"
"""How a derived file's name ends while its pixels are being decoded."""
_KEY = re.compile(r"[0-9A-Za-z][0-9A-Za-z._+-]{0,127}")
_LOCKS: set[int] = set()
_NEW = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC


class Part:
    """An instance while it arrives: ``<spool_id>.part``, open for writing.

    ``head`` holds its first ``HEAD`` bytes, so that most headers need not be read back;
    ``digest`` is that of all that was written (``spool.digest``). Leaving a ``with`` block aborts
    it unless it was committed.
    """

    __slots__ = (
        "_begun", "_descriptor", "_disk", "_path", "digest", "failed", "head", "size", "spool_id",
    )  # fmt: skip

    def __init__(self, spool_id: int, path: str, descriptor: int, disk: Disk) -> None:
        self.spool_id = spool_id
        self.size = 0
        self.digest = 0
        self.failed = ""
        self.head = bytearray()
        self._begun = 0
        self._path = path
        self._descriptor = descriptor
        self._disk = disk

    @property
    def path(self) -> Path:
        """Where the bytes are until the commit; what was written can be read there at once."""
        return Path(self._path)

    def write(self, data: bytes | memoryview) -> None:
        """Append bytes (to the page cache). Raises TemporaryFailure, after which only abort."""
        rest = memoryview(data)
        if self.size < HEAD:
            self.head += rest[: HEAD - self.size]
        self.digest = digest_of(rest, self.digest)
        try:
            while rest.nbytes:
                written = os.write(self._descriptor, rest)
                self.size += written
                rest = rest[written:]
            if self.size - self._begun >= EARLY:
                start_writing(self._descriptor, self._begun, self.size - self._begun)
                self._begun = self.size
        except OSError as error:
            failure = self._disk.failed("write", self._path, error)
            self.failed = str(failure)
            raise failure from error

    def hand_over(self) -> int:
        """Give the descriptor to the committer; from now on ``abort`` does nothing.

        Raises TemporaryFailure when a write has failed or the descriptor is gone.
        """
        if self.failed:
            raise TemporaryFailure(self.failed)
        if self._descriptor < 0:
            raise TemporaryFailure(f"{self._path} was aborted or committed before")
        return self._take()

    def abort(self) -> None:
        """Close and delete, unless it was handed over. May be called again."""
        if self._descriptor >= 0:
            discard(self._take(), self._path)

    def _take(self) -> int:
        descriptor, self._descriptor = self._descriptor, -1
        return descriptor

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.abort()


class Files:
    """The folders under a spool's root, held by one process at a time."""

    def __init__(self, root: Path, disk: Disk) -> None:
        self.root = root
        self.instances = root / "instances"
        self.derived = root / "derived"
        self.orphans = root / "orphans"
        self._base = os.fspath(self.instances)
        self._disk = disk
        self._made = -1
        self._derived_made: dict[int, Path] = {}
        self._lock = -1
        self.next_id = 1

    def open(self) -> None:
        """Create what is missing and take the lock.

        Raises OSError, and TemporaryFailure when another process has the spool.
        """
        make_private(self.root)
        self._lock = take_lock(self.root / "lock")
        for folder in (self.instances, self.derived):
            folder.mkdir(mode=0o700, exist_ok=True)
        for folder in (self.instances, self.root):
            sync_folder(folder)

    def interrupted(self) -> list[tuple[int, str]]:
        """(spool id, key) of derived files that the last gateway was at work on when it ended."""
        found = []
        for spool_id, path in self.derived_files():
            _, _, name = path.name.partition("-")
            if name.endswith(UNFINISHED):
                found.append((spool_id, name.removesuffix(UNFINISHED)))
        return found

    def empty_derived(self) -> None:
        """Delete all derived files: they were never synced."""
        for entry in self.derived.iterdir():
            remove_whatever(entry)

    def close(self) -> None:
        """Let another process have the spool.

        What is unfinished now was stopped in good order: it must not count as interrupted.
        """
        if self._lock >= 0:
            for unfinished in self.derived.rglob(f"*{UNFINISHED}"):
                remove_whatever(unfinished)
        if self._lock >= 0:
            _LOCKS.discard(self._lock)
            os.close(self._lock)
            self._lock = -1

    def file_of(self, spool_id: int) -> Path:
        """Where a kept instance is."""
        return Path(self._name(spool_id) + ".dcm")

    def create(self) -> Part:
        """Open the next part for writing. Raises TemporaryFailure."""
        spool_id = self.next_id
        self.next_id += 1
        path = self._name(spool_id) + ".part"
        try:
            self._ensure_folder(spool_id // PER_FOLDER)
            descriptor = os.open(path, _NEW, 0o600)
        except OSError as error:
            raise self._disk.failed("create", path, error) from error
        return Part(spool_id, path, descriptor, self._disk)

    def derived_path(self, instance: Instance, key: str) -> Path:
        """Where a derived file of an instance is kept; its folder exists. Raises ValueError."""
        if not _KEY.fullmatch(key):
            raise ValueError(f"not a key for a derived file: {key!r}")
        number = instance.spool_id // PER_FOLDER
        folder = self._derived_made.get(number) or self._make_derived(number)
        return folder / f"{instance.spool_id}-{key}"

    def _make_derived(self, number: int) -> Path:
        folder = self.derived / f"{number:06d}"
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise self._disk.failed("create", os.fspath(folder), error) from error
        self._derived_made[number] = folder
        return folder

    def derived_files(self) -> Iterator[tuple[int, Path]]:
        """Every derived file with its instance's id; foreign names and files are left out."""
        folders = [entry for entry in self.derived.iterdir() if entry.is_dir()]
        for folder in folders:
            for path in folder.iterdir():
                head = path.name.partition("-")[0]
                if head.isdecimal():
                    yield int(head), path

    def remove_empty_folders(self) -> None:
        """Remove folders that retention has emptied, never the ones now being filled."""
        newest = (self.next_id // PER_FOLDER) - 1
        for number in self.folders():
            if number < newest:
                with suppress(OSError):
                    (self.instances / f"{number:06d}").rmdir()

    def folders(self) -> list[int]:
        """The numbers of the folders that exist, ascending."""
        names = (entry.name for entry in self.instances.iterdir())
        return sorted(int(name) for name in names if name.isdecimal())

    def _name(self, spool_id: int) -> str:
        return f"{self._base}/{spool_id // PER_FOLDER:06d}/{spool_id}"

    def _ensure_folder(self, number: int) -> None:
        if number != self._made:
            (self.instances / f"{number:06d}").mkdir(mode=0o700, exist_ok=True)
            sync_folder(self._base)
            self._made = number


def discard(descriptor: int, path: str) -> None:
    """Close and delete what will not be kept; what cannot be deleted is swept at start."""
    with suppress(OSError):
        os.close(descriptor)
    with suppress(OSError):
        os.unlink(path)  # noqa: PTH108 - a text, as in all that runs for every instance


def remove_whatever(path: Path) -> None:
    """Delete a file or a folder as far as it can be deleted."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def make_private(root: Path) -> None:
    """Create a folder durably with mode 0700. One that exists keeps its mode: others may rely on
    it; where they can look in, an administrator is told. Raises OSError.
    """
    root = root.absolute()
    missing = [path for path in (root, *root.parents) if not path.exists()]
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    if root in missing:
        root.chmod(0o700)
    elif (mode := stat.S_IMODE(root.stat().st_mode)) & 0o077:
        telemetry.alarm(
            "other users may look into the spool's folder",
            spool=str(root),
            mode=f"{mode:04o}",
            do=f"chmod 700 {root}, or let spool.path name a folder of its own",
        )
    for path in missing:
        sync_folder(path.parent)


def take_lock(path: Path) -> int:
    """Lock a spool for this process; returns the descriptor that holds it.

    Raises TemporaryFailure when another process has the spool, OSError otherwise.
    """
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(descriptor, 32).decode("ascii", "replace").strip() or "unknown"
        os.close(descriptor)
        raise TemporaryFailure(
            f"another gateway (process {holder}) has the spool {path.parent} open: stop it, or "
            "give this one its own spool.path"
        ) from None
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())
    _LOCKS.add(descriptor)
    return descriptor


def _let_go_in_child() -> None:
    """A forked worker must not keep the lock of a gateway that has died."""
    for descriptor in _LOCKS:
        os.close(descriptor)
    _LOCKS.clear()


os.register_at_fork(after_in_child=_let_go_in_child)
