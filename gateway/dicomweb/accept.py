"""What a client can take: the Accept header, the ``accept`` parameter (PS3.18 8.3.3, 8.7).

Clients quote or do not quote, send lists, many headers, ``q``, ``*`` for ``*/*``, and headers that
contradict the query parameter, which then counts alone.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from gateway.dicomweb.media_types import ANYTHING, OLD_NAMES, parameters_of, pieces_of

_NO_PARAMETERS: Final[Mapping[str, str]] = MappingProxyType({})
_LOST_PLUS: Final = re.compile(r"(?<=\w) (?=\w)")
MOST: Final = 100
"""Alternatives that are looked at."""
_REMEMBERED: Final = 128
"""Headers whose meaning is remembered: a client sends the same one with every request."""


@dataclass(frozen=True, slots=True)
class MediaRange:
    """One alternative of an Accept header.

    ``type`` is what the whole body may be, such as "multipart/related" or "*/*"; ``part`` what
    each part of a multipart body may be, "" where nothing is said. ``transfer_syntax`` is a UID,
    "*" for the stored one, or "" where nothing is said. ``q`` is 0 for what is refused.
    ``parameters`` are all others, by lower-case name.
    """

    type: str
    part: str = ""
    transfer_syntax: str = ""
    q: float = 1.0
    parameters: Mapping[str, str] = field(default_factory=lambda: _NO_PARAMETERS, hash=False)

    def covers(self, media_type: str) -> bool:
        """Whether a body of ``media_type`` is meant, as such or by a wildcard."""
        return _covers(self.type, media_type)

    def covers_part(self, media_type: str) -> bool:
        """Whether parts of ``media_type`` are meant; a multipart that names none means any."""
        return self.type.startswith("multipart/") and _covers(self.part or ANYTHING, media_type)


EVERYTHING: Final = MediaRange(ANYTHING)


def parse_accept(values: Sequence[str], query: str | None = None) -> tuple[MediaRange, ...]:
    """The alternatives, best first: by q, then as they stand; ``*/*`` where nothing is said.

    ``values`` are the Accept headers, ``query`` the ``accept`` parameter (decoded), which counts
    alone where it names anything. Those with q=0 stand last: they are refused.
    """
    return _parsed(tuple(values), query)


@lru_cache(_REMEMBERED)
def _parsed(values: tuple[str, ...], query: str | None) -> tuple[MediaRange, ...]:
    asked = _ranges(_LOST_PLUS.sub("+", query)) if query else []
    ranges = asked or [found for value in values for found in _ranges(value)]
    return tuple(sorted(ranges[:MOST], key=lambda found: -found.q)) or (EVERYTHING,)


def best_of(ranges: Sequence[MediaRange], offers: Sequence[str]) -> str | None:
    """That of the media types ``offers`` which the client likes best, None where it takes none.

    For bodies that are no multipart. Of equals the one the client names first counts, then the
    first of the offers. The most specific range decides on an offer (RFC 9110 12.5.1).
    """
    rated = [(*_rating(ranges, offer), -place, offer) for place, offer in enumerate(offers)]
    quality, _, _, best = max(rated, default=(0.0, 0, 0, ""))
    return best if quality > 0 else None


def _rating(ranges: Sequence[MediaRange], offer: str) -> tuple[float, int]:
    """(quality, minus the place in the client's list) of the most specific range."""
    matching = [
        (_specific(found.type), found.q, -place)
        for place, found in enumerate(ranges)
        if found.covers(offer)
    ]
    _, quality, place = max(matching, default=(0, 0.0, 0))
    return quality, place


def _specific(media_range: str) -> int:
    return 0 if media_range == ANYTHING else 1 if media_range.endswith("/*") else 2


def _covers(pattern: str, media_type: str) -> bool:
    if pattern in (ANYTHING, media_type.lower()):
        return True
    return pattern.endswith("/*") and media_type.lower().startswith(pattern[:-1])


def _ranges(text: str) -> list[MediaRange]:
    return [_range(piece) for piece in pieces_of(text, ",")]


def _range(text: str) -> MediaRange:
    first, *rest = list(pieces_of(text, ";")) or [ANYTHING]
    parameters = parameters_of(rest)
    return MediaRange(
        type=_named(first),
        part=_named(parameters.pop("type")) if "type" in parameters else "",
        transfer_syntax=parameters.pop("transfer-syntax", ""),
        q=_quality(parameters.pop("q", "")),
        parameters=MappingProxyType(parameters),
    )


def _named(text: str) -> str:
    """A media range in lower case and by today's name; "*" stands for "*/*" (some clients)."""
    text = text.strip(" '\"").lower()
    return ANYTHING if text == "*" else OLD_NAMES.get(text, text)


def _quality(text: str) -> float:
    """0 to 1; 1 where nothing sensible is said."""
    try:
        quality = float(text)
    except ValueError:
        return 1.0
    return min(max(quality, 0.0), 1.0) if quality == quality else 1.0
