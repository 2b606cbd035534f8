"""Which fragments make up which frame (PS3.5 A.4).

By the Extended Offset Table, the Basic Offset Table, one fragment per frame, then the markers
with which codestreams start and end. A table that contradicts the fragments is set aside, never
followed; the count found must equal Number of Frames.
"""

import itertools
from bisect import bisect_left
from collections.abc import Sequence
from struct import unpack
from typing import Any, TypeAlias

from gateway.failures import PermanentFailure
from gateway.transcode.codestream import PADDING, TAIL

Span: TypeAlias = tuple[int, int]
"""(offset, length) of a run of bytes in the source file."""

Frame: TypeAlias = tuple[Span, ...]
"""The fragments of one frame, in order."""

MAX_FRAMES = 100_000
_STARTS = (b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b"\x00\x00\x00\x0cjP  ")
_WITHOUT_END = (b"\xff\x0a", b"\x00\x00\x00\x0cJXL ")
_END = b"\xff\xd9"
_HEAD = 64
"""Bytes that tell where an RLE frame starts; the others need fewer."""
_PIECE = 4096
"""Bytes that are looked at together for the end of padding."""


def split_frames(
    data: Any,
    fragments: Sequence[Span],
    number_of_frames: int,
    extended: tuple[bytes, bytes] | None = None,
) -> list[Frame]:
    """The frames of an encapsulated Pixel Data element.

    ``fragments`` as (offset, length), the Basic Offset Table first; ``extended`` the values of
    Extended Offset Table and its Lengths. Raises PermanentFailure when the count differs from
    ``number_of_frames``.
    """
    if not 1 <= number_of_frames <= MAX_FRAMES:
        raise PermanentFailure(
            f"Number of Frames is {number_of_frames}; 1 to {MAX_FRAMES} are decoded here"
        )
    table, bodies = fragments[0], [span for span in fragments[1:] if span[1]]
    if number_of_frames == 1 and len(bodies) == 1:
        return [(bodies[0],)]
    if not bodies:
        raise PermanentFailure("Pixel Data holds no fragment with content")
    frames = (
        _by_extended(fragments, number_of_frames, extended)
        or _by_basic(data, table, fragments, number_of_frames)
        or _by_count(bodies, number_of_frames)
        or _by_markers(data, bodies)
    )
    if len(frames) != number_of_frames:
        raise PermanentFailure(
            f"Pixel Data holds {len(frames)} frames in {len(bodies)} fragments, "
            f"Number of Frames says {number_of_frames}"
        )
    return frames


def split_collections(data: Any, fragments: Sequence[Span]) -> list[Frame]:
    """The codestreams of an element in which each may hold several frames (PS3.5 A.4.4).

    By the Basic Offset Table where it fits, else by the codestreams' markers.
    """
    bodies = [span for span in fragments[1:] if span[1]]
    if not bodies:
        raise PermanentFailure("Pixel Data holds no fragment with content")
    count = fragments[0][1] // 4
    return (count and _by_basic(data, fragments[0], fragments, count)) or _by_markers(data, bodies)


def join(data: Any, frame: Frame) -> Any:
    """One frame's codestream: a slice of ``data`` where it is one fragment, else a copy."""
    if len(frame) == 1:
        start, length = frame[0]
        return data[start : start + length]
    return b"".join(data[start : start + length] for start, length in frame)


def _by_extended(
    fragments: Sequence[Span], count: int, extended: tuple[bytes, bytes] | None
) -> list[Frame] | None:
    if extended is None or len(extended[0]) != 8 * count or len(extended[1]) != 8 * count:
        return None
    offsets = unpack(f"<{count}Q", extended[0])
    lengths = unpack(f"<{count}Q", extended[1])
    frames = _grouped(fragments, offsets)
    if frames is None:
        return None
    cut = [_cut(frame, length) for frame, length in zip(frames, lengths, strict=True)]
    return None if any(frame is None for frame in cut) else [frame for frame in cut if frame]


def _cut(frame: Frame, length: int) -> Frame | None:
    """``frame`` without padding; None where ``length`` says more bytes than there are."""
    whole = sum(size for _, size in frame)
    if not whole - 1 <= length <= whole:
        return None
    start, size = frame[-1]
    return (*frame[:-1], (start, size - (whole - length)))


def _by_basic(data: Any, table: Span, fragments: Sequence[Span], count: int) -> list[Frame] | None:
    start, length = table
    if length != 4 * count:
        return None
    return _grouped(fragments, unpack(f"<{count}I", bytes(data[start : start + length])))


def _grouped(fragments: Sequence[Span], offsets: Sequence[int]) -> list[Frame] | None:
    """The fragments grouped at ``offsets``; None unless each offset is the start of an item."""
    bodies = fragments[1:]
    origin = bodies[0][0] - 8
    starts = [offset - 8 - origin for offset, _ in bodies]
    if offsets[0] != 0 or any(a >= b for a, b in itertools.pairwise(offsets)):
        return None
    firsts = [bisect_left(starts, offset) for offset in offsets]
    if any(
        first == len(starts) or starts[first] != offset
        for first, offset in zip(firsts, offsets, strict=True)
    ):
        return None
    bounds = [*firsts, len(bodies)]
    frames = [
        tuple(span for span in bodies[a:b] if span[1]) for a, b in itertools.pairwise(bounds)
    ]
    return frames if all(frames) else None


def _by_count(bodies: Sequence[Span], count: int) -> list[Frame] | None:
    return [(span,) for span in bodies] if len(bodies) == count else None


def _by_markers(data: Any, bodies: Sequence[Span]) -> list[Frame]:
    """A frame starts where a codestream starts, if what went before has come to its end.

    JPEG XL and RLE have no end marker: their frames start like the first one.
    """
    frames: list[list[Span]] = []
    first = bytes(data[bodies[0][0] : bodies[0][0] + _HEAD])
    for start, length in bodies:
        head = bytes(data[start : start + min(length, _HEAD)])
        if not frames or (
            _starts_like(first, head) and (not _marked(first) or _END in _tail(data, frames[-1]))
        ):
            frames.append([])
        frames[-1].append((start, length))
    return [tuple(frame) for frame in frames]


def _tail(data: Any, frame: Sequence[Span]) -> bytes:
    """The last bytes of a frame before the padding of any length that fragments may end with."""
    tail = b""
    for start, length in reversed(frame):
        at = start + length
        while at > start and len(tail) < TAIL:
            begin = max(start, at - _PIECE)
            tail = (bytes(data[begin:at]) + tail).rstrip(PADDING)
            at = begin
    return tail[-TAIL:]


def _marked(head: bytes) -> bool:
    """The codestream that starts so ends with a marker."""
    return head.startswith(_STARTS)


def _starts_like(first: bytes, head: bytes) -> bool:
    """Whether ``head`` starts a codestream of the kind that the one of ``first`` is."""
    if _marked(first):
        return _marked(head)
    for start in _WITHOUT_END:
        if first.startswith(start):
            return head.startswith(start)
    return head[:8] == first[:8] and is_rle(head)


def is_rle(head: bytes) -> bool:
    """Whether 64 bytes are an RLE header (PS3.5 G.5): ascending offsets of its segments, the first
    64, then zeros.
    """
    if len(head) < _HEAD:
        return False
    count, *offsets = unpack("<16I", head)
    used, unused = offsets[:count], offsets[count:]
    return used[:1] == [_HEAD] and used == sorted(used) and not any(unused)
