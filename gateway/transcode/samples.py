"""From what a decoder returns to native samples: container, sign, range, colour, order.

The rules (PS3.3 C.7.6.3, PS3.5 8.1.1): a sample fills Bits Allocated. A lossy codec's overshoot
beyond Bits Stored is clamped, never masked. Else the bits above Bits Stored are the sign's where
Pixel Representation is 1, and zero where it is 0; but they stay as decoded where something lives
there (an overlay, or a reversible codestream under a lossy label), and where the codestream has a
sign of its own: its samples are numbers, not bits. Single bits are packed, the first in the least
significant bit.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from gateway.transcode.form import FrameFormat

if TYPE_CHECKING:
    from gateway.transcode.form import Samples

_FULL: Final = 0, 1.0, ((0.0, 1.402), (-0.344136286, -0.714136286), (1.772, 0.0))
_PARTIAL: Final = (
    16 / 256,
    1.164415463,
    ((0.0, 1.596001878), (-0.391724564, -0.813013368), (2.017290682, 0.0)),
)
"""Black as a part of the range, the factor of luma, and those of Cb and Cr in red, green, blue.

Those of YBR_PARTIAL are the inverse of the standard's equations, whose white is 235 of 255.
"""


@dataclass(frozen=True, slots=True)
class Finish:
    """What is done to conformed samples before they are written.

    ``to_rgb`` undoes YBR_FULL, or YBR_PARTIAL where ``partial``, of ``bits`` bits (0: the
    container's); ``table`` maps stored values, less ``first``, to RGB, shape (entries, 3);
    ``planar`` separates the colours; ``swap`` is the width in bytes of the words that are written
    big endian (0: little endian).
    """

    to_rgb: bool = False
    partial: bool = False
    bits: int = 0
    table: "Samples | None" = None
    first: int = 0
    signed: bool = False
    planar: bool = False
    swap: int = 0


CLAMPED: Final = "a lossy coding's overshoot beyond Bits Stored was clamped"
CLEARED: Final = "bits above Bits Stored, which nothing in the header claims, were set to zero"


def conform(samples: "Samples", form: FrameFormat, notes: list[str] | None = None) -> "Samples":
    """``samples`` as a contiguous little-endian array of the container that ``form`` states.

    ``notes`` takes up what was changed of them. Raises ValueError when their number or their rows
    are not those of the form.
    """
    if samples.size != form.samples or samples.shape[0] != form.rows:
        shape = " x ".join(str(n) for n in samples.shape)
        raise ValueError(
            f"the decoder returned {shape} samples where the header says "
            f"{form.rows} rows, {form.columns} columns, {form.samples_per_pixel} samples"
        )
    if form.bits_allocated == 1:
        return samples
    overshoot = form.lossy and form.precision > form.bits_stored and not form.high_bits
    extend = form.signed and not form.codestream_signed and form.bits_stored < form.bits_allocated
    kind = "i" if form.signed else "u"
    if overshoot or extend:
        samples = np.array(samples, f"<{kind}{form.container}", order="C")
        if extend and not form.high_bits:
            _extend(samples, form.precision if overshoot else form.bits_stored)
        if overshoot:
            low, high = _range(form)
            if samples.min() < low or samples.max() > high:
                np.clip(samples, low, high, out=samples)
                _note(notes, CLAMPED)
        return samples
    if form.precision > form.bits_stored and not (form.signed or form.high_bits):
        top = (1 << form.bits_stored) - 1
        if samples.max() > top:
            samples = samples & top
            _note(notes, CLEARED)
    return np.ascontiguousarray(samples, f"<{samples.dtype.kind}{form.container}")


def _note(notes: list[str] | None, text: str) -> None:
    if notes is not None and text not in notes:
        notes.append(text)


def apart(samples: "Samples", form: FrameFormat) -> "Samples":
    """Samples whose components are those of several frames: (frames, rows, columns[, samples])."""
    each = form.samples_per_pixel
    frames = samples.reshape(form.rows, form.columns, -1, each).transpose(2, 0, 1, 3)
    return np.ascontiguousarray(frames[..., 0] if each == 1 else frames)


def _extend(samples: "Samples", bits: int) -> None:
    """Sign extension in place: bit ``bits`` - 1 is copied into those above it."""
    shift = samples.dtype.itemsize * 8 - bits
    if shift > 0:
        np.left_shift(samples, shift, out=samples)
        np.right_shift(samples, shift, out=samples)


def _range(form: FrameFormat) -> tuple[int, int]:
    """The least and greatest value of Bits Stored bits."""
    if form.signed:
        return -(1 << (form.bits_stored - 1)), (1 << (form.bits_stored - 1)) - 1
    return 0, (1 << form.bits_stored) - 1


def finished(samples: "Samples", finish: Finish) -> "Samples":
    """Conformed samples as they are written: (rows, columns[, 3]) or (3, rows, columns)."""
    if finish.table is not None:
        samples = look_up(samples, finish.table, finish.first, finish.bits, signed=finish.signed)
    if finish.to_rgb:
        samples = to_rgb(samples, finish.bits, partial=finish.partial)
    if finish.planar and samples.ndim == 3:
        samples = np.ascontiguousarray(samples.transpose(2, 0, 1))
    return samples.byteswap() if finish.swap > 1 and samples.dtype.itemsize > 1 else samples


def to_rgb(samples: "Samples", bits: int = 0, *, partial: bool = False) -> "Samples":
    """RGB of YBR_FULL or YBR_PARTIAL samples, (rows, columns, 3) (PS3.3 C.7.6.3.1.2).

    The range is that of ``bits`` bits, 0 for those of the container; what stands above them is
    no part of a sample, and colours have no sign.
    """
    kind = np.dtype(f"<u{samples.dtype.itemsize}")
    depth = bits or 8 * kind.itemsize
    top, middle = (1 << depth) - 1, 1 << (depth - 1)
    black, factor, chroma = _PARTIAL if partial else _FULL
    out = np.empty(samples.shape, kind)
    for row in range(0, samples.shape[0], 256):
        part = (samples[row : row + 256].view(kind) & top).astype(np.float64)
        luma, blue, red = part[..., 0], part[..., 1] - middle, part[..., 2] - middle
        if partial:
            luma = (luma - black * (top + 1)) * factor
        for index, (of_blue, of_red) in enumerate(chroma):
            plane = luma + of_blue * blue if of_blue else luma
            plane = plane + of_red * red if of_red else plane
            out[row : row + 256, :, index] = np.clip(np.rint(plane), 0, top)
    return out


def spread_422(frame: Any, rows: int, columns: int) -> "Samples":
    """All pixels of a native 4:2:2 frame: Y1 Y2 Cb Cr per two of them (C.7.6.3.1.2)."""
    pairs = np.frombuffer(frame, "u1", count=rows * columns * 2).reshape(-1, 4)
    out = np.empty((len(pairs), 2, 3), "u1")
    out[:, :, 0] = pairs[:, :2]
    out[:, :, 1:] = pairs[:, None, 2:]
    return out.reshape(rows, columns, 3)


def look_up(
    samples: "Samples", table: "Samples", first: int, bits: int = 0, *, signed: bool = False
) -> "Samples":
    """RGB of PALETTE COLOR samples: values outside the table take its ends (C.7.6.3.1.5).

    A value is the lowest ``bits`` bits of its container, 0 for all of them.
    """
    width = samples.dtype.itemsize
    depth = bits or 8 * width
    index = samples.view(f"<u{width}").astype(np.int64) & ((1 << depth) - 1)
    if signed:
        half = 1 << (depth - 1)
        index = (index ^ half) - half
    index = np.clip(index - first, 0, len(table) - 1)
    if index.ndim == 3:
        index = index[..., 0]
    return np.ascontiguousarray(table[index])


def pack(samples: "Samples", carry: "Samples") -> tuple[bytes, "Samples"]:
    """Single-bit samples behind ``carry``, the bits left over from the frame before.

    Returns whole bytes, the first sample in the least significant bit (PS3.5 8.1.1), and the
    bits left over: frames follow each other without padding.
    """
    bits = np.concatenate((carry, samples.reshape(-1).astype(bool)))
    whole = len(bits) // 8 * 8
    return np.packbits(bits[:whole], bitorder="little").tobytes(), bits[whole:]
