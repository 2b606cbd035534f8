"""How encapsulated Pixel Data becomes native: its frames, their form, what the header then says.

Attributes change only where the pixels changed (PS3.5 8, A.4; PS3.3 C.7.6.3).
"""

import zlib
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Final

from gateway.dataset.elements import UNDEFINED
from gateway.failures import PermanentFailure
from gateway.model import Rendition
from gateway.transcode.choose import NativeTooLong
from gateway.transcode.codestream import Codestream, read_codestream
from gateway.transcode.colour import DCT, RGB, Colour, decide_colour
from gateway.transcode.form import PAIRED, Coding, FrameFormat
from gateway.transcode.frames import Frame, is_rle, join
from gateway.transcode.image_pixel import (
    EXTENDED_LENGTHS,
    EXTENDED_OFFSETS,
    TOTAL_LENGTH,
    Changes,
    ImagePixel,
    changes_between,
    mend,
    provenance,
    read_image_pixel,
)
from gateway.transcode.palette import as_rgb, read_palette
from gateway.transcode.samples import Finish
from gateway.transcode.source import Source
from gateway.transcode.stored_frames import MAX_FRAME, spans_frames, stored_frames
from gateway.transfer_syntax import (
    BY_UID,
    DEFLATED_FRAMES,
    ENCAPSULATED_UNCOMPRESSED,
    RLE,
    TransferSyntax,
    name_of,
)

MAX_NATIVE: Final = 2**32 - 2
_WITHOUT_MARKERS: Final = {RLE: Coding.RLE, DEFLATED_FRAMES: Coding.DEFLATED}


@dataclass(frozen=True, slots=True)
class Pixels:
    """How one Pixel Data element is turned into native bytes.

    ``frames`` are spans of ``data``; ``length`` is the value's length in bytes without padding;
    ``frame_bytes`` that of one frame, 0 for single-bit frames that do not end on a byte.
    """

    form: FrameFormat
    frames: list[Frame]
    finish: Finish
    data: Any
    length: int
    frame_bytes: int
    vr: str
    photometric: str
    changes: Changes = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    known: tuple[Any, Codestream | None] | None = None
    """The first frame's bytes and declarations."""
    count: int = 0
    """Number of Frames; less are in ``frames`` where codestreams hold several each."""


def plan_frames(
    source: Source, target: TransferSyntax, rendition: Rendition, only: int = 0
) -> Pixels:
    """The plan for encapsulated Pixel Data (PS3.5 A.4), or for frame ``only`` of it, from 1.

    Raises PermanentFailure where frames, codestream and header do not fit together, where no
    decoder is known, and for a native result beyond 2**32 - 2 bytes.
    """
    values, element = source.values, source.pixel_data
    header = read_image_pixel(values)
    spanning = spans_frames(source, header)
    frames = spanning or stored_frames(source, header, element)
    first = join(memoryview(source.data), frames[0])
    syntax = _coded_as(source, header, first)
    found = _codestream(syntax, first, header)
    mended, notes, colour, form = _decided(syntax, header, found, rendition.color, bool(spanning))
    if found is None and _in_pairs(header, _uncoded_size(form, first)):
        form, colour = _paired(form, header, colour, rendition)
    if not form.lossy and _lossy_later(source, frames[only - 1 : only] if only else frames[1:]):
        form = form._replace(lossy=True, high_bits=mended.high_bits)
    out, finish, changes = as_rendered(source, form, mended, colour, rendition)
    changes |= changes_between(header, out, values)
    changes |= dict.fromkeys((EXTENDED_OFFSETS, EXTENDED_LENGTHS, TOTAL_LENGTH))
    if form.lossy:
        stored = sum(length for frame in frames for _, length in frame)
        ratio = form.bits * len(frames) / 8 / max(stored, 1)
        changes |= provenance(header, form.coding, ratio, values)
    found_notes = (*_label_notes(source, form), *(found.notes if found else ()))
    if only and (spanning or only > len(frames)):
        raise PermanentFailure(f"frame {only} does not stand by itself in {len(frames)} frames")
    return pixels_of(
        form=form,
        frames=frames[only - 1 : only] if only else frames,
        finish=finish,
        data=source.data,
        out=out._replace(samples=form.samples_per_pixel) if form.kept_in_pairs else out,
        target=target,
        changes=changes,
        notes=(*notes, *found_notes, *colour_notes(header, out, colour)),
        known=None if only > 1 else (first, found),
        count=1 if only else header.frames,
    )


@lru_cache(maxsize=256)
def _decided(
    syntax: str, header: ImagePixel, found: Codestream | None, color: str, spanning: bool
) -> tuple[ImagePixel, tuple[str, ...], Colour, FrameFormat]:
    """The header, mended, with notes; the colour; the form: once, since objects come in series."""
    mended, notes = mend(header, one_of(found, header) if spanning else found)
    colour = decide_colour(header.photometric, found, color)
    return mended, notes, colour, frame_format(syntax, mended, found, colour, spanning=spanning)


def _lossy_later(source: Source, frames: list[Frame]) -> bool:
    """Whether one of ``frames`` behind a reversible first one is lossy, as the label allows."""
    if not BY_UID[source.meta.transfer_syntax].lossy:
        return False
    view = memoryview(source.data)
    for frame in frames:
        with suppress(PermanentFailure):  # which is told of, with its number, when it is decoded
            found = read_codestream(join(view, frame))
            if found is not None and found.lossy:
                return True
    return False


def _label_notes(source: Source, form: FrameFormat) -> tuple[str, ...]:
    syntax = source.meta.transfer_syntax
    if not BY_UID[syntax].encapsulated:
        return (f"Pixel Data labelled {name_of(syntax)} is encapsulated: decoded as such",)
    if form.coding is not Coding.NATIVE or syntax == ENCAPSULATED_UNCOMPRESSED:
        return ()
    return (f"Pixel Data labelled {name_of(syntax)} holds uncompressed samples: taken as such",)


def one_of(found: Codestream | None, header: ImagePixel) -> Codestream | None:
    """The declarations as if the codestream held one frame only."""
    return found and found._replace(components=header.samples)


def _coded_as(source: Source, header: ImagePixel, first: Any) -> str:
    """The transfer syntax that frames without markers are coded by: its label says which, unless
    Pixel Data is not as that says. RLE is known by its header (PS3.5 G.5).
    """
    label, framed = source.meta.transfer_syntax, source.pixel_data.length == UNDEFINED
    if framed and BY_UID[label].encapsulated:
        return label
    rle = is_rle(bytes(first[:64]))
    if framed:
        return RLE if rle else label
    plain = not rle and _native_size(header, len(first))
    return ENCAPSULATED_UNCOMPRESSED if label == RLE and plain else label


def _codestream(syntax: str, first: Any, header: ImagePixel) -> Codestream | None:
    """The first frame's declarations; None for samples in RLE, deflated, or as they are."""
    if syntax == ENCAPSULATED_UNCOMPRESSED and _native_size(header, len(first)):
        return None
    found = read_codestream(first)
    if found is None and syntax not in (RLE, DEFLATED_FRAMES):
        if _native_size(header, len(first)):
            return None
        raise PermanentFailure(
            f"Pixel Data labelled {name_of(syntax)} starts like no JPEG, JPEG-LS or JPEG 2000 "
            "codestream; no other decoder is at hand for it"
        )
    return found


def _native_size(header: ImagePixel, length: int) -> bool:
    """Whether a frame of ``length`` bytes is one of uncompressed samples, padded to even."""
    bits = header.frame_bits
    return bits > 0 and (length - -(-bits // 8) in (0, 1) or _in_pairs(header, length))


def _in_pairs(header: ImagePixel, length: int) -> bool:
    """Whether a frame of ``length`` bytes is one of Y1 Y2 Cb Cr for two pixels each."""
    if header.photometric not in PAIRED or (header.samples, header.allocated) != (3, 8):
        return False
    return header.columns % 2 == 0 and length == 2 * header.rows * header.columns > 0


def _uncoded_size(form: FrameFormat, frame: Any) -> int:
    """The bytes of the samples in a frame that is not coded, or deflated; 0 for another."""
    if form.coding is Coding.DEFLATED and form.stated in PAIRED:
        with suppress(zlib.error):
            return len(zlib.decompressobj(-15).decompress(frame, form.bits // 8))
    return len(frame) if form.coding is Coding.NATIVE else 0


def _paired(
    form: FrameFormat, header: ImagePixel, colour: Colour, rendition: Rendition
) -> tuple[FrameFormat, Colour]:
    """Uncompressed pairs of pixels stay as they are, unless another form of them is asked for."""
    form = form._replace(photometric=header.photometric)
    if rendition.color == RGB or rendition.planar == "separate":
        return form, colour
    why = "the samples stand as the header names them"
    return form._replace(samples_per_pixel=2), Colour(
        form.photometric, form.photometric, False, why
    )


def frame_format(
    syntax: str,
    header: ImagePixel,
    found: Codestream | None,
    colour: Colour,
    *,
    spanning: bool = False,
) -> FrameFormat:
    """The form of frames coded as ``found`` (None: by the label, or not at all).

    Raises PermanentFailure when frames are too big.
    """
    coding = _WITHOUT_MARKERS.get(syntax, Coding.NATIVE) if found is None else _decodable(found)
    form = FrameFormat(
        transfer_syntax=syntax,
        rows=header.rows,
        columns=header.columns,
        samples_per_pixel=header.samples,
        bits_allocated=header.allocated,
        bits_stored=header.stored,
        signed=bool(header.representation),
        photometric=colour.photometric if coding in DCT else colour.encoded,
        planar=header.planar if coding in (Coding.NATIVE, Coding.DEFLATED) else 0,
        coding=coding,
        precision=found.precision if found else header.allocated,
        codestream_signed=found.signed if found else False,
        lossy=_is_lossy(found, syntax, header) if found else False,
        convert=colour.convert and coding in DCT,
        high_bits=header.high_bits or _beyond_is_meant(syntax, header, found),
        restarts=found.restarts if found else False,
        stated=header.photometric,
        encoded=colour.encoded if found and not spanning else "",
        spanning=spanning,
    )
    if form.bits // 8 > MAX_FRAME:
        raise PermanentFailure(
            f"a frame of {form.bits // 8} bytes; at most {MAX_FRAME} are decoded"
        )
    return form


def _is_lossy(found: Codestream, syntax: str, header: ImagePixel) -> bool:
    """Where the codestream does not tell, the label does, unless the header says "00"."""
    return found.lossy or (found.as_labelled and BY_UID[syntax].lossy and header.lossy != "00")


def _beyond_is_meant(syntax: str, header: ImagePixel, found: Codestream | None) -> bool:
    """A reversible coding cut short overshoots: its values are numbers, not stray bits."""
    if found is None or found.lossy or found.precision <= header.stored:
        return False
    return BY_UID[syntax].lossy


def _decodable(found: Codestream) -> Coding:
    if found.coding is None:
        raise PermanentFailure(f"{found.process}: no decoder is at hand for this process")
    return found.coding


def as_rendered(
    source: Source, form: FrameFormat, header: ImagePixel, colour: Colour, rendition: Rendition
) -> tuple[ImagePixel, Finish, Changes]:
    """The header that goes out, what is done to the samples for it, and what else changes."""
    if rendition.color != RGB or header.photometric != "PALETTE COLOR":
        return *_without_table(form, header, colour, rendition), {}
    planar = rendition.planar == "separate"
    table, first = read_palette(source.values, header)
    out, changes = as_rgb(header, table)
    out = out._replace(planar=int(planar))
    stored = header.stored if header.stored <= header.allocated else 0
    signed = bool(header.representation)
    finish = Finish(bits=stored, table=table, first=first, signed=signed, planar=planar)
    return out, finish, changes


@lru_cache(maxsize=256)
def _without_table(
    form: FrameFormat, header: ImagePixel, colour: Colour, rendition: Rendition
) -> tuple[ImagePixel, Finish]:
    planar = rendition.planar == "separate"
    out = header
    if (header.photometric, header.planar) != (colour.photometric, planar):
        out = header._replace(photometric=colour.photometric, planar=int(planar))
    planar = planar and header.samples > 1
    if rendition.color == RGB and out.samples > 1 and out.photometric != RGB:
        raise PermanentFailure(
            f"{header.photometric} of {header.samples} samples is not made RGB here, and this "
            "node reads RGB only"
        )
    convert = colour.convert and not form.convert
    depth = _depth(form, header)
    return out, Finish(convert, colour.partial, depth, planar=planar)


def _depth(form: FrameFormat, header: ImagePixel) -> int:
    """The bits of a sample: Bits Stored, or what the codestream has where that is less.

    0 stands for the whole container: Bits Stored is absent or makes no sense.
    """
    if not 0 < header.stored <= header.allocated:
        return 0
    return min(header.stored, form.precision or header.stored)


def pixels_of(
    *,
    form: FrameFormat,
    frames: list[Frame],
    finish: Finish,
    data: Any,
    out: ImagePixel,
    target: TransferSyntax,
    changes: Changes,
    notes: tuple[str, ...],
    known: tuple[Any, Codestream | None] | None = None,
    count: int = 0,
) -> Pixels:
    """The plan with its lengths, VR and byte order. Raises NativeTooLong beyond 2**32 - 2."""
    bits = out.frame_bits
    length = -(-bits * (count or len(frames)) // 8)
    if length > MAX_NATIVE:
        raise NativeTooLong(
            f"uncompressed this instance has {length} bytes of Pixel Data and the standard "
            f"allows {MAX_NATIVE}: it can only be sent as stored"
        )
    swap = 0 if target.little_endian else out.allocated // 8
    return Pixels(
        form=form,
        frames=frames,
        finish=replace(finish, swap=swap) if swap else finish,
        data=data,
        length=length,
        frame_bytes=bits // 8 if bits % 8 == 0 and not form.spanning else 0,
        vr="OB" if target.explicit and out.allocated <= 8 else "OW",
        photometric=out.photometric,
        changes=changes,
        notes=notes,
        known=known,
        count=count,
    )


def colour_notes(old: ImagePixel, new: ImagePixel, colour: Colour) -> tuple[str, ...]:
    came, goes = old.photometric, new.photometric
    if came != goes:
        return (f"Photometric Interpretation {came} to {goes}: {colour.why}",)
    if colour.convert:
        return (f"{colour.encoded} undone where the header said {came}: {colour.why}",)
    return ()
