r"""Regular expressions that find and replace, in time linear to the text (RE2: no look-around,
no references back). What takes the place of what is found may name groups, ``\1`` to ``\9``, and
all of it, ``\0``; ``\\`` is a backslash.
"""

import re
from functools import cache
from typing import Any, Final

import re2

from gateway.config.problems import shown

_OPTIONS: Final = re2.Options()
_OPTIONS.log_errors = False
_ESCAPE: Final = re.compile(r"\\(.?)", re.DOTALL)
_DIGITS: Final = frozenset("0123456789")


@cache
def _compiled(text: str) -> Any:
    return re2.compile(text, _OPTIONS)


def parse_find(text: str) -> str:
    """A regular expression; raises ValueError where it is none."""
    try:
        _compiled(text)
    except re2.error as error:
        reason = error.args[0]
        reason = reason.decode() if isinstance(reason, bytes) else str(reason)
        raise ValueError(f"{shown(text)} is not a regular expression: {reason}") from None
    return text


def parse_replacement(pattern: str, value: object) -> str:
    """What takes the place of what the pattern finds; raises ValueError."""
    if value is not None and not isinstance(value, str):
        raise ValueError(f"expected the text that takes its place, found {shown(value)}")
    groups = _compiled(pattern).groups
    for sign in _ESCAPE.findall(value or ""):
        if sign != "\\" and not (sign in _DIGITS and int(sign) <= groups):
            raise ValueError(
                f"{shown(value)}: '\\{sign}' names no group; the pattern has {groups}"
            )
    return value or ""


def replaced(pattern: str, by: str, text: str) -> str:
    """``text`` with everything that the pattern finds replaced.

    RE2's own way to fill in groups spoils what is not ASCII in ``by``.
    """

    def place(found: Any) -> str:
        def part(escape: re.Match[str]) -> str:
            return "\\" if escape[1] == "\\" else found[int(escape[1])] or ""

        return _ESCAPE.sub(part, by)

    made: str = _compiled(pattern).sub(place, text)
    return made
