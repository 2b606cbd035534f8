"""The files of a configuration, and the one number that tells whether any of them has changed."""

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from gateway.config.includes import entries_of, files_of


class ConfigFiles:
    """A configuration file and those that it includes."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._text = b""
        self._entries: tuple[str, ...] = ()

    def digest(self) -> str:
        """The SHA-256 of all the files, one behind the other, in hexadecimal digits.

        Where nothing is included that is what ``sha256sum`` says of the file; "" where the file
        cannot be read.
        """
        try:
            text = self._file.read_bytes()
        except OSError:
            return ""
        if text != self._text:
            self._entries = entries_of(text.decode("utf-8-sig", "replace"), str(self._file))
            self._text = text
        found = hashlib.sha256(text)
        for path in self._included():
            with suppress(OSError):
                found.update(path.read_bytes())
        return found.hexdigest()

    def _included(self) -> Iterator[Path]:
        for entry in self._entries:
            try:
                yield from files_of(self._file.parent / entry)
            except (ValueError, OSError):
                continue
