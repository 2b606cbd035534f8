"""The data set around Pixel Data, as it goes out: copied but for what changes, or re-encoded."""

from struct import pack
from typing import Any

from gateway.dataset.rewrite import rewrite
from gateway.transcode.image_pixel import Changes
from gateway.transcode.source import Source
from gateway.transfer_syntax import TransferSyntax


def data_set_part(
    source: Source, start: int, end: int, target: TransferSyntax, changes: Changes
) -> list[Any]:
    """[start, end) of the data set in the target's encoding; the bytes themselves if equal."""
    same = source.syntax.explicit == target.explicit
    if not same or source.syntax.little_endian != target.little_endian:
        return list(rewrite(source.data, start, end, source.syntax, target, changes))
    due = {tag: value for tag, value in changes.items() if value or tag in source.found}
    if not due:
        return [memoryview(source.data)[start:end]] if end > start else []
    first, last = _concerned(source, start, end, due)
    view = memoryview(source.data)
    parts = rewrite(source.data, first, last, source.syntax, target, due)
    return [each for each in (view[start:first], *parts, view[last:end]) if each]


def _concerned(source: Source, start: int, end: int, changes: Changes) -> tuple[int, int]:
    """What of [start, end) holds the groups from the lowest to the highest that is changed.

    All of it where one of these two does not stand there, or where some head has no VR.
    """
    least, most = min(changes) >> 16, max(changes) >> 16
    inside = [one for one in source.found.values() if start <= one.start < end]
    within = [one for one in inside if least <= one.tag >> 16 <= most]
    known = {one.tag >> 16 for one in within} >= {least, most}
    if not known or not all(one.vr for one in inside):
        return start, end
    return min(one.start for one in within), max(one.end for one in within)


def pixel_head(vr: str, length: int, target: TransferSyntax) -> bytes:
    """The head of Pixel Data (7FE0,0010), PS3.5 7.1."""
    if not target.explicit:
        return pack("<HHI", 0x7FE0, 0x0010, length)
    order = "<" if target.little_endian else ">"
    return pack(f"{order}HH2sHI", 0x7FE0, 0x0010, vr.encode(), 0, length)
