"""The result's file: written beside its name, renamed when whole, removed after a failure."""

import ctypes
import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from gateway.dataset.mapped import LET_GO, read_through
from gateway.failures import TemporaryFailure
from gateway.transcode.words import Swapped

_BATCH: Final = 512
"""Buffers per writev: below IOV_MAX everywhere."""
_BESIDE: Final = ".tmp"
_KEEP_SIZE: Final = 1
_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def _linux_fallocate() -> Any:
    """fallocate(2) itself: where a file system has none, posix_fallocate(3) writes zeros."""
    function = getattr(ctypes.CDLL(None, use_errno=True), "fallocate", None)
    if function is not None:
        function.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    return function


_fallocate: Final = _linux_fallocate()


def reserve(descriptor: int, size: int) -> None:
    """Have ``size`` bytes set aside where the file system can: writing them is a third faster.

    The file stays as long as it is. Raises OSError where there is no room for it.
    """
    if _fallocate is None or size <= 0 or not _fallocate(descriptor, _KEEP_SIZE, 0, size):
        return
    number = ctypes.get_errno()
    if number in _NO_ROOM:
        raise OSError(number, os.strerror(number))


@contextmanager
def written(out: str | Path, size: int = 0) -> Iterator[int]:
    """A descriptor to write ``size`` bytes (0: nobody knows) to ``out`` through.

    The file is renamed into place, or removed after a failure.
    """
    beside = f"{out}{_BESIDE}"
    try:
        descriptor = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            reserve(descriptor, size)
            yield descriptor
        finally:
            os.close(descriptor)
        os.rename(beside, out)  # noqa: PTH104 - Path.rename makes another Path
    except OSError as error:
        _remove(beside)
        raise TemporaryFailure(f"cannot write the transcoded file: {error}") from error
    except BaseException:
        _remove(beside)
        raise


def beside_of(out: str | Path) -> Path:
    """Where a result is written before it has its name."""
    return Path(f"{out}{_BESIDE}")


def _remove(path: str) -> None:
    with suppress(OSError):
        os.unlink(path)  # noqa: PTH108 - as it was opened


def size_of(part: Any) -> int:
    """The length in bytes of a part of a result."""
    size: int = part.nbytes if isinstance(part, Swapped) else memoryview(part).nbytes
    return size


def pieces_of(part: Any) -> Iterator[Any] | None:
    """What a part comes to piece by piece, None where it is small enough to be taken at once."""
    if isinstance(part, Swapped):
        return part.pieces()
    if isinstance(part, memoryview) and part.nbytes > LET_GO:
        return read_through(part)
    return None


def write_all(descriptor: int, parts: Sequence[Any]) -> None:
    """All of ``parts`` at the descriptor's position. Raises OSError."""
    together: list[Any] = []
    for part in parts:
        if (pieces := pieces_of(part)) is None:
            together.append(part)
            continue
        _write_together(descriptor, together)
        together = []
        for piece in pieces:
            _write_together(descriptor, [piece])
    _write_together(descriptor, together)


def _write_together(descriptor: int, parts: Sequence[Any]) -> None:
    for start in range(0, len(parts), _BATCH):
        batch = parts[start : start + _BATCH]
        wanted = sum(memoryview(part).nbytes for part in batch)
        done = os.writev(descriptor, batch)
        if done < wanted:
            _write_rest(descriptor, batch, done)


def _write_rest(descriptor: int, batch: Sequence[Any], done: int) -> None:
    """After a short write (a signal, 2 GiB at once, a full disk): the rest, part by part."""
    for part in batch:
        view = memoryview(part).cast("B")
        skip = min(done, len(view))
        done -= skip
        while skip < len(view):
            skip += os.write(descriptor, view[skip : skip + (1 << 30)])


def write_at(descriptor: int, part: Any, position: int) -> int:
    """Write ``part`` at ``position``; the position after it. Raises OSError."""
    view = memoryview(part).cast("B")
    while view:
        done = os.pwrite(descriptor, view[: 1 << 30], position)
        view, position = view[done:], position + done
    return position
