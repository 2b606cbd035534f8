"""Decoders that bring a worker down, for the tests of the pool only.

Which of them misbehaves is said by the first sample that the honest decoder returns: so a test's
object chooses, and other objects are decoded as ever.
"""

import ctypes
import os
import resource
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from gateway.transcode import decoders, limits, worker
from gateway.transcode.backends import imagecodecs
from gateway.transcode.form import Coding, FrameFormat
from gateway.transcode.matrix import proven

CRASH, EXIT, HANG, MEMORY, RAISE, ALL_CRASH, LIE, BURN, SLOW = range(60001, 60010)
SECONDS_PER_SLOW_FRAME = 0.15


class Misbehaving:
    """Decodes as imagecodecs does, unless the first sample asks for an accident."""

    requires = ""

    def __init__(self, name: str, accidents: tuple[int, ...]) -> None:
        self.name, self.accidents = name, accidents

    def version(self) -> str:
        return "1"

    def supports(self, form: FrameFormat) -> bool:
        return True

    def decode(self, frame: Any, form: FrameFormat) -> Any:
        samples = imagecodecs.decode(frame, form)
        asked = int(samples.flat[0])
        if asked in self.accidents:
            _have(asked)
        return samples


def _have(accident: int) -> None:
    if accident in (CRASH, ALL_CRASH):
        os.kill(os.getpid(), signal.SIGSEGV)
    if accident == EXIT:
        os._exit(3)
    if accident == HANG:
        while True:
            signal.pause()
    while accident == BURN:
        pass
    if accident == SLOW:
        time.sleep(SECONDS_PER_SLOW_FRAME)
        return
    if accident == MEMORY:
        np.ones(1 << 32, "u1")
    raise RuntimeError("this decoder gives up")


FIRST = Misbehaving("first", (CRASH, EXIT, HANG, MEMORY, RAISE, ALL_CRASH, BURN, SLOW))
SECOND = Misbehaving("second", (ALL_CRASH, SLOW))


class Witness(Misbehaving):
    """Sees one sample otherwise where the first sample of a frame is ``LIE``, refuses ``RAISE``.

    It prints what a native library might.
    """

    def decode(self, frame: Any, form: FrameFormat) -> Any:
        samples = np.array(super().decode(frame, form))
        os.write(2, b"a \x1b[31mwarning\n")
        if int(samples.flat[0]) == LIE:
            samples[3, 5] += 9
            samples[4, 0] += 2
        return samples


WITNESS = Witness("witness", (RAISE,))


def prepare() -> None:
    """Put both in front of the JPEG-LS decoders of this process."""
    decoders.ROWS[Coding.JPEG_LS] = (FIRST, SECOND)


def prepare_impatient() -> None:
    """Both, and a second of processor time for a small task."""
    prepare()
    limits.SECONDS = 0.5  # type: ignore[misc]
    limits.SECONDS_PER_BYTE = 0.0  # type: ignore[misc]


def from_the_last() -> None:
    """All decoders in reverse order, so that those that come last are tried as well."""
    for coding, backends in decoders.ROWS.items():
        decoders.ROWS[coding] = tuple(reversed(backends))
    proven().ordered = lambda _, able: list(able)  # type: ignore[method-assign, assignment]


def prepare_witness() -> None:
    """One decoder of JPEG-LS, and one of another lineage beside it."""
    decoders.ROWS[Coding.JPEG_LS] = (HONEST, WITNESS)


HONEST = Misbehaving("honest", ())


def hang(file: str) -> None:
    """Say in ``file`` who this is, and never end; no signal is handled in Python meanwhile."""
    Path(file).write_text(str(os.getpid()))
    ctypes.CDLL(None).sleep(600)


def flood() -> int:
    """Print a megabyte; how many characters of it are kept."""
    for _ in range(1 << 10):
        with suppress(BlockingIOError):
            os.write(2, b"x" * 1023 + b"\n")
    return len(worker.printed())


def limits_here() -> dict[str, object]:
    """What holds in the process that runs this."""
    return {
        "core": resource.getrlimit(resource.RLIMIT_CORE)[0],
        "file": resource.getrlimit(resource.RLIMIT_FSIZE)[0],
        "processes": resource.getrlimit(resource.RLIMIT_NPROC)[0],
        "data": resource.getrlimit(resource.RLIMIT_DATA)[0],
        "nice": os.getpriority(os.PRIO_PROCESS, 0),
        "stderr": str(Path("/proc/self/fd/2").readlink()).startswith("pipe:"),
    }


def end_early() -> int:
    """Raises StopIteration, which no future can hold."""
    return next(iter(()))
