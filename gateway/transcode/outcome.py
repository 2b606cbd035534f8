"""How one decoder did with one test picture of the self-test."""

from dataclasses import dataclass
from typing import Any, Final

from gateway.model import UID

PROVEN: Final = "proven"
FAILED: Final = "failed"
NOT_OFFERED: Final = "not offered"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one decoder did with one test picture.

    ``seconds`` for one frame of ``samples`` samples, of large pictures (``timed``) only;
    ``error`` is the greatest difference from what was wanted.
    """

    syntax: UID
    backend: str
    cell: tuple[Any, ...]
    what: str
    state: str
    why: str = ""
    seconds: float = 0.0
    samples: int = 0
    error: int = 0
    timed: bool = False


def outcome_of(row: dict[str, Any]) -> Outcome:
    """An outcome that was written as JSON. Raises TypeError or KeyError for another thing."""
    return Outcome(**row | {"cell": tuple(row["cell"])})
