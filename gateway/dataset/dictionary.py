"""The VR of an element whose head has none, by the data dictionaries (PS3.6, private ones).

pydicom's dictionaries are read on first use only.
"""

from functools import cache, lru_cache


@cache
def vr_of(tag: int) -> str:
    """The VR of a standard element, e.g. "CS", "US or SS"; "UN" where it is unknown.

    Repeating groups (50xx, 60xx) are known; group lengths are UL (PS3.5 Section 7.2).
    """
    from pydicom.datadict import dictionary_VR

    if tag & 0xFFFF == 0:
        return "UL"
    try:
        return dictionary_VR(tag)
    except KeyError:
        return "UN"


@lru_cache(maxsize=65536)
def private_vr_of(tag: int, creator: str) -> str:
    """The VR of a private element by its creator, "UN" where either is unknown (PS3.5 7.8.1)."""
    from pydicom.datadict import private_dictionary_VR

    number = tag & 0xFFFF
    if 0x10 <= number <= 0xFF:
        return "LO"
    if number < 0x10:
        return vr_of(tag) if number == 0 else "UN"
    try:
        return private_dictionary_VR(tag, creator).replace("_", " or ")
    except KeyError:
        return "UN"
