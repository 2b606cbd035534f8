"""A file that holds a secret, read again whenever it was written or replaced."""

from pathlib import Path


class SecretFile:
    """The text of a file as it is now; in messages of others only the file's name appears."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._mark: tuple[int, int, int] | None = None
        self._text = ""

    def text(self) -> str:
        """Without the white space around it; blocks. Raises UnreadableSecret."""
        try:
            found = self.file.stat()
            mark = found.st_mtime_ns, found.st_size, found.st_ino
            if mark != self._mark:
                self._text, self._mark = self.file.read_text("utf-8").strip(), mark
        except OSError as error:
            raise UnreadableSecret(error.strerror or "the system refuses it") from None
        except UnicodeDecodeError:
            raise UnreadableSecret("it is not UTF-8") from None
        return self._text


class UnreadableSecret(Exception):
    """Why a secret cannot be read; quotes nothing of it."""
