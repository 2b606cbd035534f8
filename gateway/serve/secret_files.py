"""Files that hold secrets, one a line: read again when they change, never quoted in a message."""

import asyncio
from pathlib import Path

from gateway import telemetry
from gateway.failures import TemporaryFailure
from gateway.secret_file import SecretFile, UnreadableSecret


class SecretLines:
    """The lines of a file without comments and empty ones."""

    def __init__(self, file: Path) -> None:
        self._file = SecretFile(file)

    async def read(self) -> tuple[str, ...]:
        """The lines as they are now. Raises TemporaryFailure where the file cannot be read."""
        try:
            text = await asyncio.to_thread(self._file.text)
        except UnreadableSecret as error:
            file = str(self._file.file)
            telemetry.alarm("secrets cannot be read", file=file, reason=str(error))
            raise TemporaryFailure("credentials cannot be checked: the log says why") from error
        lines = (line.strip() for line in text.splitlines())
        return tuple(line for line in lines if line and line[0] != "#")
