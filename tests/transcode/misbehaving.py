"""Decoders that bring a worker down, for the tests of the pool only.

Which of them misbehaves is said by the first sample that the honest decoder returns: so a test's
object chooses, and other objects are decoded as ever.
"""

import os
import resource
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np

from gateway.transcode import decoders
from gateway.transcode.backends import imagecodecs
from gateway.transcode.form import Coding, FrameFormat

CRASH, EXIT, HANG, MEMORY, RAISE, ALL_CRASH, SLOW = range(60001, 60008)
SECONDS_PER_SLOW_FRAME = 0.1


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
    if accident == SLOW:
        time.sleep(SECONDS_PER_SLOW_FRAME)
        return
    if accident == MEMORY:
        np.ones(1 << 32, "u1")
    raise RuntimeError("this decoder gives up")


FIRST = Misbehaving("first", (CRASH, EXIT, HANG, MEMORY, RAISE, ALL_CRASH, SLOW))
SECOND = Misbehaving("second", (ALL_CRASH, SLOW))


def prepare() -> None:
    """Put both in front of the JPEG-LS decoders of this process."""
    decoders.ROWS[Coding.JPEG_LS] = (FIRST, SECOND)


def limits_here() -> dict[str, object]:
    """What holds in the process that runs this."""
    return {
        "core": resource.getrlimit(resource.RLIMIT_CORE)[0],
        "data": resource.getrlimit(resource.RLIMIT_DATA)[0],
        "stderr": str(Path("/proc/self/fd/2").readlink()),
    }
