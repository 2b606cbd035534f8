"""Secrets: taken from the environment or from files, never from the configuration's own text.

A secret's value is shown nowhere: printed, it is the ``${NAME}`` that it was written as.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from gateway.config.problems import unexpected
from gateway.config.values import parse_path


class Variable(str):
    """A text of the file that was one ``${NAME}``: the variable's value, and what was written."""

    __slots__ = ("written",)
    written: str

    def __new__(cls, value: str, written: str) -> "Variable":
        made = super().__new__(cls, value)
        made.written = written
        return made


class Written(str):
    """A text that is printed as it stands, its ``${NAME}`` included."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret from the environment; ``written`` is the ``${NAME}`` that stands for it."""

    value: str = field(repr=False)
    written: str

    def __str__(self) -> str:
        return self.written


_FORMS: Final = "allowed: ${NAME}, a variable of the environment, or the key with _file"


def parse_secret(value: object) -> Secret:
    """A secret that was written as ``${NAME}``; raises ValueError, which quotes no text."""
    if isinstance(value, Secret):
        return value
    if not isinstance(value, Variable):
        if isinstance(value, str):
            raise ValueError(f"a secret may not stand in the file; {_FORMS}")  # noqa: TRY004
        raise unexpected("a secret", value, f"; {_FORMS}")
    secret = value.strip()
    if not secret or not secret.isprintable():
        raise ValueError(f"{value.written} is empty or holds control characters")
    return Secret(secret, value.written)


_PATHS: Final = ("/", "./", "../")


def parse_file(value: object) -> Path:
    """A file's path; where a variable stands alone, what it holds has to look like one.

    Else a secret that was meant for the key without ``_file`` would be shown as a path.
    """
    if isinstance(value, Variable) and not value.strip().startswith(_PATHS):
        raise ValueError(
            f"{value.written} holds no path, which would begin with / or ./; is it the secret"
            " itself? That is for the key without _file"
        )
    return parse_path(value)


def write_secret(secret: Secret) -> Written:
    """What is printed in its place."""
    return Written(secret.written)
