"""The value of an element as text, in its Specific Character Set (PS3.5 6.1, 6.2).

Text that is damaged, or in an unknown character set, is read as Latin-1: never an error.
"""

import re
from collections.abc import Callable
from struct import Struct
from typing import Final

from gateway.value_representation import NUMBERS, ONE_VALUE

_BYTES: Final = frozenset(("OB", "OD", "OF", "OL", "OV", "OW", "SQ"))
_UNPRINTABLE: Final = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")


def text_of(vr: str, value: bytes, little: bool = True, charsets: bytes = b"") -> str:
    """An element's value as text: values joined by a backslash, padding removed.

    Numbers are decimal, AT is GGGGEEEE in hexadecimal; bytes and sequences are "", and so is UN
    that is no printable text. ``charsets`` is the value of (0008,0005).
    """
    if vr in NUMBERS:
        return _numbers(NUMBERS[vr], value, little)
    if vr == "AT":
        words = [
            word for (word,) in Struct("<H" if little else ">H").iter_unpack(_whole(value, 4))
        ]
        pairs = zip(words[::2], words[1::2], strict=True)
        return "\\".join(f"{group:04X}{number:04X}" for group, number in pairs)
    value = value.rstrip(b" \0")
    if vr in _BYTES or (vr in ("", "UN") and not printable(value)):
        return ""
    text = decoded(value, charsets)
    if vr in ONE_VALUE:
        return text
    if "\\" not in text:
        return text.strip(" \0")
    return "\\".join(part.strip(" \0") for part in text.split("\\"))


def decoded(value: bytes, charsets: bytes = b"") -> str:
    """The characters of a value, its delimiters and padding among them (6.1.2.3)."""
    return value.decode() if is_plain(value) else _decode(value, charsets, _lenient)


def printable(value: bytes) -> bool:
    """Whether a value can be text: it has no control characters but those that text may have."""
    return _UNPRINTABLE.search(value) is None


def _whole(value: bytes, size: int) -> bytes:
    return value[: len(value) // size * size]


def _numbers(code: str, value: bytes, little: bool) -> str:
    struct = Struct(("<" if little else ">") + code)
    numbers = (number for (number,) in struct.iter_unpack(_whole(value, struct.size)))
    if code == "f":
        return "\\".join(f"{number:.9g}" if number % 1 else f"{number:.17g}" for number in numbers)
    return "\\".join(f"{number!r}".removesuffix(".0") for number in numbers)


def decoded_exactly(value: bytes, charsets: bytes = b"") -> str:
    """As ``decoded``. Raises ValueError where the character sets give some bytes no meaning."""
    return value.decode() if is_plain(value) else _decode(value, charsets, _exact)


def terms_of(charsets: bytes) -> list[str]:
    """The defined terms of a value of Specific Character Set (0008,0005)."""
    return [term.strip() for term in charsets.decode("latin-1").rstrip("\0").split("\\")]


def is_plain(value: bytes) -> bool:
    """Whether a value reads the same in every character set: ASCII without escape sequences."""
    return value.isascii() and b"\x1b" not in value


def _decode(value: bytes, charsets: bytes, read: Callable[[bytes, str], str]) -> str:
    """Text outside ASCII, with code extensions where it has escape sequences (6.1.2.5)."""
    from pydicom.charset import python_encoding

    first = python_encoding.get(terms_of(charsets)[0], "")
    if b"\x1b" not in value:
        return read(value, first)
    plain, *escaped = value.split(b"\x1b")
    return read(plain, first) + "".join(_extension(b"\x1b" + part, read) for part in escaped)


def _extension(fragment: bytes, read: Callable[[bytes, str], str]) -> str:
    """A fragment of text that begins with the escape sequence of its character set."""
    from pydicom.charset import CODES_TO_ENCODINGS, handled_encodings

    for code, encoding in CODES_TO_ENCODINGS.items():
        if fragment.startswith(code):
            keep = encoding.startswith("iso2022") and encoding in handled_encodings
            return read(fragment if keep else fragment[len(code) :], encoding)
    return read(fragment, "")


def _lenient(value: bytes, encoding: str) -> str:
    try:
        return value.decode(encoding)
    except (UnicodeDecodeError, LookupError):
        return value.decode("latin-1")


def _exact(value: bytes, encoding: str) -> str:
    """ "iso8859" is pydicom's word for the default repertoire, which is ASCII (6.1.2.1)."""
    try:
        return value.decode("ascii" if encoding in ("", "iso8859") else encoding)
    except (UnicodeDecodeError, LookupError):
        raise ValueError("bytes that Specific Character Set gives no meaning") from None
