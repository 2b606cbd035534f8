"""The form of one frame: the Image Pixel Module and what the codestream itself declares.

PS3.3 C.7.6.3 for the module's attributes, PS3.5 section 8 and Annex A for the codings.
"""

from enum import Enum
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypeAlias

from gateway.model import UID

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Samples: TypeAlias = NDArray[Any]


class Coding(Enum):
    """How the samples of a frame are coded; the codestream says so, whatever the label."""

    NATIVE = "native"
    RLE = "RLE"
    JPEG_8 = "JPEG DCT, 8 bit"
    JPEG_12 = "JPEG DCT, 12 bit"
    JPEG_LOSSLESS = "JPEG lossless"
    JPEG_LS = "JPEG-LS"
    JPEG_2000 = "JPEG 2000"
    JPEG_2000_ARRAYS = "JPEG 2000 Part 2, component transform by arrays"
    HTJ2K = "High-Throughput JPEG 2000"
    JPEG_ARITHMETIC = "JPEG DCT, arithmetic coding"
    JPEG_XL = "JPEG XL"
    DEFLATED = "deflated samples"

    __hash__ = object.__hash__  # a part of what is looked up for each instance


PAIRED: Final = ("YBR_FULL_422", "YBR_PARTIAL_422")


class FrameFormat(NamedTuple):
    """One frame: its size, its sample's container, and how it is coded.

    ``rows`` and ``columns`` in pixels; ``bits_allocated``, ``bits_stored`` and ``signed`` as the
    header says (after mending); ``photometric`` is what the decoded samples shall be: as encoded,
    or "RGB" with ``convert`` where the decoder has to undo YCbCr. ``planar`` is the stored Planar
    Configuration, of native and RLE frames only. ``precision`` and ``codestream_signed`` are the
    codestream's own (``precision`` 0: it declares none). ``lossy`` is the process, not the label.
    """

    transfer_syntax: UID
    rows: int
    columns: int
    samples_per_pixel: int = 1
    bits_allocated: int = 16
    bits_stored: int = 16
    signed: bool = False
    photometric: str = "MONOCHROME2"
    planar: int = 0
    coding: Coding = Coding.NATIVE
    precision: int = 0
    codestream_signed: bool = False
    lossy: bool = False
    convert: bool = False
    high_bits: bool = False
    """Something stands in the bits above Bits Stored: they are kept as they are."""
    restarts: bool = False
    """Restart markers stand in a JPEG's data."""
    stated: str = ""
    """Photometric Interpretation in the header,"""
    encoded: str = ""
    """and what the first frame's samples are by it and by the codestream ("": nothing to tell)."""
    spanning: bool = False
    """The components of a codestream are those of several frames, one after the other."""

    @property
    def samples(self) -> int:
        """Samples in one frame."""
        return self.rows * self.columns * self.samples_per_pixel

    @property
    def bits(self) -> int:
        """Bits of one native frame, without padding."""
        return self.samples * self.bits_allocated

    @property
    def paired(self) -> bool:
        """Uncoded samples of which two pixels share their chroma, Y1 Y2 Cb Cr, to be spread."""
        uncoded = self.coding in (Coding.NATIVE, Coding.DEFLATED)
        return uncoded and self.photometric in PAIRED and not self.kept_in_pairs

    @property
    def kept_in_pairs(self) -> bool:
        """The same, to be left as they are: two samples stand for each pixel."""
        return self.samples_per_pixel == 2 and self.photometric in PAIRED

    @property
    def container(self) -> int:
        """Bytes of one native sample (1 for single-bit samples, which are packed later)."""
        return max(1, self.bits_allocated // 8)


class Backend(Protocol):
    """A decoder library behind one face.

    ``decode`` gets one whole codestream and returns its samples, (rows, columns) or
    (rows, columns, samples), in the container that the library uses; any exception means that it
    could not.
    """

    name: str
    requires: str

    def version(self) -> str:
        """The library's version, "" where it is not installed."""
        ...

    def supports(self, form: FrameFormat) -> bool:
        """Whether this library decodes such frames."""
        ...

    def decode(self, frame: Any, form: FrameFormat) -> "Samples":
        """The samples of one codestream."""
        ...
