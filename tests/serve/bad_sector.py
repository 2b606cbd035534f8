"""What becomes of a worker that looks at a file whose bytes cannot be had."""

import mmap
from pathlib import Path

from gateway.transcode.source import READ_WHOLE


def touch(file: Path, *_: object) -> None:
    """Touch a map of a file beyond its end: SIGBUS, as where a sector is bad."""
    with file.open("r+b") as opened:
        data = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
        opened.truncate(4096)
    data[READ_WHOLE]
