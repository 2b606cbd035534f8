"""The query parameters of a search: match, includefield, limit, offset and more (PS3.18 8.3.4).

Attributes are keywords or tags of eight hexadecimal digits, joined by points where they stand in
sequences. What begins like a keyword or a tag and is none is refused, since a filter that is left
out shows what was not asked for; other parameters that nobody knows are passed over with a remark
for the Warning header.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from enum import IntEnum
from functools import lru_cache
from typing import Final

from gateway.dicomweb.matching import (
    BadQuery,
    Between,
    Condition,
    Path,
    Wanted,
    combined,
    wanted_of,
)

_TAG: Final = re.compile(r"\(?([0-9A-Fa-f]{4}),?([0-9A-Fa-f]{4})\)?")
_COUNT: Final = re.compile(r"[0-9]{1,18}")
_FLAGS: Final = ("fuzzymatching", "emptyvaluematching", "multiplevaluematching")
SILENT: Final = frozenset(("accept", "charset", "_"))
_SPECIFIC_CHARACTER_SET: Final = 0x00080005
_NEVER_MATCHED: Final = frozenset(((_SPECIFIC_CHARACTER_SET,), (0x00080056,), (0x00081190,)))
_NOT_MATCHED: Final = frozenset(("OB", "OD", "OF", "OL", "OV", "OW", "SQ"))
_MOST: Final = 64
"""Attributes that a query may name."""

PAIRS: Final = {
    0x00080020: 0x00080030,
    0x00080021: 0x00080031,
    0x00080022: 0x00080032,
    0x00080023: 0x00080033,
    0x00080012: 0x00080013,
    0x00400244: 0x00400245,
}
"""Dates and the times that belong to them: two ranges are one span (combined matching)."""


class Level(IntEnum):
    """What is searched for."""

    STUDY = 0
    SERIES = 1
    INSTANCE = 2


@dataclass(frozen=True, slots=True)
class Combined:
    """That the moment of a date and a time attribute lies in one span."""

    date: int
    time: int
    span: Between


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked for: all ``conditions`` and ``moments`` have to hold.

    ``include`` are tags to be returned beside those that always are, ``everything`` stands for
    includefield=all; ``limit`` None is no limit. ``remarks`` say what was passed over.
    """

    conditions: tuple[Condition, ...] = ()
    moments: tuple[Combined, ...] = ()
    include: tuple[int, ...] = ()
    everything: bool = False
    limit: int | None = None
    offset: int = 0
    remarks: tuple[str, ...] = ()

    def within(self, **uids: str) -> "Query":
        """The same for one study or series: ``within(StudyInstanceUID=...)``; "" adds nothing."""
        more = tuple(
            Condition(path, "UI", wanted_of("UI", uid))
            for path, uid in ((_path(name)[0], uid) for name, uid in uids.items())
            if uid
        )
        return replace(self, conditions=(*more, *self.conditions))


def parse_query(parameters: Iterable[tuple[str, str]]) -> Query:
    """The query of a URL's parameters, already percent-decoded, in their order.

    An attribute that is named twice may fit either value. Raises BadQuery (status 400).
    """
    matches: dict[Path, tuple[str, list[str]]] = {}
    include: list[str] = []
    options: dict[str, str] = {}
    remarks: list[str] = []
    for name, value in parameters:
        if name == "includefield":
            include += [field.strip() for field in value.split(",") if field.strip()]
        elif name in (*_FLAGS, "limit", "offset"):
            options[name] = value
        elif name in SILENT:
            pass
        elif (found := _attribute(name)) is None:
            remarks.append(f"the parameter {_shown(name)} is not supported")
        else:
            matches.setdefault(found[0], (found[1], []))[1].append(_clean(value))
    if len(matches) + len(include) > _MOST:
        raise BadQuery(f"the query names more than {_MOST} attributes")
    return _query(matches, include, options, remarks)


def _query(
    matches: dict[Path, tuple[str, list[str]]],
    include: Sequence[str],
    options: dict[str, str],
    remarks: list[str],
) -> Query:
    flags = {name: _flag(name, options.get(name, "false")) for name in _FLAGS}
    for path in [path for path in matches if path in _NEVER_MATCHED]:
        remarks.append(f"{_name(path)} is not matched")
        del matches[path]
    conditions, moments = _conditions(matches, flags["fuzzymatching"], flags["emptyvaluematching"])
    fields = _fields([field for field in include if field != "all"], remarks)
    matched = [path[0] for path in matches]
    return Query(
        conditions=conditions,
        moments=moments,
        include=tuple(dict.fromkeys([*fields, *matched])),
        everything="all" in include,
        limit=_count("limit", options["limit"]) if "limit" in options else None,
        offset=_count("offset", options.get("offset", "0")),
        remarks=tuple(remarks),
    )


def _conditions(
    matches: dict[Path, tuple[str, list[str]]], fuzzy: bool, empty: bool
) -> tuple[tuple[Condition, ...], tuple[Combined, ...]]:
    conditions: dict[Path, Condition] = {}
    for path, (vr, values) in matches.items():
        each = [_wanted(path, vr, value, fuzzy, empty) for value in values]
        if all(each):
            wanted = tuple(dict.fromkeys(one for some in each for one in some))
            conditions[path] = Condition(path, vr, wanted)
    moments = []
    for date, time in PAIRS.items():
        if (date,) in conditions and (time,) in conditions:
            both = [matches[path][1] for path in ((date,), (time,))]
            span = combined(conditions[(date,)], conditions[(time,)])
            if span is not None and all(len(texts) == 1 and "-" in texts[0] for texts in both):
                moments.append(Combined(date, time, span))
                del conditions[(date,)], conditions[(time,)]
    return tuple(conditions.values()), tuple(moments)


def _wanted(path: Path, vr: str, value: str, fuzzy: bool, empty: bool) -> tuple[Wanted, ...]:
    try:
        wanted = wanted_of(vr, value, fuzzy, empty)
    except BadQuery as error:
        raise BadQuery(f"{_name(path)}: {error}") from None
    if wanted and vr in _NOT_MATCHED:
        raise BadQuery(f"{_name(path)} has VR {vr}, which cannot be matched by a value")
    return wanted


def _fields(names: Sequence[str], remarks: list[str]) -> list[int]:
    fields = []
    for name in names:
        try:
            found = _attribute(name)
        except BadQuery:
            found = None
        if found is None:
            remarks.append(f"includefield {_shown(name)} is not known")
        else:
            fields.append(found[0][0])
    return fields


def _attribute(name: str) -> tuple[Path, str] | None:
    """The path and VR that a parameter's name stands for; None where it is no attribute's."""
    named = name[:1].isupper() or name[:1].isdigit() or name.startswith("(")
    return _path(name) if named or _TAG.fullmatch(name.split(".")[0]) else None


@lru_cache(maxsize=4096)
def _known(name: str) -> tuple[int, str] | None:
    from pydicom.datadict import dictionary_VR, tag_for_keyword

    found = _TAG.fullmatch(name)
    tag = int(found[1] + found[2], 16) if found else tag_for_keyword(name)
    if tag is None:
        return None
    try:
        vr = dictionary_VR(tag)
    except KeyError:
        return tag, "UN"
    return tag, vr.split(" ")[0]


def _path(name: str) -> tuple[Path, str]:
    tags: list[int] = []
    vr = "SQ"
    for part in name.split("."):
        known = _known(part) if len(part) <= _MOST else None
        if known is None:
            raise BadQuery(f"{_shown(part)} is no DICOM attribute{_meant(part)}")
        if vr not in ("SQ", "UN"):
            raise BadQuery(f"{_shown(name)}: what stands before {part} is no sequence")
        tags.append(known[0])
        vr = known[1]
    return tuple(tags), vr


def _meant(keyword: str) -> str:
    from pydicom.datadict import keyword_dict

    near = get_close_matches(keyword, keyword_dict, 1, 0.8) if len(keyword) <= _MOST else []
    return f"; did you mean {near[0]}?" if near else ": write a keyword, or a tag as GGGGEEEE"


def _flag(name: str, value: str) -> bool:
    if value.lower() not in ("true", "false", ""):
        raise BadQuery(f"{name} is true or false, not {_shown(value)}")
    return value.lower() == "true"


def _count(name: str, value: str) -> int:
    if not _COUNT.fullmatch(value.strip()):
        raise BadQuery(f"{name} is a number from 0 on, not {_shown(value)}")
    return int(value)


def _clean(value: str) -> str:
    """Without what no database takes: NUL, and halves of surrogate pairs."""
    return value.replace("\0", "").encode("utf-8", "replace").decode()


def _shown(text: str) -> str:
    return repr(text if len(text) <= _MOST else text[:_MOST] + "…")


def _name(path: Path) -> str:
    from pydicom.datadict import keyword_for_tag

    return ".".join(keyword_for_tag(tag) or f"{tag:08X}" for tag in path)
