"""What a worker process may use: memory, files, processes, and processor time task by task.

Where processors are short, whoever acknowledges and answers has its turn before who decodes.

A decoder that exceeds its processor time is ended by the kernel (SIGXCPU), whether or not it ever
comes back to Python; the wall clock is the pool's.
"""

import ctypes
import os
import resource
from contextlib import suppress
from time import process_time
from typing import Final

MAPPED: Final = 16 << 30
"""Address space for read-only maps of stored files, beside a worker's own memory."""
LARGEST_FILE: Final = (4 << 30) + (1 << 30)
"""A native result, which ends at 2**32 - 2 bytes of pixels, and what stands around it."""
SECONDS: Final = 20.0
SECONDS_PER_BYTE: Final = 8.0 / (32 << 20)
"""Three times what the slowest coding (JPEG 2000) takes here, and as much for a second opinion."""
YIELDS: Final = 5
"""By how much a worker is nicer than the gateway. Not more: beside another busy process it still
has a quarter of a core, and the time of a task runs on the clock on the wall.
"""
_PR_SET_NO_NEW_PRIVS: Final = 38
_granted: Final[list[int]] = []
"""The processor seconds at which a worker ends; empty elsewhere: no other process is limited."""


def confine(memory: int) -> None:
    """Limits for the whole life of this process; ``memory`` in bytes is its own to write to.

    No process can be started, where this is not run by root; no right be gained by a program.
    """
    _granted.append(0)
    with suppress(OSError):  # a sandbox may forbid it
        os.nice(YIELDS)
    ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    for what, most in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_DATA, memory),
        (resource.RLIMIT_AS, memory + MAPPED),
        (resource.RLIMIT_FSIZE, LARGEST_FILE),
        (resource.RLIMIT_NPROC, 0),
    ):
        _lower(what, most)


def _lower(what: int, most: int) -> None:
    """Set a limit, where it is not lower already."""
    _, hard = resource.getrlimit(what)
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(what, (most, most))


def allow(native_bytes: int) -> None:
    """Grant processor time for a task that makes so many bytes of pixels, to a worker."""
    if not _granted:
        return
    until = int(process_time() + SECONDS + native_bytes * SECONDS_PER_BYTE) + 1
    if until == _granted[0]:
        return
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    soft = until if hard == resource.RLIM_INFINITY else min(until, hard)
    resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))
    _granted[0] = until
