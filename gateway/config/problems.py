"""What can be wrong with a configuration: the place, the offending text, what is allowed."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import NamedTuple, TypeAlias

from gateway.failures import Failure

Path: TypeAlias = tuple[str | int, ...]
"""Where a value stands: keys and list positions from the top, ``("routes", 0, "from")``."""

_SHOWN = 60


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing that is wrong. ``line`` and ``column`` count from 1; 0 means the whole file."""

    file: str
    line: int
    column: int
    text: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return f"{place}: {self.text}"


class ConfigError(Failure):
    """A configuration that cannot be used; ``problems`` holds all of them in file order."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = sorted(set(problems))
        super().__init__("\n".join(map(str, self.problems)))


class Complaint(NamedTuple):
    """A problem before its place in the file is known: ``path`` is relative to the value read."""

    path: Path
    text: str
    at_key: bool = False

    def under(self, *keys: str | int) -> "Complaint":
        """The complaint as it is from further out."""
        return self._replace(path=(*keys, *self.path))


class WrongValue(ValueError):
    """Several complaints about the parts of one value."""

    def __init__(self, complaints: Sequence[Complaint]) -> None:
        super().__init__("; ".join(complaint.text for complaint in complaints))
        self.complaints = tuple(complaints)


def shown(value: object) -> str:
    """The offending text in quotes, shortened; what kind of thing it is where it is no text."""
    match value:
        case None:
            return "nothing"
        case dict():
            return "a mapping (key: value)"
        case list() | tuple():
            return "a list"
        case str() if len(value) > _SHOWN:
            return shown(value[: _SHOWN - 3] + "...")
        case str() if not value.isprintable():
            return ascii(value)
        case _:
            return f"'{value}'"


def unexpected(what: str, value: object, choices: str = "") -> ValueError:
    """A value is of another kind than ``what``, the kind that is wanted here."""
    return ValueError(f"expected {what}, found {shown(value)}" + choices)


def closest(word: str, choices: Collection[str]) -> str:
    """The choice that was probably meant, "" where none is near; upper and lower case alike."""
    folded = {choice.casefold(): choice for choice in choices}
    near = get_close_matches(word.casefold(), folded, n=1, cutoff=0.6)
    return folded[near[0]] if near else ""


def did_you_mean(word: object, choices: Collection[str]) -> str:
    """The closing half sentence ``; did you mean X?``, or nothing."""
    near = closest(word, choices) if isinstance(word, str) else ""
    return f"; did you mean {near}?" if near else ""


def allowed(choices: Collection[str], word: object = None) -> str:
    """``; allowed: a, b, c``, with the suggestion that fits ``word``."""
    return f"; allowed: {', '.join(choices) or 'none'}{did_you_mean(word, choices)}"
