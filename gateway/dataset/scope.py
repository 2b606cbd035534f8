"""What the VR of an element without one depends on, in a data set or item (PS3.5 Annex A)."""

from collections.abc import Iterable
from typing import Final

from gateway.dataset.dictionary import private_vr_of, vr_of
from gateway.dataset.elements import Element
from gateway.dataset.heads import PIXEL_DATA, UNDEFINED, Buffer, is_fragments

_BITS_ALLOCATED: Final = 0x00280100
_PIXEL_REPRESENTATION: Final = 0x00280103
_WAVEFORM_BITS_ALLOCATED: Final = 0x54001004
_WAVEFORM: Final = 0x5400
_ITEMS: Final = (b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00")
TELLING: Final = frozenset((_BITS_ALLOCATED, _PIXEL_REPRESENTATION, _WAVEFORM_BITS_ALLOCATED))
"""The elements on whose values the VRs of others depend."""


class Scope:
    """The elements seen so far that say what others are; an item's begins with its parent's."""

    __slots__ = ("_creators", "_said")

    def __init__(self, parent: "Scope | None" = None) -> None:
        self._said: dict[int, int] = dict(parent._said) if parent else {}
        self._creators: dict[int, str] = {}

    def look_ahead(self, data: Buffer, source: Iterable[Element]) -> None:
        """Learn what stands further on than some elements that depend on it."""
        for tag, _, _, value, length, _ in source:
            if tag > _PIXEL_REPRESENTATION:
                return
            if tag in TELLING:
                self.note(tag, data[value : value + length])

    def note(self, tag: int, value: Buffer, little: bool = True) -> None:
        """Remember a value that others depend on: ``tells(tag)``."""
        if tag in TELLING and len(value) == 2:
            self._said[tag] = int.from_bytes(value, "little" if little else "big")
        elif tag not in TELLING:
            creator = bytes(value[:64]).decode("latin-1").strip(" \0")
            self._creators[tag >> 8 & ~0xFF | tag & 0xFF] = creator

    def vr_of(self, data: Buffer, element: Element) -> str:
        """The VR that an element without one has by the dictionaries, and by what is known."""
        tag, _, _, value, length, _ = element
        creator = self._creators.get(tag >> 8, "")
        vr = private_vr_of(tag, creator) if tag & 0x10000 else vr_of(tag)
        if len(vr) > 2:
            vr = self.decide(tag, vr, length)
        if length == UNDEFINED:
            return vr if is_fragments(tag, vr) else "SQ"
        if vr == "SQ" and length and bytes(data[value : value + 4]) not in _ITEMS:
            return "UN"
        return vr

    def decide(self, tag: int, vr: str, length: int) -> str:
        """One of several VRs: by Pixel Representation, Bits Allocated, or the length."""
        if vr == "US or SS":
            return "SS" if self._said.get(_PIXEL_REPRESENTATION) == 1 else "US"
        if vr.startswith("US"):
            return "US" if length == 2 else "OW"
        if tag == PIXEL_DATA:
            return "OB" if self._said.get(_BITS_ALLOCATED, 16) <= 8 else "OW"
        if tag >> 16 == _WAVEFORM:
            return "OB" if self._said.get(_WAVEFORM_BITS_ALLOCATED) == 8 else "OW"
        return "OW"


def tells(tag: int) -> bool:
    """Whether the VR of other elements may depend on this one: a private creator also (7.8.1)."""
    return tag & 0x1FF00 == 0x10000 or tag in TELLING
