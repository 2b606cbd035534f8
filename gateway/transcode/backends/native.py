"""NumPy: samples that are not compressed, and RLE where no library is at hand (PS3.5 Annex G)."""

import zlib
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from gateway.transcode.codestream import rle_segments
from gateway.transcode.form import Coding, FrameFormat

if TYPE_CHECKING:
    from gateway.transcode.form import Samples

name: Final = "numpy"
requires: Final = "numpy>=2.0"


@cache
def version() -> str:
    """NumPy's version."""
    import numpy as np

    return np.__version__


def supports(form: FrameFormat) -> bool:
    """Little-endian samples, deflated or not, and RLE."""
    if form.coding in (Coding.NATIVE, Coding.DEFLATED):
        return form.bits_allocated in (1, 8, 16, 32)
    return form.coding is Coding.RLE


def decode(frame: Any, form: FrameFormat) -> "Samples":
    """The samples of one frame, colour by pixel."""
    import numpy as np

    if form.coding is Coding.RLE:
        return _rle(frame, form)
    if form.coding is Coding.DEFLATED:
        frame = _inflated(frame, -(-form.bits // 8))
    if form.bits_allocated == 1:
        packed = np.frombuffer(frame, "u1")
        bits = np.unpackbits(packed, bitorder="little", count=form.samples)
        return bits.reshape(form.rows, form.columns)
    samples = np.frombuffer(frame, f"<u{form.container}", count=form.samples)
    if form.samples_per_pixel == 1:
        return samples.reshape(form.rows, form.columns)
    if form.planar == 1:
        planes = samples.reshape(form.samples_per_pixel, form.rows, form.columns)
        return planes.transpose(1, 2, 0)
    return samples.reshape(form.rows, form.columns, form.samples_per_pixel)


def _inflated(frame: Any, size: int) -> bytes:
    """The ``size`` bytes of a frame deflated on its own (PS3.5 8.2.16, RFC 1951)."""
    stream = zlib.decompressobj(-15)
    samples = stream.decompress(frame, size + 2)
    if not 0 <= len(samples) - size <= 1:
        raise ValueError(f"the deflated frame holds {len(samples)} bytes, {size} are needed")
    if not stream.eof and not stream.decompress(stream.unconsumed_tail, 1) and not stream.eof:
        raise ValueError("the deflated frame is cut")
    return samples[:size]


def _rle(frame: Any, form: FrameFormat) -> "Samples":
    import numpy as np

    wanted = -(-form.samples // 8) if form.bits_allocated == 1 else form.rows * form.columns
    bounds = rle_segments(frame)
    count = form.samples_per_pixel * form.container
    if len(bounds) != count:
        raise ValueError(f"{len(bounds)} RLE segments where {count} are needed")
    parts = [np.frombuffer(_packbits(frame[a:b], wanted), "u1") for a, b in bounds]
    if form.bits_allocated == 1:
        bits = np.unpackbits(parts[0], bitorder="little", count=form.samples)
        return bits.reshape(form.rows, form.columns)
    out = np.empty((wanted, form.samples_per_pixel, form.container), "u1")
    for index, part in enumerate(parts):
        sample, byte = divmod(index, form.container)
        out[:, sample, form.container - 1 - byte] = part
    samples = out.view(f"<u{form.container}")
    return samples.reshape(form.rows, form.columns, form.samples_per_pixel)


def _packbits(segment: Any, wanted: int) -> bytes:
    """The first ``wanted`` bytes of a PackBits segment (PS3.5 G.3.2); ValueError when short."""
    out = bytearray()
    at, source = 0, bytes(segment)
    while len(out) < wanted and at < len(source):
        head = source[at]
        if head < 128:
            out += source[at + 1 : at + 2 + head]
            at += 2 + head
        else:
            if head > 128:
                out += source[at + 1 : at + 2] * (257 - head)
            at += 2
    if len(out) < wanted:
        raise ValueError(f"an RLE segment unpacks to {len(out)} bytes, {wanted} are needed")
    return bytes(out[:wanted])
