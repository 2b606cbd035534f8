"""``expr``: one condition in the Common Expression Language, for what operators cannot say.

The language has no loops but those over the values of an attribute, and no way out of itself.
Attributes are variables by keyword, beside ``calling_ae``, ``called_ae``, ``address`` and
``size``; values are handed over as values, never as text of the expression. An attribute that may
have several values is a list of the first 100. What is missing is "", or [], or null for a number.
"""

import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final

from pydicom.datadict import dictionary_VM, keyword_dict

from gateway.config.problems import did_you_mean, shown, unexpected
from gateway.config.subjects import BYTES, ITEMS, NUMBER, Subject, find_subject

Program = Callable[[Mapping[str, Any]], Any]
"""Variables to the value of the expression; raises Exception where there is none."""

_LONGEST: Final = 2000
MOST_VALUES: Final = 100
"""Of an attribute: an expression sees no others."""
_LOOPS: Final = 2
"""Of so many values each: some 150 ms at worst, and a third one would take a minute."""
_BOUND: Final = re.compile(r"\.\s*(?:all|exists|exists_one|map|filter)\s*\(\s*([A-Za-z_]\w*)\s*,")
_FACTS: Final = ("calling_ae", "called_ae", "address", "size")


def parse_expr(value: object) -> str:
    """An expression that is true or false; raises ValueError."""
    if not isinstance(value, str) or not value.strip():
        raise unexpected("an expression such as Rows > 512 || Modality == 'MG'", value)
    text = value.strip()
    if len(text) > _LONGEST or len(_BOUND.findall(text)) > _LOOPS:
        limits = f"{_LONGEST} characters and {_LOOPS} loops over values"
        raise ValueError(f"the expression is too long; allowed: {limits}")
    sample = {key: _SAMPLES[kind_of(subject)] for key, subject in subjects_of(text).items()}
    try:
        found = program(text)(sample)
    except Exception as error:  # noqa: BLE001 - a value's type may forbid what is asked of a sample
        if "Undefined" in str(error):
            raise ValueError(f"{shown(text)}: {str(error).split('. ')[0]}") from None
    else:
        if not isinstance(found, bool):
            what = f"{shown(text)} is neither true nor false; compare it with something"
            raise ValueError(what)  # noqa: TRY004
    return text


def subjects_of(text: str) -> dict[str, Subject]:
    """The attributes that an expression reads; raises ValueError."""
    bound = set(_BOUND.findall(text))
    found: dict[str, Subject] = {}
    for name in _variables(text):
        if name in bound:
            continue
        if name not in _FACTS and name not in keyword_dict:
            hint = did_you_mean(name, [*_FACTS, *keyword_dict])
            raise ValueError(
                f"{shown(name)} is no DICOM keyword and no word of the language{hint}"
            )
        subject = find_subject(name)
        if subject.kind == ITEMS:
            raise ValueError(f"{name} is a sequence, which an expression cannot read")
        found[name] = subject
    return found


@cache
def program(text: str) -> Program:
    """The compiled expression; raises ValueError where it is none."""
    return _compiled(text).execute  # type: ignore[no-any-return]


def _variables(text: str) -> list[str]:
    return sorted(_compiled(text).variables())


@cache
def _compiled(text: str) -> Any:
    import cel

    try:
        return cel.compile(text)
    except Exception as error:  # noqa: BLE001 - the library raises what it likes
        reason = str(error).partition("ERROR: ")[2].split(": ", 1)[-1].split(" expecting")[0]
        raise ValueError(f"{shown(text)} is no expression: {reason.splitlines()[0]}") from None
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit):
            raise
        raise ValueError(f"{shown(text)} is no expression") from None


_SCALAR: Final = "scalar"
_LIST: Final = "list"
_SAMPLES: Final = {NUMBER: 1.0, _SCALAR: "", _LIST: [""]}


@cache
def kind_of(subject: Subject) -> str:
    """How a subject's values reach an expression: a number, a text, or a list of texts."""
    if subject.kind == BYTES:
        return NUMBER
    if not subject.steps or len(subject.steps) > 1 or not isinstance(subject.steps[-1], int):
        return _SCALAR
    if dictionary_VM(subject.steps[-1]) != "1":
        return _LIST
    return NUMBER if subject.kind == NUMBER else _SCALAR


def variable(subject: Subject, text: str) -> Any:
    """A header's text as the value that an expression sees."""
    kind = kind_of(subject)
    if kind == _LIST:
        values = text.split("\\")[:MOST_VALUES] if text else []
        return [_plain(subject, value) for value in values]
    if kind == NUMBER:
        return _plain(subject, text) if text else None
    return text


def values_of(subject: Subject, text: str) -> int:
    """How many values a header's text has, where an expression sees a list of them; else 1."""
    return text.count("\\") + 1 if kind_of(subject) == _LIST else 1


def _plain(subject: Subject, text: str) -> Any:
    if subject.kind not in (NUMBER, BYTES):
        return text
    try:
        return float(text)
    except ValueError:
        return None
