"""What becomes of a worker that looks at a file whose bytes cannot be had, or that is ended."""

import mmap
import os
import signal
from pathlib import Path
from typing import Any

from gateway.serve.description import Description, describe
from gateway.transcode.source import READ_WHOLE


def touch(file: Path, *_: object) -> None:
    """Touch a map of a file beyond its end: SIGBUS, as where a sector is bad."""
    with file.open("r+b") as opened:
        data = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
        opened.truncate(4096)
    data[READ_WHOLE]


def describe_later(file: Path, *facts: Any) -> Description:
    """As ``describe``, but that the first worker is killed, as where the memory is short."""
    try:
        file.with_suffix(".begun").touch(exist_ok=False)
    except FileExistsError:
        return describe(file, *facts)
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError
