"""The palette colour lookup tables of a data set (PS3.3 C.7.6.3.1.5, C.7.6.3.1.6)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from gateway.failures import PermanentFailure
from gateway.transcode.image_pixel import Changes, ImagePixel, Values

if TYPE_CHECKING:
    from gateway.transcode.form import Samples

DESCRIPTORS: Final = (0x00281101, 0x00281102, 0x00281103)
TABLES: Final = (0x00281201, 0x00281202, 0x00281203)
SEGMENTED: Final = (0x00281221, 0x00281222, 0x00281223)
_DISCRETE, _LINEAR, _INDIRECT = 0, 1, 2
PALETTE_UID: Final = 0x00281199
ALL: Final = (*DESCRIPTORS, PALETTE_UID, *TABLES, *SEGMENTED)


def read_palette(values: Values, header: ImagePixel) -> tuple["Samples", int]:
    """The RGB table, shape (entries, 3), and the stored value of its first entry.

    16-bit entries that only repeat or pad 8 bits become 8-bit ones; segmented tables are
    expanded. Raises PermanentFailure where tables are missing, or not as long as their
    descriptors say.
    """
    described = [values.numbers(tag) for tag in DESCRIPTORS]
    if any(len(one) != 3 for one in described):
        raise PermanentFailure("PALETTE COLOR without three lookup table descriptors")
    segmented = TABLES[0] not in values.found and SEGMENTED[0] in values.found
    read, tags = (_expanded, SEGMENTED) if segmented else (_entries, TABLES)
    columns = [
        read(values, tag, entries or 65536, bits)
        for tag, (entries, _, bits) in zip(tags, described, strict=True)
    ]
    if len({len(column) for column in columns}) != 1:
        raise PermanentFailure("the three palette lookup tables have different lengths")
    first = described[0][1]
    if header.representation and first >= 32768:
        first -= 65536
    return _narrowed(np.stack(columns, axis=1)), first


def _entries(values: Values, tag: int, entries: int, bits: int) -> "Samples":
    raw = values.raw(tag) or b""
    order = "<" if values.order == "little" else ">"
    if bits == 8 and len(raw) in (entries, entries + 1):
        words = np.frombuffer(raw[: len(raw) // 2 * 2], f"{order}u2").astype("<u2")
        table = words.view("u1") if values.found[tag].vr == "OW" else np.frombuffer(raw, "u1")
        return (table[:entries].astype("<u2")) * 257
    if len(raw) != 2 * entries or bits not in (8, 16):
        raise PermanentFailure(
            f"a palette lookup table of {len(raw)} bytes for {entries} entries of {bits} bits"
        )
    table = np.frombuffer(raw, f"{order}u2").astype("<u2")
    return table * 257 if bits == 8 and table.max(initial=0) < 256 else table


def _expanded(values: Values, tag: int, entries: int, bits: int) -> "Samples":
    """The entries of a segmented table (PS3.3 C.7.9.2): discrete, linear, indirect segments."""
    words = values.numbers(tag)
    out: list[int] = []
    try:
        _segments(words, 0, len(words), out, entries)
    except IndexError:
        out.clear()
    if len(out) != entries or bits not in (8, 16):
        raise PermanentFailure(
            f"a segmented palette lookup table that does not make {entries} entries of {bits} bits"
        )
    table = np.array(out, "<u2")
    return table * 257 if bits == 8 and table.max(initial=0) < 256 else table


def _segments(
    words: Sequence[int],
    at: int,
    most: int,
    out: list[int],
    entries: int,
    *,
    outermost: bool = True,
) -> None:
    """Append up to ``most`` segments from word ``at`` on to ``out``, to ``entries`` at most."""
    while at < len(words) and most and len(out) < entries:
        code, count = words[at], words[at + 1]
        if code == _DISCRETE:
            out.extend(words[at + 2 : at + 2 + count])
            at += 2 + count
        elif code == _LINEAR:
            first, last = out[-1], words[at + 2]
            out.extend(first + round((last - first) * (k + 1) / count) for k in range(count))
            at += 3
        elif code == _INDIRECT and outermost:
            place = (words[at + 2] | words[at + 3] << 16) // 2
            _segments(words, place, count, out, entries, outermost=False)
            at += 4
        else:
            raise IndexError(code)
        most -= 1


def _narrowed(table: "Samples") -> "Samples":
    """8-bit entries where no information is in the other 8 bits."""
    high, low = table >> 8, table & 255
    if ((low == high) | (low == 0)).all():
        return high.astype("u1")
    return table


def as_rgb(header: ImagePixel, table: "Samples") -> tuple[ImagePixel, Changes]:
    """The header of the expanded image, and the removal of the tables."""
    bits = table.dtype.itemsize * 8
    expanded = header._replace(
        samples=3,
        photometric="RGB",
        planar=0,
        allocated=bits,
        stored=bits,
        high_bit=bits - 1,
        representation=0,
    )
    return expanded, dict.fromkeys(ALL)
