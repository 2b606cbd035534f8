"""Text written in a Specific Character Set, exactly or not at all (PS3.5 6.1).

What none of the character sets can write is an error, never a question mark.
"""

import re
import warnings
from typing import Final

from gateway.dataset.text import decoded, is_plain, terms_of

_BREAKS: Final = {
    "PN": re.compile(r"([\\^=\r\n\f\t]+)"),
    "LT": re.compile(r"([\r\n\f\t]+)"),
    "ST": re.compile(r"([\r\n\f\t]+)"),
    "UT": re.compile(r"([\r\n\f\t]+)"),
}
"""Where a text returns to its first character set, by VR (6.1.2.5.3)."""
_BREAKS_OF_VALUES: Final = re.compile(r"([\\\r\n\f\t]+)")
_ASCII_AGAIN: Final = b"(B"
_DEFAULT: Final = ("iso8859", "ascii")
CANNOT: Final = "a character that Specific Character Set cannot write"
_ALONE: Final = frozenset(("ISO_IR 192", "GB18030", "GBK"))


def encoded(text: str, charsets: bytes, vr: str = "LO") -> bytes:
    """The bytes of a text, its delimiters among them, without padding.

    ``charsets`` is the value of (0008,0005). Raises ValueError, which quotes nothing of the text.
    """
    if text.isascii():
        return text.encode()
    encodings = _encodings(charsets)
    parts = _BREAKS.get(vr, _BREAKS_OF_VALUES).split(text)
    value = b"".join(_part(part, encodings) for part in parts)
    if decoded(value, charsets) != text:
        raise ValueError(CANNOT)
    return value


def _encodings(charsets: bytes) -> list[str]:
    """Python's names of the character sets, the first that of text without escape sequences."""
    from pydicom.charset import python_encoding

    terms = terms_of(charsets)
    if unknown := [term for term in terms if term not in python_encoding]:
        raise ValueError(f"Specific Character Set is {unknown[0]!a}, which is unknown here")
    return [python_encoding[term] for term in (terms[:1] if terms[0] in _ALONE else terms)]


def _part(text: str, encodings: list[str]) -> bytes:
    """A stretch without delimiters, by code extensions where there are several encodings."""
    from pydicom.charset import encode_string

    if text.isascii():
        return text.encode()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            value = encode_string(text, encodings)
        except (UserWarning, ValueError, LookupError):
            raise ValueError(CANNOT) from None
    if encodings[0] in _DEFAULT and not _escaped(value):
        raise ValueError(CANNOT)
    return value


def _escaped(value: bytes) -> bool:
    """Whether all that is no ASCII stands behind the escape sequence of another set."""
    plain, *rest = value.split(b"\x1b")
    return plain.isascii() and all(
        is_plain(part) for part in rest if part.startswith(_ASCII_AGAIN)
    )
