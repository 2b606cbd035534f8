"""Files that hold secrets, one a line: read again when they change, never quoted in a message."""

import asyncio
from pathlib import Path

from gateway import telemetry
from gateway.failures import TemporaryFailure


class SecretLines:
    """The lines of a file without comments and empty ones."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._read_at: tuple[int, int, int] | None = None
        self._lines: tuple[str, ...] = ()

    async def read(self) -> tuple[str, ...]:
        """The lines as they are now. Raises TemporaryFailure where the file cannot be read."""
        try:
            status = await asyncio.to_thread(self._file.stat)
            stamp = status.st_mtime_ns, status.st_size, status.st_ino
            if stamp != self._read_at:
                text = await asyncio.to_thread(self._file.read_text, "utf-8")
                stripped = (line.strip() for line in text.splitlines())
                self._lines = tuple(line for line in stripped if line and line[0] != "#")
                self._read_at = stamp
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            telemetry.alarm("secrets cannot be read", file=str(self._file), reason=reason)
            raise TemporaryFailure("credentials cannot be checked: the log says why") from error
        return self._lines
