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
    first = _first_concerned(source, start, end, due) if due else end
    parts: list[Any] = [memoryview(source.data)[start:first]] if first > start else []
    if due:
        parts += rewrite(source.data, first, end, source.syntax, target, due)
    return parts


def _first_concerned(source: Source, start: int, end: int, changes: Changes) -> int:
    """Where the lowest group that is changed begins, if only whole heads stand before it."""
    group = min(changes) >> 16
    for element in source.found.values():
        if start <= element.start < end:
            if not element.vr:
                break
            if element.tag >> 16 == group:
                return element.start
    return start


def pixel_head(vr: str, length: int, target: TransferSyntax) -> bytes:
    """The head of Pixel Data (7FE0,0010), PS3.5 7.1."""
    if not target.explicit:
        return pack("<HHI", 0x7FE0, 0x0010, length)
    order = "<" if target.little_endian else ">"
    return pack(f"{order}HH2sHI", 0x7FE0, 0x0010, vr.encode(), 0, length)
