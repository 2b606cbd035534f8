"""Which representation a client gets, by what it accepts and how the instance is stored.

PS3.18 8.7.3: what says nothing of a transfer syntax gets Explicit VR Little Endian, and what
cannot be decoded as it is stored. ``transfer-syntax=*`` means as stored. Nothing is compressed
here: a compressed transfer syntax can be had where it is the stored one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

from gateway.dicomweb.accept import MediaRange
from gateway.dicomweb.media_types import ANYTHING, DICOM, MULTIPART, OCTET_STREAM, of_frames
from gateway.model import UID, Instance
from gateway.transfer_syntax import BY_UID, EXPLICIT_BE, EXPLICIT_LE, NATIVE

AS_STORED: Final = "*"


@dataclass(frozen=True, slots=True)
class Option:
    """One way to answer: ``target`` is a native transfer syntax, or "*" for as stored.

    ``multipart`` says whether the body is multipart/related, of parts like this one.
    """

    multipart: bool
    target: UID


class Held(NamedTuple):
    """How an instance is stored, as far as it decides; ``mislabelled`` as in ``Instance``."""

    transfer_syntax: UID
    mislabelled: bool


def held_as(instance: Instance) -> Held:
    """That of an instance."""
    return Held(instance.transfer_syntax, instance.mislabelled)


def instance_options(ranges: Sequence[MediaRange], held: Held) -> tuple[Option, ...]:
    """The ways to answer with whole instances, the client's best first; each once."""
    found: dict[Option, None] = {}
    for wanted in ranges:
        if not wanted.q:
            continue
        for multipart in _forms(wanted, DICOM):
            for target in _targets(wanted.transfer_syntax, held):
                found.setdefault(Option(multipart, target))
    return tuple(found)


@lru_cache(128)
def frame_options(ranges: tuple[MediaRange, ...], held: Held, single: bool) -> tuple[Option, ...]:
    """The ways to answer with frames; ``single``: it is one, so that no multipart is needed.

    Frames as stored bear the media type of their coding; application/octet-stream with
    ``transfer-syntax=*`` means as stored whatever that is (clients rely on it). Uncompressed
    frames are application/octet-stream, little endian.
    """
    found: dict[Option, None] = {}
    for wanted in ranges:
        if not wanted.q:
            continue
        for target in _frame_targets(wanted, held):
            media_type = of_frames(held.transfer_syntax) if target == AS_STORED else OCTET_STREAM
            for multipart in _forms(_without_octets(wanted, target, media_type), media_type):
                if multipart or single:
                    found.setdefault(Option(multipart, target))
    return tuple(found)


def decodable(stored: UID) -> bool:
    """Whether instances of a transfer syntax can be decoded at all: known, and no video."""
    return stored in BY_UID and not BY_UID[stored].video


def possible(held: Held, media_type: str) -> str:
    """What can be had of an instance, for the text of a refusal."""
    stored = held.transfer_syntax
    syntaxes = [] if held.mislabelled else [stored]
    if decodable(stored):
        syntaxes += [uid for uid in NATIVE if uid not in syntaxes]
    names = " or ".join(syntaxes)
    return (
        f'multipart/related; type="{media_type}"; transfer-syntax={names}, '
        "or transfer-syntax=* for the stored one"
    )


def _forms(wanted: MediaRange, media_type: str) -> Iterator[bool]:
    """Whether a multipart body, a body that is one part, or first the one and then the other."""
    if wanted.covers_part(media_type) or wanted.type == ANYTHING:
        yield True
    if wanted.covers(media_type):
        yield False


def _targets(asked: str, held: Held) -> Iterator[UID]:
    stored = held.transfer_syntax
    if asked == AS_STORED or (asked == stored and not held.mislabelled):
        yield AS_STORED
    elif not asked:
        yield from _default(held)
    elif asked in NATIVE and decodable(stored):
        yield asked


def _default(held: Held) -> Iterator[UID]:
    """Uncompressed, and as stored for what turns out not to be decodable: whoever gets that reads
    so in its transfer syntax, unless that is not true of it.
    """
    stored = held.transfer_syntax
    if held.mislabelled or (decodable(stored) and stored != EXPLICIT_LE):
        yield EXPLICIT_LE
    if not held.mislabelled:
        yield AS_STORED


def _frame_targets(wanted: MediaRange, held: Held) -> Iterator[UID]:
    syntax = BY_UID.get(held.transfer_syntax)
    asked, part = wanted.transfer_syntax, wanted.part or wanted.type
    if asked == EXPLICIT_BE:
        return
    if syntax is None or not syntax.encapsulated or held.mislabelled:
        if asked in ("", AS_STORED, *NATIVE):
            yield asked if asked in NATIVE else EXPLICIT_LE
    elif not asked and part not in (ANYTHING, MULTIPART, "multipart/*"):
        yield EXPLICIT_LE if MediaRange(part).covers(OCTET_STREAM) else AS_STORED
    else:
        yield from _targets(asked, held)


def _without_octets(wanted: MediaRange, target: UID, media_type: str) -> MediaRange:
    """Where octets were asked for and stored frames are meant, those of the true media type."""
    if target != AS_STORED:
        return wanted
    if wanted.type == OCTET_STREAM:
        return MediaRange(media_type.lower())
    if wanted.part == OCTET_STREAM:
        return MediaRange(wanted.type, media_type.lower())
    return wanted
