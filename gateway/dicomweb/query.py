"""What a QIDO-RS request asks, from its query parameters (PS3.18 §8.3.4, §10.6.1.2).

Attributes are named by keyword or by tag, in sequences by a path with dots. An attribute that is
not known is refused: left out, it would answer with what nobody asked for.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

from gateway.dicomweb.matching import BadQuery, Condition, Path, wanted_of

_TAG: Final = re.compile(r"\(?([0-9A-Fa-f]{4}),?([0-9A-Fa-f]{4})\)?")
_NOT_ATTRIBUTES: Final = frozenset(("accept", "charset", "access_token", "_"))
_LONGEST: Final = 1024
MOST_CONDITIONS: Final = 100


@dataclass(frozen=True, slots=True)
class Query:
    """``conditions`` all hold; ``fields`` are asked for beside what always comes (``all``: all).

    ``limit`` None: as many as there are. ``ignored`` names fields that are not known.
    """

    conditions: tuple[Condition, ...] = ()
    fields: frozenset[Path] = frozenset()
    all: bool = False
    limit: int | None = None
    offset: int = 0
    fuzzy: bool = False
    ignored: tuple[str, ...] = ()


def parse_query(parameters: Iterable[tuple[str, str]]) -> Query:
    """The query that decoded (name, value) parameters stand for. Raises BadQuery."""
    pairs = [(name, value) for name, value in parameters if name not in _NOT_ATTRIBUTES]
    if len(pairs) > MOST_CONDITIONS:
        raise BadQuery(
            f"{len(pairs)} parameters are more than {MOST_CONDITIONS}, the most allowed"
        )
    options = {name.lower(): value for name, value in pairs if name.lower() in _OPTIONS}
    fuzzy = _flag(options.get("fuzzymatching", "false"))
    _flag(options.get("emptyvaluematching", "false"))
    fields, everything, ignored = _fields(pairs)
    return Query(
        conditions=tuple(_conditions(pairs, fuzzy, "emptyvaluematching" in options)),
        fields=fields,
        all=everything,
        limit=_number("limit", options["limit"]) if "limit" in options else None,
        offset=_number("offset", options.get("offset", "0")),
        fuzzy=fuzzy,
        ignored=ignored,
    )


_OPTIONS: Final = frozenset(
    ("includefield", "fuzzymatching", "limit", "offset", "emptyvaluematching")
)


def _conditions(pairs: Iterable[tuple[str, str]], fuzzy: bool, empty: bool) -> Iterable[Condition]:
    for name, value in pairs:
        if name.lower() in _OPTIONS:
            continue
        if len(value) > _LONGEST and "," not in value and "\\" not in value:
            raise BadQuery(f"the value of {name[:80]} is longer than {_LONGEST} characters")
        path = path_of(name)
        if path is None:
            raise BadQuery(_unknown(name))
        vr = vr_of(path[-1])
        wanted = wanted_of(vr, value, fuzzy, empty)
        if wanted:
            yield Condition(path, vr, wanted)


def _fields(
    pairs: Iterable[tuple[str, str]],
) -> tuple[frozenset[Path], bool, tuple[str, ...]]:
    names = [
        name.strip()
        for key, value in pairs
        if key.lower() == "includefield"
        for name in value.split(",")
        if name.strip()
    ]
    found = {name: path_of(name) for name in names if name.lower() != "all"}
    ignored = tuple(name for name, path in found.items() if path is None)
    known = frozenset(path for path in found.values() if path is not None)
    return known, any(name.lower() == "all" for name in names), ignored


def path_of(name: str) -> Path | None:
    """The tags that an attribute's name or path stands for, None where any is not known."""
    tags = [_tag_of(part) for part in name.split(".")]
    known = [tag for tag in tags if tag is not None]
    return tuple(known) if known and len(known) == len(tags) else None


def _tag_of(name: str) -> int | None:
    from pydicom.datadict import tag_for_keyword

    if found := _TAG.fullmatch(name.strip()):
        return int(found[1] + found[2], 16)
    return tag_for_keyword(name.strip())


def vr_of(tag: int) -> str:
    """The VR by which a query's value for an attribute is read; LO for private ones."""
    from pydicom.datadict import dictionary_VR

    try:
        return dictionary_VR(tag)[:2]
    except KeyError:
        return "LO"


def _flag(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise BadQuery(
            f"fuzzymatching and emptyvaluematching are true or false, not {text[:40]!r}"
        )
    return text.lower() == "true"


def _number(name: str, text: str) -> int:
    if not text.isdecimal() or len(text) > 12:
        raise BadQuery(f"{name} is a number from 0 on, not {text[:40]!r}")
    return int(text)


def _unknown(name: str) -> str:
    from pydicom.datadict import keyword_dict

    close = get_close_matches(name, keyword_dict, n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    return (
        f"{name[:80]!r} is no attribute: write its keyword or eight hexadecimal digits, in a "
        f"sequence SEQUENCE.ATTRIBUTE{hint}"
    )
