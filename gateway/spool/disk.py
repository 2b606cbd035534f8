"""The disk under the spool: is there room, and can it be believed.

After a failed write or sync nothing counts as kept before a probe has been written and synced:
the kernel may report a lost write only once.
"""

import ctypes
import errno
import os
from pathlib import Path
from typing import Any, Final

from gateway.failures import TemporaryFailure

_PROBE_BYTES = b"\0" * 4096
_SPARE_INODES = 4096


class Disk:
    """The standing of the file system that holds ``root``.

    ``refuse_below_free`` is the watermark in bytes; below it nothing new is taken in, so that
    the ledger and the deliveries keep their room.
    """

    def __init__(self, root: Path, refuse_below_free: int) -> None:
        self._root = os.fspath(root)
        self._probe_file = os.fspath(root / "probe")
        self.refuse_below_free = refuse_below_free
        self._failures = 0
        self.broken = ""
        """What failed, until a probe has succeeded; "" while the disk is sound."""

    def check_room(self, share: float = 1.0) -> None:
        """Raise TemporaryFailure below the watermark, or that share of it."""
        try:
            room = os.statvfs(self._root)
        except OSError as error:
            raise self.failed("read the free space of", self._root, error) from error
        free = room.f_bavail * room.f_frsize
        least = int(self.refuse_below_free * share)
        if free < least:
            part = "" if share == 1 else f"that are {share:.0%} "
            raise TemporaryFailure(
                f"{free} bytes are free in {self._root}, fewer than the {least} {part}"
                "of spool.refuse_below_free: free some, or lower the limit"
            )
        if room.f_files > 0 and room.f_favail < _SPARE_INODES:
            raise TemporaryFailure(
                f"{room.f_favail} inodes are free in {self._root}, fewer than {_SPARE_INODES}: "
                "delete small files on that file system"
            )

    def has_room(self) -> bool:
        """Whether ``check_room`` passes."""
        try:
            self.check_room()
        except TemporaryFailure:
            return False
        return True

    def failed(self, doing: str, path: str, error: OSError) -> TemporaryFailure:
        """Remember that the disk failed, and say so; the caller raises what is returned."""
        text = f"cannot {doing} {path}: {describe(error)}"
        self.distrust(text)
        return TemporaryFailure(text)

    def distrust(self, reason: str) -> None:
        """Take nothing in until a probe succeeds."""
        self._failures += 1
        self.broken = reason

    def probe(self) -> bool:
        """Write, sync and delete a small file; True when the disk can be believed again."""
        failures = self._failures
        try:
            self._write_probe()
        except OSError as error:
            self.failed("write", self._probe_file, error)
            return False
        if failures == self._failures:
            self.broken = ""
        return not self.broken

    def _write_probe(self) -> None:
        flags = os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC
        descriptor = os.open(self._probe_file, flags, 0o600)
        try:
            if os.write(descriptor, _PROBE_BYTES) < len(_PROBE_BYTES):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)
        os.unlink(self._probe_file)  # noqa: PTH108 - plain calls, as the order test reads them


def describe(error: OSError) -> str:
    """The system's own words and name for an error: "No space left on device (ENOSPC)"."""
    name = errno.errorcode.get(error.errno or 0, "no errno")
    return f"{error.strerror or error} ({name})"


def start_writing(descriptor: int, offset: int, length: int) -> None:
    """Let the disk begin with a range of a file, so that the sync to come has less to wait for.

    Only a hint: durability is fdatasync's matter, and it also reports what goes wrong here.
    """
    if _sync_file_range is not None:
        _sync_file_range(descriptor, offset, length, _SYNC_FILE_RANGE_WRITE)


def _find_sync_file_range() -> Any:
    function = getattr(ctypes.CDLL(None), "sync_file_range", None)
    if function is not None:
        function.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return function


_SYNC_FILE_RANGE_WRITE: Final = 2
_sync_file_range = _find_sync_file_range()


def sync_folder(folder: str | Path) -> None:
    """Make the names in a folder durable; a fresh descriptor each time. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
