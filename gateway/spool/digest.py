"""The digest of a stored file: whether its bytes are still those that were received.

It is a CRC-32, made while the bytes arrive, when they are in the processor's cache: it finds what
a disk damages, not what somebody forges. libdeflate makes one of 512 KiB in 15 microseconds.
"""

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Final

from gateway.failures import PermanentFailure, TemporaryFailure

_PIECE: Final = 1 << 20


@cache
def _crc_32() -> Callable[..., int]:
    from imagecodecs import deflate_crc32

    made: Callable[..., int] = deflate_crc32
    return made


def digest_of(data: bytes | memoryview, before: int = 0) -> int:
    """The digest of ``data`` behind bytes whose digest is ``before``."""
    return _crc_32()(data, before)


def check_digest(file: Path, digest: int) -> None:
    """Read a stored file through.

    Raises PermanentFailure where it is missing or other than it was received, TemporaryFailure
    where it cannot be read.
    """
    try:
        found = _digest_in(file)
    except FileNotFoundError:
        raise PermanentFailure(f"the spool's file {file.name} is missing") from None
    except OSError as error:
        text = f"the spool's file {file.name} cannot be read: {error.strerror}"
        raise TemporaryFailure(text) from error
    if found != digest:
        raise PermanentFailure(
            f"the spool's file {file.name} is damaged, its bytes are not those that were"
            " received: look at the disk, and have the instance sent again"
        )


def _digest_in(file: Path) -> int:
    found, piece = 0, bytearray(_PIECE)
    view = memoryview(piece)
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        while count := os.readv(descriptor, [piece]):
            found = digest_of(view[:count], found)
    finally:
        os.close(descriptor)
    return found
