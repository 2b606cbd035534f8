"""The test pictures that every decoder has to get right before it may serve.

``probes.zip`` holds tiny codestreams, made by ``python -m tests.transcode.make_probes``, and an
index. What a reversible coding must give back is computed here; what an irreversible one must
give within a bound was decoded by a decoder of known worth and stands in the archive.
"""

import json
import zipfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from gateway.model import UID
from gateway.transcode.codestream import read_codestream
from gateway.transcode.form import Coding, FrameFormat

if TYPE_CHECKING:
    from gateway.transcode.form import Samples

ARCHIVE: Final = Path(__file__).with_name("probes.zip")
DEPTHS: Final = (1, 7, 8, 10, 12, 16, 24, 32)
_WITHOUT_MARKERS: Final = (Coding.RLE, Coding.DEFLATED, Coding.NATIVE)
_DCT: Final = (Coding.JPEG_8, Coding.JPEG_12, Coding.JPEG_ARITHMETIC)
_MANY: Final = 4

Cell: TypeAlias = tuple[str, bool, int, bool, int, str]
"""Coding, irreversible, depth, signed, samples (4: many), colour (of JPEG DCT only)."""


@dataclass(frozen=True, slots=True)
class Probe:
    """One codestream of the archive: ``bits`` stored, ``bound`` the greatest difference allowed.

    ``variant`` says what is special about it ("" for nothing); "speed" ones are larger.
    """

    syntax: UID
    coding: Coding
    rows: int
    columns: int
    bits: int
    signed: bool
    samples: int
    variant: str
    photometric: str
    convert: bool
    bound: int
    stream: bytes
    expected: bytes

    @property
    def timed(self) -> bool:
        """Whether this is a large one, by which speed is measured."""
        return self.variant == "speed"

    @property
    def form(self) -> FrameFormat:
        """The form as a data set with this frame would have it."""
        found = None if self.coding in _WITHOUT_MARKERS else read_codestream(self.stream)
        allocated = container_of(self.bits)
        return FrameFormat(
            transfer_syntax=self.syntax,
            rows=self.rows,
            columns=self.columns,
            samples_per_pixel=self.samples,
            bits_allocated=allocated,
            bits_stored=self.bits,
            signed=self.signed,
            photometric=self.photometric,
            coding=self.coding,
            precision=found.precision if found else allocated,
            codestream_signed=bool(found and found.signed),
            lossy=bool(found and found.lossy),
            convert=self.convert,
            spanning=self.samples > 3,
        )

    @property
    def wanted(self) -> "Samples":
        """What has to come out, in the container of Bits Allocated."""
        import numpy as np

        if not self.expected:
            return picture(self.rows, self.columns, self.samples, self.bits, self.signed)
        kind = f"<{'i' if self.signed else 'u'}{max(1, container_of(self.bits) // 8)}"
        shape = (self.rows, self.columns, self.samples)
        return np.frombuffer(self.expected, kind).reshape(shape[: 2 + (self.samples > 1)])

    def describe(self) -> str:
        """In words: bits, sign, samples, variant."""
        words = f"{self.bits} bit {'signed' if self.signed else 'unsigned'}, {self.samples} sample"
        return words + ("s" if self.samples > 1 else "") + (f", {self.variant}" * (not self.timed))


def container_of(bits: int) -> int:
    """Bits Allocated for so many Bits Stored."""
    return 1 if bits == 1 else 8 if bits <= 8 else 16 if bits <= 16 else 32


def picture(rows: int, columns: int, samples: int, bits: int, signed: bool) -> "Samples":
    """Slopes with edges and both extremes, (rows, columns[, samples]); the same everywhere."""
    import numpy as np

    y, x, s = np.mgrid[:rows, :columns, :samples].astype(np.uint64)
    top = (1 << bits) - 1
    slope = (y * 13 + x * 7 + s * 29) * max(1, top // 300)
    texture = (y * 2654435761 + x * 40503 + s * 97) % max(2, top // 24 + 1)
    values = (slope + texture) % (top + 1)
    values[rows // 3 : rows // 2, columns // 4 : columns // 2] = top
    values[rows // 2 : rows // 2 + 2] = 0
    if signed:
        values = values.astype(np.int64) - (1 << (bits - 1))
    kind = f"<{'i' if signed else 'u'}{max(1, container_of(bits) // 8)}"
    whole: Samples = values.astype(kind)
    return whole[..., 0] if samples == 1 else whole


def cell_of(form: FrameFormat) -> Cell:
    """The cell that stands for frames of this form."""
    packed = form.bits_allocated == 1 or form.precision == 1
    precision = 1 if packed else form.precision
    floor = 7 if form.coding is Coding.JPEG_LS else 8
    depth = (
        1 if precision == 1 else next((d for d in DEPTHS if d >= max(precision, floor)), precision)
    )
    colour = ""
    if form.coding in _DCT and form.samples_per_pixel > 1:
        colour = form.photometric + (" converted" if form.convert else "")
    samples = _MANY if form.spanning else form.samples_per_pixel
    return form.coding.name, form.lossy, depth, form.signed, samples, colour


@cache
def all_probes() -> tuple[Probe, ...]:
    """The archive's content."""
    with zipfile.ZipFile(ARCHIVE) as archive:
        rows: list[dict[str, Any]] = json.loads(archive.read("index.json"))
        return tuple(_probe(row, archive) for row in rows)


def _probe(row: dict[str, Any], archive: zipfile.ZipFile) -> Probe:
    stream, wanted = row.pop("file"), row.pop("wanted")
    return Probe(
        **row | {"coding": Coding[row["coding"]]},
        stream=archive.read(stream),
        expected=archive.read(wanted) if wanted else b"",
    )


@cache
def digest() -> str:
    """Names this set of probes."""
    import hashlib

    return hashlib.sha256(ARCHIVE.read_bytes()).hexdigest()[:16]
