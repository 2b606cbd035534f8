"""JPEG-LS of less than 8 bits as old encoders write it (ISO/IEC 14495-1 C.2.4.1.1).

CharLS 1, which is in DCMTK, took other thresholds for MAXVAL below 128 than the standard's
default ones, and did not say so in the stream. A decoder with the wrong ones loses its way, which
most often shows at the latest where the data end; in a picture of a few hundred pixels it may
not. So both are tried, and a stream that has two meanings is refused.
"""

from collections.abc import Callable
from struct import pack
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from gateway.failures import PermanentFailure

if TYPE_CHECKING:
    from gateway.transcode.form import Samples

OLD: Final = (
    "JPEG-LS of less than 8 bits, decoded with the thresholds of CharLS 1 (DCMTK), which differ "
    "from the standard's default ones and do not stand in the codestream"
)
_SOS, _SOF, _LSE = 0xDA, 0xF7, 0xF8
_PRESETS: Final = 1
_BASIC: Final = (3, 7, 21)
_RESET: Final = 64


def decode_either(frame: Any, decode: Callable[[Any], "Samples"], notes: list[str]) -> "Samples":
    """The samples of a JPEG-LS codestream; a note where the old thresholds were needed.

    Raises PermanentFailure where both kinds of thresholds give a picture, and not the same, and
    whatever ``decode`` raises for the standard's where neither does.
    """
    older = with_old_presets(bytes(frame))
    if not older:
        return decode(frame)
    other = _tried(decode, older)
    try:
        samples = decode(frame)
    except MemoryError:
        raise
    except Exception:
        if other is None:
            raise
        if OLD not in notes:
            notes.append(OLD)
        return other
    if other is not None and not np.array_equal(samples, other):
        raise PermanentFailure(
            "the JPEG-LS codestream of less than 8 bits gives one picture with the default "
            "thresholds and another with those of CharLS 1 (DCMTK), and does not say which "
            "it was made with; ask the sender for it uncompressed"
        )
    return samples


def _tried(decode: Callable[[Any], "Samples"], stream: bytes) -> "Samples | None":
    try:
        return decode(stream)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - the other thresholds are the likelier ones
        return None


def with_old_presets(stream: bytes) -> bytes:
    """The stream with the thresholds of CharLS 1 in it; none where they make no difference.

    Raises IndexError for a stream without a scan.
    """
    at, bits = 2, 8
    while stream[at + 1] != _SOS:
        if stream[at + 1] == 0xFF:
            at += 1
            continue
        if stream[at + 1] == _LSE and stream[at + 4] == _PRESETS:
            return b""
        if stream[at + 1] == _SOF:
            bits = stream[at + 4]
        at += 2 + int.from_bytes(stream[at + 2 : at + 4], "big")
    if bits >= 8:
        return b""
    near, most = stream[at + 5 + 2 * stream[at + 4]], (1 << bits) - 1
    old = _within((2 + 3 * near, 3 + 5 * near, 4 + 7 * near), near, most)
    if old == _within(_defaults(near, most), near, most):
        return b""
    preset = pack(">BBHB5H", 0xFF, _LSE, 13, 1, most, *old, _RESET)
    return stream[:at] + preset + stream[at:]


def _defaults(near: int, most: int) -> tuple[int, ...]:
    """T1, T2, T3 of the standard for MAXVAL below 128."""
    factor = 256 // (most + 1)
    return tuple(
        max(least, basic // factor + by * near)
        for least, basic, by in zip((2, 3, 4), _BASIC, (3, 5, 7), strict=True)
    )


def _within(thresholds: tuple[int, ...], near: int, most: int) -> tuple[int, ...]:
    """Each not below the one before, nor above MAXVAL."""
    found, least = [], near + 1
    for each in thresholds:
        least = each if least <= each <= most else least
        found.append(least)
    return tuple(found)
