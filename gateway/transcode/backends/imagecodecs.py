"""imagecodecs: libjpeg-turbo 3 (JPEG), CharLS, OpenJPEG, OpenJPH, libjxl, libdeflate, PackBits.

JPEG colours are taken as encoded: equal colour spaces on both sides make libjpeg upsample the
chroma and convert nothing. A JPEG that was recompressed as JPEG XL is restored, then decoded as
the JPEG it was.
"""

import sys
from collections.abc import Callable, Sequence
from functools import cache
from importlib import metadata
from typing import TYPE_CHECKING, Any, Final

from gateway.transcode import part2
from gateway.transcode.codestream import rle_segments
from gateway.transcode.form import Coding, FrameFormat

if TYPE_CHECKING:
    from gateway.transcode.form import Samples

name: Final = "imagecodecs"
_JBRD_WITHIN: Final = 1 << 16
requires: Final = "imagecodecs>=2025.3.30"


@cache
def _library() -> Any:
    import imagecodecs

    return imagecodecs


@cache
def version() -> str:
    """The library's version, "" where it is not installed."""
    try:
        return metadata.version("imagecodecs")
    except metadata.PackageNotFoundError:
        return ""


def load() -> None:
    """Import the library and the extension modules that decode, before workers are forked."""
    for function in _FUNCTIONS:
        getattr(_library(), function)


def supports(form: FrameFormat) -> bool:
    """Every coding but native samples."""
    return form.coding in _DECODERS


def decode(frame: Any, form: FrameFormat) -> "Samples":
    """The samples of one codestream."""
    samples: Samples = _DECODERS[form.coding](frame, form)
    return samples


def _jpeg(frame: Any, form: FrameFormat) -> Any:
    if form.samples_per_pixel == 1:
        return _library().jpeg8_decode(frame)
    if form.convert:
        return _library().jpeg8_decode(frame, colorspace="YCBCR", outcolorspace="RGB")
    return _library().jpeg8_decode(frame, colorspace="RGB", outcolorspace="RGB")


def _jpeg_lossless(frame: Any, form: FrameFormat) -> Any:
    if form.samples_per_pixel == 1:
        return _library().jpeg8_decode(frame)
    return _library().jpeg8_decode(frame, colorspace="RGB", outcolorspace="RGB")


def _jpeg_ls(frame: Any, form: FrameFormat) -> Any:
    return _interleaved(_library().jpegls_decode(frame), form)


def _interleaved(samples: "Samples", form: FrameFormat) -> "Samples":
    """Planes in front (JPEG-LS, interleave mode none) are moved to the end."""
    planes = (form.samples_per_pixel, form.rows, form.columns)
    interleaved = (form.rows, form.columns, form.samples_per_pixel)
    if samples.shape == planes and planes != interleaved:
        return samples.transpose(1, 2, 0)
    return samples


def _jpeg_2000(frame: Any, form: FrameFormat) -> Any:
    return _library().jpeg2k_decode(frame)


def _jpeg_2000_arrays(frame: Any, form: FrameFormat) -> Any:
    return part2.undo(frame, _library().jpeg2k_decode)


def _htj2k(frame: Any, form: FrameFormat) -> Any:
    """OpenJPH's errors amid the picture reach Python as ones that cannot be raised: seen here."""
    ignored: list[Any] = []
    before, sys.unraisablehook = sys.unraisablehook, ignored.append
    try:
        samples = _library().htj2k_decode(frame)
    finally:
        sys.unraisablehook = before
    if ignored:
        raise ValueError(f"OpenJPH: {ignored[0].exc_value}")
    return samples


def _jpeg_xl(frame: Any, form: FrameFormat) -> Any:
    if form.lossy and b"jbrd" in bytes(frame[:_JBRD_WITHIN]):
        jpeg = _library().jpegxl_decode_jpeg(frame)
        if form.samples_per_pixel == 1:
            return _library().jpeg8_decode(jpeg)
        return _library().jpeg8_decode(jpeg, outcolorspace="RGB")
    return _library().jpegxl_decode(frame, keeporientation=True)


def _deflated(frame: Any, form: FrameFormat) -> Any:
    """PS3.5 8.2.16: each frame is one deflate stream (RFC 1951)."""
    import numpy as np

    size = -(-form.bits // 8)
    raw = _library().deflate_decode(frame, raw=True, out=size)
    if len(raw) != size:
        raise ValueError(f"the deflated frame holds {len(raw)} bytes, {size} are needed")
    if form.bits_allocated == 1:
        bits = np.unpackbits(np.frombuffer(raw, "u1"), bitorder="little", count=form.samples)
        return bits.reshape(form.rows, form.columns)
    samples = np.frombuffer(raw, f"<u{form.container}")
    if form.samples_per_pixel > 1 and form.planar == 1:
        planes = samples.reshape(form.samples_per_pixel, form.rows, form.columns)
        return planes.transpose(1, 2, 0)
    return samples.reshape(form.rows, form.columns, form.samples_per_pixel)


def _rle(frame: Any, form: FrameFormat) -> Any:
    """PS3.5 Annex G: one PackBits segment per byte of a sample, most significant first."""
    import numpy as np

    segments = [frame[start:end] for start, end in rle_segments(frame)]
    if form.bits_allocated == 1:
        (segment,) = segments
        packed = _unpacked(segment, np.empty(-(-form.samples // 8), "u1"))
        bits = np.unpackbits(packed, bitorder="little", count=form.samples)
        return bits.reshape(form.rows, form.columns)
    pixels, width = form.rows * form.columns, form.container
    if len(segments) != form.samples_per_pixel * width:
        raise ValueError(
            f"{len(segments)} RLE segments for {form.samples_per_pixel} samples of {width} bytes"
        )
    if form.samples_per_pixel == 1:
        return _words(segments, pixels).reshape(form.rows, form.columns)
    out = np.empty((pixels, form.samples_per_pixel), f"<u{width}")
    for sample in range(form.samples_per_pixel):
        out[:, sample] = _words(segments[sample * width : (sample + 1) * width], pixels)
    return out.reshape(form.rows, form.columns, form.samples_per_pixel)


def _words(segments: Sequence[Any], pixels: int) -> Any:
    """One sample of every pixel: to shift words is several times faster than to set bytes."""
    import numpy as np

    plane = _unpacked(segments[0], np.empty(pixels, "u1"))
    if len(segments) == 1:
        return plane
    words = plane.astype(f"<u{len(segments)}")
    for segment in segments[1:]:
        words <<= 8
        words |= _unpacked(segment, plane)
    return words


def _unpacked(segment: Any, plane: Any) -> Any:
    """``plane`` with the bytes of a segment; what stands behind them in it is padding.

    A short segment must never be stretched or filled up: it would look like a picture.
    """
    unpack = _library().packbits_decode
    try:
        size = len(unpack(segment, out=plane))
    except _library().PackbitsError:  # also where it holds more
        whole = unpack(segment)
        size = len(whole)
        plane[:size] = memoryview(whole)[: len(plane)]
    if size < len(plane):
        raise ValueError(f"an RLE segment of {size} bytes where {len(plane)} are needed")
    return plane


_DECODERS: Final[dict[Coding, Callable[[Any, FrameFormat], Any]]] = {
    Coding.RLE: _rle,
    Coding.JPEG_8: _jpeg,
    Coding.JPEG_12: _jpeg,
    Coding.JPEG_LOSSLESS: _jpeg_lossless,
    Coding.JPEG_LS: _jpeg_ls,
    Coding.JPEG_2000: _jpeg_2000,
    Coding.HTJ2K: _htj2k,
    Coding.JPEG_2000_ARRAYS: _jpeg_2000_arrays,
    Coding.JPEG_ARITHMETIC: _jpeg,
    Coding.JPEG_XL: _jpeg_xl,
    Coding.DEFLATED: _deflated,
}
_FUNCTIONS: Final = (
    "jpeg8_decode",
    "jpegls_decode",
    "jpeg2k_decode",
    "htj2k_decode",
    "packbits_decode",
    "jpegxl_decode",
    "deflate_decode",
)
