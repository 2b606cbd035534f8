"""JPEG-LS of less than 8 bits as old encoders write it (ISO/IEC 14495-1 C.2.4.1.1).

CharLS 1, which is in DCMTK, took other thresholds for MAXVAL below 128 than the standard's
default ones, and did not say so in the stream. A decoder that keeps to the standard loses its way
in such a stream, and decodes it once the thresholds stand in it.
"""

from struct import pack
from typing import Final

_SOS, _LSE = 0xDA, 0xF8
_RESET: Final = 64


def with_old_presets(stream: bytes) -> bytes:
    """The stream with the thresholds of CharLS 1 in it; none where it has its own, or 8 bits.

    Raises IndexError for a stream without a scan.
    """
    at, bits = 2, 8
    while stream[at + 1] != _SOS:
        if stream[at + 1] == _LSE:
            return b""
        if stream[at + 1] == 0xF7:
            bits = stream[at + 4]
        at += 2 + int.from_bytes(stream[at + 2 : at + 4], "big")
    if bits >= 8:
        return b""
    near, most = stream[at + 5 + 2 * stream[at + 4]], (1 << bits) - 1
    thresholds = (2 + 3 * near, 3 + 5 * near, 4 + 7 * near)
    preset = pack(">BBHB5H", 0xFF, _LSE, 13, 1, most, *thresholds, _RESET)
    return stream[:at] + preset + stream[at:]
