"""Native Pixel Data in another byte order (PS3.5 8.1.1, 8.1.2) or in the form that a node reads.

Words are swapped, bytes not.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gateway.dataset.elements import UNDEFINED
from gateway.failures import PermanentFailure
from gateway.model import Rendition
from gateway.transcode.colour import RGB, YBR_FULL, Colour, decide_colour
from gateway.transcode.form import FrameFormat
from gateway.transcode.frames import Frame
from gateway.transcode.image_pixel import (
    ALLOCATED,
    ImagePixel,
    changes_between,
    read_image_pixel,
)
from gateway.transcode.plan import Pixels, as_rendered, colour_notes, frame_format, pixels_of
from gateway.transcode.source import Source
from gateway.transcode.words import Swapped
from gateway.transfer_syntax import BY_UID, TransferSyntax


@dataclass(frozen=True, slots=True)
class NativeBody:
    """The value of native Pixel Data on its way: ``vr`` goes out, ``swap`` is the word's width
    in bytes (0: as stored), ``stored_swap`` that of the words as stored (0: little endian).
    """

    value: memoryview
    vr: str
    swap: int
    stored_swap: int

    def parts(self) -> Sequence[Any]:
        """The value in the target's byte order."""
        return [Swapped(self.value, self.swap) if self.swap > 1 else self.value]

    def little_endian(self) -> Swapped | None:
        """The value in little endian, None where it is stored so."""
        return Swapped(self.value, self.stored_swap) if self.stored_swap > 1 else None


def native_body(source: Source, target: TransferSyntax) -> NativeBody:
    """How the value of native Pixel Data gets into the target's byte order.

    8-bit and single-bit samples go to explicit syntaxes as OB, which is never swapped, unless
    the source says OW, whose bytes are words in a big-endian data set.
    """
    element, allocated = source.pixel_data, source.values.number(ALLOCATED)
    value = memoryview(source.data)[element.value : element.value + element.length]
    words = allocated // 8 if allocated in (16, 32, 64) else 2
    width = words if allocated > 8 or element.vr == "OW" else 0
    stored_swap = 0 if source.syntax.little_endian else width
    vr = element.vr if element.vr in ("OB", "OW") else "OB" if allocated <= 8 else "OW"
    if not target.little_endian and source.syntax.little_endian:
        vr = "OB" if allocated <= 8 else "OW"
        width = 0 if allocated <= 8 else width
    changed = source.syntax.little_endian != target.little_endian
    return NativeBody(value, vr, width if changed else 0, stored_swap)


def is_native(source: Source) -> bool:
    """Whether there is Pixel Data that no codec and no fragments stand around."""
    if source.pixels is None or source.pixels.length == UNDEFINED:
        return False
    return not BY_UID[source.meta.transfer_syntax].encapsulated


def stored_value(source: Source) -> memoryview:
    """The value of native Pixel Data as it stands in the file, without its pad byte.

    Swapped words have none at their end: they count whole.
    """
    element = source.pixel_data
    value = memoryview(source.data)[element.value : element.end]
    try:
        header = read_image_pixel(source.values)
    except PermanentFailure:  # nothing is decoded: what makes no sense goes as it stands
        return value
    bits = header.frame_bits * header.frames
    size = -(-bits // 8)
    in_order = source.syntax.little_endian or element.vr == "OB"
    return value[:size] if in_order and len(value) == size + (size & 1) else value


def native_rendered(
    source: Source, target: TransferSyntax, rendition: Rendition, swapped: Swapped | None
) -> Pixels | None:
    """The plan for native Pixel Data of which ``rendition`` asks another form, else None.

    ``swapped`` is the value in little endian where it is stored otherwise. Valid YBR_FULL_422
    has two bytes per pixel; where there are three, as is common, it is YBR_FULL.
    """
    if rendition == Rendition():
        return None
    header, element = read_image_pixel(source.values), source.pixel_data
    to_rgb = rendition.color == RGB and header.samples > 1 and header.photometric != RGB
    palette = rendition.color == RGB and header.photometric == "PALETTE COLOR"
    separate = {"separate": 1, "interleaved": 0}.get(rendition.planar, header.planar)
    if not (to_rgb or palette or (header.samples > 1 and separate != header.planar)):
        return None
    form = _native_form(source.meta.transfer_syntax, header, element.length)
    wanted = rendition._replace(planar="separate" if separate else "interleaved")
    colour = _native_colour(header, rendition)
    out, finish, changes = as_rendered(source, form, header, colour, wanted)
    changes |= changes_between(header, out, source.values)
    size = form.rows * form.columns * 2 if form.paired else form.bits // 8
    if header.allocated not in (8, 16, 32) or size * header.frames > element.length:
        raise PermanentFailure(
            f"Pixel Data of {element.length} bytes does not hold {header.frames} frames of {size}"
        )
    data, first = (source.data, element.value) if swapped is None else (swapped, 0)
    frames: list[Frame] = [((first + size * index, size),) for index in range(header.frames)]
    notes = colour_notes(header, out, colour)
    return pixels_of(
        form=form,
        frames=frames,
        finish=finish,
        data=data,
        out=out,
        target=target,
        changes=changes,
        notes=notes,
    )


def _native_colour(header: ImagePixel, rendition: Rendition) -> Colour:
    """As for samples without a codestream, but for what pairs of pixels become."""
    colour = decide_colour(header.photometric, None, rendition.color)
    if colour.convert and not colour.partial:
        return colour._replace(why="this node reads RGB only")
    if header.photometric == "YBR_FULL_422":
        return colour._replace(why="each pixel has its own chroma")
    return colour


def _native_form(syntax: str, header: ImagePixel, length: int) -> FrameFormat:
    whole = header._replace(stored=header.allocated)
    form = frame_format(syntax, whole, None, Colour(header.photometric, "", False, ""))
    if header.photometric == "YBR_PARTIAL_420":
        raise PermanentFailure(
            "native YBR_PARTIAL_420: the standard has it for MPEG-2 only and gives its samples no "
            "order (PS3.3 C.7.6.3.1.2): it can only be sent as stored"
        )
    if form.paired and length >= header.frames * form.bits // 8:
        return form._replace(photometric=YBR_FULL)
    if form.paired and (header.columns % 2 or header.allocated != 8):
        raise PermanentFailure(
            f"native {header.photometric} of {header.columns} columns, "
            f"Bits Allocated {header.allocated}: pairs of pixels "
            "need an even number of columns, and 8 bits are decoded here"
        )
    return form
