"""The samples of single frames: of native Pixel Data as it stands, or decoded one by one.

Frames of native files are views of the mapped file: nothing is read before it is looked at.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from gateway.dataset.elements import UNDEFINED, Element, elements
from gateway.failures import PermanentFailure
from gateway.model import Rendition
from gateway.rendering.refusals import NoSuchFrame, NothingToShow
from gateway.transcode.decode import DecoderFailed, Decoding, decoded_frames
from gateway.transcode.image_pixel import ImagePixel, read_image_pixel
from gateway.transcode.plan import Pixels, plan_frames
from gateway.transcode.samples import spread_422
from gateway.transcode.source import Source, open_source
from gateway.transcode.turns import backends_for
from gateway.transfer_syntax import BY_UID, EXPLICIT_LE

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FLOAT: Final = 0x7FE00008
_DOUBLE: Final = 0x7FE00009
_FLOATS: Final = {_FLOAT: 32, _DOUBLE: 64}
_IN_PAIRS: Final = ("YBR_FULL_422", "YBR_PARTIAL_422")
_WORTH: Final = 8 << 20
"""Native bytes from which on it is worth not to decode all frames for one."""


class Undecoded(PermanentFailure):
    """The object is best transcoded as a whole before it is looked at."""


@dataclass(frozen=True, slots=True)
class Depth:
    """How a stored sample is read (PS3.5 8.1.1): ``kind`` is "u", "i", or "f" for floats.

    ``allocated`` and ``stored`` are bits, ``high`` the number of the highest stored one.
    """

    kind: str
    allocated: int
    stored: int
    high: int

    def unsigned(self, samples: "NDArray[Any]") -> "NDArray[Any]":
        """Samples of up to 16 bits as they stand in memory, to count or to look up by."""
        return samples.view(f"u{samples.dtype.itemsize}")

    def all_values(self) -> "NDArray[Any]":
        """The value of every pattern of bits there can be, up to 16 bits."""
        patterns = np.arange(1 << max(self.allocated, 8), dtype=np.int64)
        return self._value(patterns)

    def range(self) -> "NDArray[Any]":
        """All values of Bits Stored bits, ascending; for few bits."""
        low = -(1 << (self.stored - 1)) if self.kind == "i" else 0
        return np.arange(low, low + (1 << self.stored))

    def values(self, samples: "NDArray[Any]") -> "NDArray[Any]":
        """The values that samples stand for."""
        if self.kind == "f":
            return samples
        raw = self.unsigned(samples).astype(np.int64)
        return self._value(raw)

    def _value(self, raw: "NDArray[np.int64]") -> "NDArray[np.int64]":
        """Bits outside Bits Stored cleared, the sign extended."""
        raw = (raw >> (self.high + 1 - self.stored)) & ((1 << self.stored) - 1)
        if self.kind == "i":
            raw -= (raw >> (self.stored - 1)) << self.stored
        return raw


@dataclass(frozen=True, slots=True)
class Frames:
    """The frames of an object: ``header`` says how samples are read once they are here.

    ``frame(k)``, from 0, gives (rows, columns) or (rows, columns, samples).
    """

    source: Source
    header: ImagePixel
    depth: Depth
    count: int
    frame: "Callable[[int], NDArray[Any]]"


def open_frames(path: Path, scratch: Path, wanted: int) -> Frames:
    """The frames of a Part 10 file, ``wanted`` of which will be looked at (0: all).

    Raises Undecoded where it is encapsulated and should be transcoded first, NothingToShow
    where it has no pixels, PermanentFailure where header and pixels do not fit together.
    """
    source = open_source(path, scratch)
    if source.pixels is None:
        return _floats(source)
    header = read_image_pixel(source.values)
    _check_size(header)
    if source.syntax.encapsulated or source.pixels.length == UNDEFINED:
        return _encapsulated(source, header, wanted or header.frames)
    if not source.syntax.little_endian:
        raise Undecoded("its samples are big endian")
    return _native(source, header, source.pixels)


def _check_size(header: ImagePixel) -> None:
    if not header.rows or not header.columns or header.samples not in (1, 3):
        raise NothingToShow(
            f"the object has {header.rows} rows, {header.columns} columns and {header.samples} "
            "samples per pixel: no picture is made of that"
        )


def _depth(header: ImagePixel) -> Depth:
    allocated = header.allocated
    stored = header.stored if 0 < header.stored <= allocated else allocated
    high = header.high_bit if stored - 1 <= header.high_bit < allocated else stored - 1
    return Depth("i" if header.representation else "u", allocated, stored, high)


def _native(source: Source, header: ImagePixel, element: Element) -> Frames:
    if header.allocated not in (1, 8, 16, 32, 64):
        raise NothingToShow(f"Bits Allocated {header.allocated}: no picture is made of that")
    header = _true_422(header, element.length)
    bits = _frame_bits(header)
    if -(-bits * header.frames // 8) > element.length:
        raise PermanentFailure(
            f"Pixel Data of {element.length} bytes does not hold {header.frames} frames of "
            f"{header.rows} rows, {header.columns} columns, {header.samples} samples of "
            f"{header.allocated} bits"
        )
    read = _reader(source.data, element.value, header, bits)
    return Frames(source, header, _depth(header), header.frames, _checked(read, header.frames))


def _true_422(header: ImagePixel, length: int) -> ImagePixel:
    """With the interpretation that fits the length: three bytes a pixel, as is common, is full."""
    if header.photometric not in _IN_PAIRS:
        return header
    if length >= 3 * header.rows * header.columns * header.frames * header.allocated // 8:
        return header._replace(photometric=header.photometric.removesuffix("_422"))
    if header.columns % 2 or header.allocated != 8 or header.samples != 3:
        raise PermanentFailure(
            f"{header.photometric} of {header.columns} columns, {header.samples} samples of "
            f"{header.allocated} bits: pairs of pixels need an even number of columns, and 8 bits"
        )
    return header


def _frame_bits(header: ImagePixel) -> int:
    pixels = header.rows * header.columns
    if header.photometric in _IN_PAIRS:
        return 16 * pixels
    return pixels * header.samples * header.allocated


def _reader(
    data: Any, start: int, header: ImagePixel, bits: int
) -> "Callable[[int], NDArray[Any]]":
    rows, columns, samples = header.rows, header.columns, header.samples
    kind = np.dtype(f"<u{max(1, header.allocated // 8)}")

    def single_bits(index: int) -> "NDArray[Any]":
        first, beyond = divmod(index * bits, 8)
        packed = np.frombuffer(data, "u1", offset=start + first, count=-(-(beyond + bits) // 8))
        spread = np.unpackbits(packed, bitorder="little", count=beyond + bits)
        return spread[beyond:].reshape(rows, columns)

    def in_pairs(index: int) -> "NDArray[Any]":
        offset = start + index * bits // 8
        return spread_422(memoryview(data)[offset : offset + bits // 8], rows, columns)

    def whole(index: int) -> "NDArray[Any]":
        offset = start + index * bits // 8
        frame = np.frombuffer(data, kind, offset=offset, count=rows * columns * samples)
        if samples == 1:
            return frame.reshape(rows, columns)
        if header.planar == 1:
            return frame.reshape(samples, rows, columns).transpose(1, 2, 0)
        return frame.reshape(rows, columns, samples)

    if header.allocated == 1:
        return single_bits
    return in_pairs if header.photometric in _IN_PAIRS else whole


def _checked(read: "Callable[[int], NDArray[Any]]", count: int) -> "Callable[[int], NDArray[Any]]":
    def frame(index: int) -> "NDArray[Any]":
        if not 0 <= index < count:
            raise NoSuchFrame(f"frame {index + 1} was asked for; the object has {count}")
        return read(index)

    return frame


def _floats(source: Source) -> Frames:
    """Float Pixel Data and Double Float Pixel Data (PS3.3 C.7.6.24, C.7.6.25)."""
    found = elements(source.data, source.start, source.end, source.syntax)
    element = next((one for one in found if one.tag in _FLOATS), None)
    if element is None:
        raise NothingToShow("the object has no Pixel Data: there is no picture of it")
    if not source.syntax.little_endian:
        raise Undecoded("its samples are big endian")
    header = read_image_pixel(source.values)._replace(samples=1, photometric="MONOCHROME2")
    _check_size(header)
    size = _FLOATS[element.tag] // 8
    pixels = header.rows * header.columns
    if pixels * size * header.frames > element.length:
        raise PermanentFailure(
            f"float pixels of {element.length} bytes do not hold {header.frames} frames of "
            f"{header.rows} rows, {header.columns} columns"
        )

    def read(index: int) -> "NDArray[Any]":
        offset = element.value + index * pixels * size
        frame = np.frombuffer(source.data, f"<f{size}", offset=offset, count=pixels)
        return frame.reshape(header.rows, header.columns)

    depth = Depth("f", 8 * size, 8 * size, 8 * size - 1)
    return Frames(source, header, depth, header.frames, _checked(read, header.frames))


def _encapsulated(source: Source, header: ImagePixel, wanted: int) -> Frames:
    """Frames decoded one by one, where that is less work than to decode them all."""
    native = header.frame_bits * header.frames // 8
    if source.inflated or 2 * wanted > header.frames or native < _WORTH or header.allocated == 1:
        raise Undecoded("all of its frames are decoded at once")
    first = _plan(source, 0)
    form = first.form
    coded = header._replace(
        photometric=first.photometric,
        planar=0,
        allocated=form.bits_allocated,
        stored=form.bits_stored,
        high_bit=header.high_bit if form.high_bits else form.bits_stored - 1,
        representation=int(form.signed),
    )

    def read(index: int) -> "NDArray[Any]":
        return _decoded(_plan(source, index), index)

    return Frames(source, coded, _depth(coded), header.frames, _checked(read, header.frames))


def _plan(source: Source, index: int) -> Pixels:
    pixels = plan_frames(source, BY_UID[EXPLICIT_LE], Rendition(), only=index + 1)
    if pixels.form.spanning:
        raise Undecoded("its codestreams run across frames")
    if pixels.form.kept_in_pairs:
        raise Undecoded("two of its pixels share their chroma")
    return pixels


def _decoded(pixels: Pixels, index: int) -> "NDArray[Any]":
    """One frame, by the decoder that would serve the whole object.

    Where that fails, the whole is to be decoded by another: frames of two never mix.
    """
    decoding = Decoding(pixels.form, pixels.finish, pixels.frames, index, pixels.known)
    try:
        samples: NDArray[Any] = next(
            decoded_frames(decoding, pixels.data, backends_for(pixels, 0)[0])
        )
    except DecoderFailed as failure:
        raise PermanentFailure(str(failure)) from failure
    return samples[..., 0] if samples.ndim == 3 and samples.shape[2] == 1 else samples
