"""New texts of attributes as the bytes of a data set in its own character set (PS3.5 §6.1)."""

from collections.abc import Mapping
from typing import Final

from gateway.dataset.encode_values import value_bytes
from gateway.dataset.rewrite import NewValue
from gateway.failures import PermanentFailure
from gateway.value_representation import ONE_VALUE

_TEXTS: Final = frozenset(("LO", "LT", "PN", "SH", "ST", "UC", "UT"))


def new_value(vr: str, text: str, charsets: str) -> NewValue:
    """An element's value for ``rewrite``: numbers in little endian, text in ``charsets``.

    ``charsets`` is the value of Specific Character Set. Raises PermanentFailure where the VR
    cannot hold the text, or the character set has not all of its characters.
    """
    values = [text] if vr in ONE_VALUE else text.split("\\")
    try:
        encoded = value_bytes(vr, values if text else [])
    except (ValueError, TypeError) as error:
        raise PermanentFailure(f"tags: a value of VR {vr} cannot be written: {error}") from error
    if vr in _TEXTS and not encoded.isascii():
        encoded = _recoded(encoded.decode(), charsets)
    return NewValue(vr, encoded)


def new_values(
    texts: Mapping[int, tuple[str, str] | None], charsets: str
) -> dict[int, NewValue | None]:
    """As ``new_value``, of several: tag -> (VR, text), None to leave the element out."""
    return {
        tag: None if each is None else new_value(*each, charsets) for tag, each in texts.items()
    }


def _recoded(text: str, charsets: str) -> bytes:
    """Text in the first character set, which code extensions leave the default (6.1.2.5)."""
    from pydicom.charset import python_encoding

    first = charsets.split("\\")[0].strip() or "ISO_IR 6"
    try:
        return text.encode("ascii" if first == "ISO_IR 6" else python_encoding[first])
    except (KeyError, UnicodeEncodeError, LookupError):
        raise PermanentFailure(
            f"tags: the data set's character set ({first}) lacks a character of the"
            " new value; change the value in the route's tags"
        ) from None
