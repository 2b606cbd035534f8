"""A deflated data set made plain, within limits (PS3.5 A.5, RFC 1951).

Some writers wrap the stream as zlib does (RFC 1950): such a stream is taken too.
"""

import zlib
from collections.abc import Iterator
from typing import BinaryIO, Final

from gateway.dataset.heads import DEFAULT_LIMITS, Buffer, Limits, MalformedDataSet

_STEP: Final = 65536
_FREE: Final = 1 << 20


def inflate(source: Buffer, start: int, out: BinaryIO, limits: Limits = DEFAULT_LIMITS) -> int:
    """Write the data set that is deflated in ``source`` from ``start`` on to ``out``.

    Returns its size in bytes. Never holds more than 64 KiB of it. Raises MalformedDataSet where
    the stream is broken or cut, or comes to more than ``limits`` allow.
    """
    size = 0
    for piece in inflated(source, start, limits):
        out.write(piece)
        size += len(piece)
    return size


def inflated(
    source: Buffer, start: int, limits: Limits = DEFAULT_LIMITS, step: int = _STEP
) -> Iterator[bytes]:
    """The pieces of the data set that is deflated in ``source``, each at most ``step`` bytes.

    For a whole one long steps are a tenth faster: zlib copies its window after each.
    """
    stream = zlib.decompressobj(_window_bits(bytes(source[start : start + 5])))
    made = 0
    for at in range(start, len(source), step):
        waiting = bytes(source[at : at + step])
        end, full = at + len(waiting), True
        while full:
            piece = _piece(stream, waiting, step, at)
            waiting, full = stream.unconsumed_tail, len(piece) == step
            made += len(piece)
            _check(made, end - len(waiting) - start, limits)
            if piece:
                yield piece
            if stream.eof:
                return
    raise MalformedDataSet(f"the deflated data set is cut off after {made} inflated bytes")


def _piece(stream: "zlib._Decompress", waiting: bytes, most: int, at: int) -> bytes:
    try:
        return stream.decompress(waiting, most)
    except zlib.error as error:
        raise MalformedDataSet(f"the deflated data set is broken near offset {at}") from error


def _check(made: int, taken: int, limits: Limits) -> None:
    if made > limits.inflated:
        raise MalformedDataSet(f"the data set inflates to more than {limits.inflated} bytes")
    if made > _FREE and made > limits.ratio * -(-taken // _STEP) * _STEP:
        raise MalformedDataSet(f"the data set inflates to more than {limits.ratio} times its size")


def _window_bits(first: bytes) -> int:
    """15 where a zlib head stands and no stored block of raw deflate can begin so."""
    wrapped = len(first) == 5 and first[0] & 0x0F == 8 and int.from_bytes(first[:2]) % 31 == 0
    size, complement = int.from_bytes(first[1:3]), int.from_bytes(first[3:5])
    stored = first[:1] == b"\x78" and size ^ complement == 0xFFFF
    return 15 if wrapped and not stored else -15
