"""Attribute matching: what a query asks of a value, and whether a value fits (PS3.4 C.2.2.2).

Query and value are compared in normal forms. Person names are compared without regard to case
and accents, each component group for itself, without trailing carets; dates and times as spans;
numbers as numbers; everything else literally, without padding.

Fuzzy matching of names (PS3.18 Section 8.3.4.2) finds what literal matching finds, and every name
of which, for each word of the query, some word begins with it: ``jan doe`` finds ``Doe^Janet``.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeAlias

from gateway.dicomweb.moments import first_moment, range_of
from gateway.failures import PermanentFailure
from gateway.model import is_uid
from gateway.value_representation import NUMERIC, ONE_VALUE

MOMENTS: Final = frozenset(("DA", "TM", "DT"))
_WILD: Final = frozenset(("AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT", "UN"))
_COMMA_LISTS: Final = frozenset(("UI", "CS"))
_EMPTY: Final = '""'
_WORDS: Final = re.compile(r"[\^=\s,]+")
_INTEGER: Final = re.compile(r"[+-]?\d{1,20}")
_MOST: Final = 100
"""Values of a list, UIDs aside, and words of a name."""


class BadQuery(PermanentFailure):
    """A query that cannot be answered as it was meant: status 400."""


@dataclass(frozen=True, slots=True)
class Exactly:
    """The value in its normal form is this; "" asks for an empty or absent one."""

    value: str


@dataclass(frozen=True, slots=True)
class Like:
    """The value fits a pattern: ``*`` any characters, ``?`` any one (C.2.2.2.4)."""

    pattern: str


@dataclass(frozen=True, slots=True)
class Between:
    """The moment lies in a span, both ends included; "" is an open end (C.2.2.2.5)."""

    low: str
    high: str


@dataclass(frozen=True, slots=True)
class Groups:
    """Each component group of a person name is as asked; None asks nothing of it."""

    groups: tuple[Exactly | Like | None, ...]


@dataclass(frozen=True, slots=True)
class Words:
    """A name of which for each pattern some word fits: fuzzy matching."""

    patterns: tuple[str, ...]


Wanted: TypeAlias = Exactly | Like | Between | Groups | Words
Path: TypeAlias = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Condition:
    """That the attribute at ``path`` (tags, 0xGGGGEEEE) fits any of ``wanted``."""

    path: Path
    vr: str
    wanted: tuple[Wanted, ...]


def wanted_of(vr: str, text: str, fuzzy: bool = False, empty: bool = False) -> tuple[Wanted, ...]:
    """What a query's value asks for: any of these, nothing where all values match (C.2.2.2.3).

    UIDs and code strings may be lists by comma or backslash, others by backslash (C.2.2.2.2,
    C.2.2.2.8). ``empty`` has two quotation marks ask for an empty value (C.2.2.2.7). Raises
    BadQuery where the text is no value of the VR.
    """
    if vr in ONE_VALUE:
        values = [text]
    else:
        values = re.split(r"[\\,]" if vr in _COMMA_LISTS else r"\\", text)
    wanted: list[Wanted] = []
    for value in (value.strip(" \0") for value in values):
        if empty and value == _EMPTY:
            wanted.append(Exactly(""))
        elif value and set(value) != {"*"}:
            wanted += _wanted(vr, value, fuzzy)
        elif value:
            return ()
    if vr != "UI" and len(wanted) > _MOST:
        raise BadQuery(f"more than {_MOST} values are asked for")
    return tuple(dict.fromkeys(wanted))


def _wanted(vr: str, value: str, fuzzy: bool) -> list[Wanted]:
    if vr in MOMENTS:
        return [_between(vr, value)]
    if vr == "UI" and not is_uid(value):
        raise BadQuery(f"{value[:80]!r} is no UID: digits and points, without wildcards")
    if vr == "PN":
        named = _named(value)
        return [*named, *_words(value)] if fuzzy else list(named)
    return [_one(normal(vr, value), vr)]


def _one(value: str, vr: str = "PN") -> Exactly | Like:
    wild = vr in _WILD and ("*" in value or "?" in value)
    return Like(value) if wild else Exactly(value)


def _between(vr: str, value: str) -> Between:
    span = range_of(vr, value)
    if span is None:
        form = {"DA": "YYYYMMDD", "TM": "HHMMSS.FFFFFF", "DT": "YYYYMMDDHHMMSS.FFFFFF"}[vr]
        raise BadQuery(
            f"{value[:80]!r} is no value of VR {vr}: write {form}, or a range as FROM-TO, FROM-"
            " or -TO, without wildcards"
        )
    return Between(*span)


def _named(value: str) -> tuple[Wanted, ...]:
    if "=" not in value:
        return (_one(fold(value)),)
    groups = [_group(fold(group)) for group in value.split("=")[:3]]
    return (Groups(tuple(groups)),) if any(groups) else ()


def _group(value: str) -> Exactly | Like | None:
    return _one(value) if value.strip("*") else None


def _words(value: str) -> list[Wanted]:
    words = [word for word in _WORDS.split(fold(value)) if word.strip("*?")]
    if len(words) > _MOST:
        raise BadQuery(f"more than {_MOST} words of a name are asked for")
    return [Words(tuple(f"* {word}*" for word in words))] if words else []


def normal(vr: str, value: str) -> str:
    """The form in which a single value of ``vr`` is compared; "" for what is no value of it."""
    if vr in MOMENTS:
        return first_moment(vr, value)
    if vr in NUMERIC:
        return _number(value.strip(" \0"))
    return value.strip(" \0") if vr not in ONE_VALUE else value.rstrip(" \0")


def _number(text: str) -> str:
    if _INTEGER.fullmatch(text):
        return str(int(text))
    try:
        return repr(float(text)).removesuffix(".0")
    except ValueError:
        return ""


@lru_cache(maxsize=4096)
def fold(name: str) -> str:
    """A name or one of its groups without case, accents, padding and trailing carets."""
    if name.isascii():
        return name.casefold().strip(" \0").rstrip("^ \0")
    letters = unicodedata.normalize("NFKD", name)
    plain = "".join(letter for letter in letters if not unicodedata.combining(letter))
    return unicodedata.normalize("NFC", plain).casefold().strip(" \0").rstrip("^ \0")


def name_groups(name: str) -> tuple[str, str, str]:
    """The alphabetic, ideographic and phonetic groups of a person name, folded; "" for none."""
    alphabetic, ideographic, phonetic = (*name.split("="), "", "")[:3]
    return fold(alphabetic), fold(ideographic), fold(phonetic)


def words_of(name: str) -> str:
    """All words of a person name, folded, each with a space before it."""
    return "".join(f" {word}" for word in _WORDS.split(" ".join(name_groups(name))) if word)


def fits(condition: Condition, values: Sequence[str]) -> bool:
    """Whether any of the values, as texts, is what the condition wants; () is an absent one."""
    return any(_fits(wanted, condition.vr, value) for wanted in condition.wanted
               for value in values or ("",))  # fmt: skip


def _fits(wanted: Wanted, vr: str, value: str) -> bool:
    match wanted:
        case Between(low, high):
            moment = first_moment(vr, value)
            return moment != "" and low <= moment <= (high or "~")
        case Words(patterns):
            words = words_of(value)
            return all(like(pattern, words) for pattern in patterns)
        case Groups(groups):
            have = name_groups(value)
            return all(w is None or _is(w, h) for w, h in zip(groups, have, strict=False))
        case Exactly("") if vr == "PN":
            return not any(name_groups(value))
        case _ if vr == "PN":
            return any(_is(wanted, group) for group in name_groups(value) if group)
        case _:
            return _is(wanted, normal(vr, value))


def _is(wanted: Exactly | Like, value: str) -> bool:
    if isinstance(wanted, Exactly):
        return value == wanted.value
    return like(wanted.pattern, value)


def like(pattern: str, value: str) -> bool:
    """Whether a value fits a pattern of ``*`` and ``?``; takes at most their product in steps."""
    at = in_pattern = 0
    star = retry = -1
    while at < len(value):
        if in_pattern < len(pattern) and pattern[in_pattern] == "*":
            star, retry = in_pattern, at
            in_pattern += 1
        elif in_pattern < len(pattern) and pattern[in_pattern] in ("?", value[at]):
            at, in_pattern = at + 1, in_pattern + 1
        elif star >= 0:
            retry += 1
            at, in_pattern = retry, star + 1
        else:
            return False
    return not pattern[in_pattern:].strip("*")


def combined(date: Condition, time: Condition) -> Between | None:
    """One span of a range of dates and a range of times: from the first to the last moment.

    None where either is no single range. An absent time counts as the beginning of its day.
    """
    match date.wanted, time.wanted:
        case (Between(first, last),), (Between(begin, end),) if first != last:
            return Between(first and first + (begin or "0" * 12), last and last + (end or "~"))
    return None
