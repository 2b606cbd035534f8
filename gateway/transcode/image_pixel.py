"""The Image Pixel Module of a data set or of an icon, and what must change in it (C.7.6.3)."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

from gateway.dataset.elements import Element
from gateway.dataset.rewrite import NewValue
from gateway.failures import PermanentFailure
from gateway.transcode.codestream import Codestream
from gateway.transcode.form import Coding

SAMPLES: Final = 0x00280002
PHOTOMETRIC: Final = 0x00280004
PLANAR: Final = 0x00280006
FRAMES: Final = 0x00280008
ROWS: Final = 0x00280010
COLUMNS: Final = 0x00280011
ALLOCATED: Final = 0x00280100
STORED: Final = 0x00280101
HIGH_BIT: Final = 0x00280102
REPRESENTATION: Final = 0x00280103
LOSSY: Final = 0x00282110
LOSSY_RATIO: Final = 0x00282112
LOSSY_METHOD: Final = 0x00282114
EXTENDED_OFFSETS: Final = 0x7FE00001
EXTENDED_LENGTHS: Final = 0x7FE00002
TOTAL_LENGTH: Final = 0x7FE00003
PIXEL_DATA: Final = 0x7FE00010
_NUMBER: Final = re.compile(r"\+?[0-9]{1,12}")
"""An Integer String has 12 characters at most (PS3.5 6.2)."""
_OVERLAYS: Final = 0x60000000
_OVERLAY_BIT: Final = 0x60000102
_DEEPEST: Final = 32

Changes: TypeAlias = dict[int, NewValue | None]

SIGNED: Final = (Coding.JPEG_2000, Coding.JPEG_2000_ARRAYS, Coding.HTJ2K)
"""The codings whose codestreams say whether their samples are signed."""

_METHODS: Final = {
    Coding.JPEG_8: "ISO_10918_1",
    Coding.JPEG_12: "ISO_10918_1",
    Coding.JPEG_LOSSLESS: "ISO_10918_1",
    Coding.JPEG_LS: "ISO_14495_1",
    Coding.JPEG_2000: "ISO_15444_1",
    Coding.JPEG_2000_ARRAYS: "ISO_15444_2",
    Coding.HTJ2K: "ISO_15444_15",
    Coding.JPEG_ARITHMETIC: "ISO_10918_1",
    Coding.JPEG_XL: "ISO_18181_1",
}


class ImagePixel(NamedTuple):
    """The attributes that say how Pixel Data is read; 0 or "" where one is absent."""

    rows: int
    columns: int
    samples: int
    photometric: str
    planar: int
    allocated: int
    stored: int
    high_bit: int
    representation: int
    frames: int
    lossy: str
    overlaid: bool
    """Overlays stand in the bits above Bits Stored."""

    @property
    def frame_bits(self) -> int:
        """Bits of one uncompressed frame, without padding."""
        return self.rows * self.columns * self.samples * self.allocated

    @property
    def high_bits(self) -> bool:
        """Something stands in the bits above Bits Stored."""
        return self.overlaid or self.high_bit >= self.stored


class Values:
    """The values of a data set's collected elements, read in its byte order."""

    def __init__(self, data: Any, found: Mapping[int, Element], little_endian: bool) -> None:
        self.data, self.found = data, found
        self.order: Any = "little" if little_endian else "big"

    def raw(self, tag: int) -> bytes | None:
        """The value's bytes as stored, None where the element is absent."""
        element = self.found.get(tag)
        return None if element is None else bytes(self.data[element.value : element.end])

    def number(self, tag: int, default: int = 0) -> int:
        """A US value, the first if there are several."""
        element = self.found.get(tag)
        if element is None or element.end - element.value < 2:
            return default
        return int.from_bytes(self.data[element.value : element.value + 2], self.order)

    def numbers(self, tag: int) -> tuple[int, ...]:
        """All values of a US element."""
        value = self.raw(tag) or b""
        pairs = (value[i : i + 2] for i in range(0, len(value) - 1, 2))
        return tuple(int.from_bytes(pair, self.order) for pair in pairs)

    def text(self, tag: int) -> str:
        """A string value without padding."""
        return (self.raw(tag) or b"").decode("latin-1").strip(" \0")


def read_image_pixel(values: Values) -> ImagePixel:
    """The module as the header has it. Raises PermanentFailure for a broken Number of Frames."""
    frames = values.text(FRAMES).split("\\")[0]
    if frames and not _NUMBER.fullmatch(frames):
        raise PermanentFailure(f"Number of Frames is {frames[:16]!r}, not a number")
    number = values.number
    return ImagePixel(
        rows=number(ROWS),
        columns=number(COLUMNS),
        samples=number(SAMPLES, 1),
        photometric=values.text(PHOTOMETRIC),
        planar=number(PLANAR),
        allocated=number(ALLOCATED),
        stored=number(STORED),
        high_bit=number(HIGH_BIT),
        representation=number(REPRESENTATION),
        frames=int(frames or 1) or 1,
        lossy=values.text(LOSSY),
        overlaid=_overlays_in_high_bits(values),
    )


def _overlays_in_high_bits(values: Values) -> bool:
    """Retired: an overlay in unused bits of Pixel Data, by its Bit Position (PS3.5 8.1.2)."""
    if max(values.found, default=0) < _OVERLAYS:
        return False
    stored = values.number(STORED)
    return any(
        tag & 0xFF01FFFF == _OVERLAY_BIT
        and values.number(tag) >= stored > 0
        and _no_data(tag, values)
        for tag in values.found
    )


def _no_data(bit_position: int, values: Values) -> bool:
    """Whether an overlay has no Overlay Data of its own, or says that it needs none."""
    group = bit_position & 0xFFFF0000
    return values.number(group | 0x0100) > 1 or group | 0x3000 not in values.found


def mend(header: ImagePixel, found: Codestream | None) -> tuple[ImagePixel, tuple[str, ...]]:
    """The header with what contradicts the codestream corrected, and a note for each correction.

    Raises PermanentFailure where rows, columns or components differ: that is another picture.
    """
    if found is None:
        _check_whole(header)
        return header, ()
    stated = (header.rows, header.columns, header.samples)
    if stated != (found.rows, found.columns, found.components):
        raise PermanentFailure(different(stated, found))
    if not 1 <= found.precision <= _DEEPEST:
        raise PermanentFailure(
            f"the codestream has samples of {found.precision} bits; 1 to {_DEEPEST} are decoded"
        )
    notes: list[str] = []
    header = _mend_depth(header, found, notes)
    if found.coding in SIGNED:
        header = _mend_sign(header, found, notes)
    return header, tuple(notes)


def different(stated: tuple[int, int, int], found: Codestream) -> str:
    """The words for a codestream of other dimensions than the header's."""
    return (
        f"the codestream has {found.rows} rows, {found.columns} columns, {found.components} "
        f"components; the header says {stated[0]}, {stated[1]}, {stated[2]}"
    )


def _check_whole(header: ImagePixel) -> None:
    if header.allocated not in (1, 8, 16, 32) or not header.rows or not header.columns:
        raise PermanentFailure(
            f"samples of {header.rows} rows, {header.columns} columns, Bits Allocated "
            f"{header.allocated}: Bits Allocated 1, 8, 16 and 32 are decoded here"
        )


def _mend_depth(header: ImagePixel, found: Codestream, notes: list[str]) -> ImagePixel:
    allocated, stored, precision = header.allocated, header.stored, found.precision
    if allocated not in (1, 8, 16, 32) or allocated < precision:
        allocated = 8 if precision <= 8 else 16 if precision <= 16 else 32
    if not 0 < stored <= allocated or header.allocated < precision or _deeper(header, found):
        stored = precision
    if (allocated, stored) == (header.allocated, header.stored):
        return _mend_high_bit(header, precision, notes)
    notes.append(
        f"Bits Allocated {header.allocated}, Stored {header.stored} mended to {allocated}, "
        f"{stored}: the codestream has {precision} bits"
    )
    return header._replace(allocated=allocated, stored=stored, high_bit=stored - 1)


def _deeper(header: ImagePixel, found: Codestream) -> bool:
    """A reversible codestream has more bits than Bits Stored, and not just its container's.

    Its encoder was told that depth: what stands in these bits is a part of the samples. Not so
    for unsigned samples of a signed header, whose sign is sought at Bits Stored.
    """
    if found.lossy or header.high_bits or (header.representation and not found.signed):
        return False
    return header.stored < found.precision < header.allocated


def _mend_high_bit(header: ImagePixel, precision: int, notes: list[str]) -> ImagePixel:
    """The codestream's samples begin at bit 0: one that it does not have is no High Bit."""
    most = max(header.stored, precision) - 1
    if header.high_bit <= most:
        return header
    notes.append(
        f"High Bit {header.high_bit} mended to {most}: the codestream has {precision} bits"
    )
    return header._replace(high_bit=most)


def _mend_sign(header: ImagePixel, found: Codestream, notes: list[str]) -> ImagePixel:
    if found.signed and not header.representation:
        notes.append("Pixel Representation mended to 1: the codestream is signed")
        return header._replace(representation=1)
    if header.representation and not found.signed:
        notes.append("the codestream is unsigned: samples sign-extended from Bits Stored")
    return header


def us(value: int) -> NewValue:
    """An Unsigned Short value."""
    return NewValue("US", value.to_bytes(2, "little"))


def cs(value: str) -> NewValue:
    """A Code String value, padded to even length."""
    return NewValue("CS", value.encode() + b" " * (len(value) & 1))


_WRITTEN: Final[tuple[tuple[int, str, Callable[[Any], NewValue]], ...]] = (
    (SAMPLES, "samples", us),
    (PHOTOMETRIC, "photometric", cs),
    (ALLOCATED, "allocated", us),
    (STORED, "stored", us),
    (HIGH_BIT, "high_bit", us),
    (REPRESENTATION, "representation", us),
)


def changes_between(old: ImagePixel, new: ImagePixel, values: Values) -> Changes:
    """The elements that differ between two headers; Planar Configuration goes with Samples."""
    changes: Changes = {}
    if old != new:
        changes = {
            tag: write(getattr(new, field))
            for tag, field, write in _WRITTEN
            if getattr(old, field) != getattr(new, field)
        }
    if new.samples > 1 and (old.planar != new.planar or PLANAR not in values.found):
        changes[PLANAR] = us(new.planar)
    return changes


def provenance(header: ImagePixel, coding: Coding, ratio: float, values: Values) -> Changes:
    """Lossy Image Compression "01", with method and ratio, where the header lacks it."""
    if header.lossy == "01":
        return {}
    changes: Changes = {LOSSY: cs("01")}
    if LOSSY_METHOD not in values.found and coding in _METHODS:
        changes[LOSSY_METHOD] = cs(_METHODS[coding])
    if LOSSY_RATIO not in values.found:
        text = f"{ratio:.2f}"
        changes[LOSSY_RATIO] = NewValue("DS", (text + " " * (len(text) & 1)).encode())
    return changes
