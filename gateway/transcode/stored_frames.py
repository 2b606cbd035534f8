"""Where the frames of encapsulated Pixel Data stand in a file (PS3.5 A.4)."""

from typing import Final

from gateway.dataset.elements import UNDEFINED, Element, fragments
from gateway.failures import PermanentFailure
from gateway.transcode.codestream import read_codestream
from gateway.transcode.frames import MAX_FRAMES, Frame, join, split_collections, split_frames
from gateway.transcode.image_pixel import (
    EXTENDED_LENGTHS,
    EXTENDED_OFFSETS,
    ImagePixel,
    read_image_pixel,
)
from gateway.transcode.source import Source
from gateway.transfer_syntax import J2K_PART2, J2K_PART2_LOSSLESS

MAX_FRAME: Final = 512 << 20
"""Bytes of an uncompressed frame, at most."""


def fragments_of(source: Source, element: Element) -> list[tuple[int, int]]:
    """The fragments. A value of defined length, which should not be there, counts as one, or as
    one for each frame where it is as long as all of them uncompressed, and those are not too many.
    """
    if element.length == UNDEFINED:
        return fragments(source.data, element)
    header, start = read_image_pixel(source.values), element.value
    bits, few = header.frame_bits, header.frames <= MAX_FRAMES
    size = bits // 8
    if few and bits and bits % 8 == 0 and element.length - size * header.frames in (0, 1):
        bodies = [(start + size * index, size) for index in range(header.frames)]
        return [(start, 0), *bodies]
    return [(start, 0), (start, element.length)]


def stored_frames(source: Source, header: ImagePixel, element: Element) -> list[Frame]:
    """The spans of each frame. Raises PermanentFailure as ``split_frames``."""
    found = fragments_of(source, element)
    return split_frames(source.data, found, header.frames, _offset_table(source))


def _offset_table(source: Source) -> tuple[bytes, bytes] | None:
    offsets, lengths = (source.values.raw(tag) for tag in (EXTENDED_OFFSETS, EXTENDED_LENGTHS))
    return (offsets, lengths) if offsets and lengths else None


def spans_frames(source: Source, header: ImagePixel) -> list[Frame] | None:
    """JPEG 2000 codestreams whose components run across frames (PS3.5 8.2.4, A.4.4), else None.

    Raises PermanentFailure where their components are not as many as the frames need.
    """
    if source.meta.transfer_syntax not in (J2K_PART2, J2K_PART2_LOSSLESS) or header.frames < 2:
        return None
    streams = split_collections(source.data, fragments_of(source, source.pixel_data))
    found = [read_codestream(join(memoryview(source.data), one)) for one in streams]
    components = sum(one.components for one in found if one)
    if all(one and one.components == header.samples for one in found):
        return None
    if components != header.frames * header.samples:
        raise PermanentFailure(
            f"Pixel Data holds {components} components in {len(streams)} codestreams, "
            f"{header.frames} frames of {header.samples} samples need another number"
        )
    if any(one.components % header.samples for one in found if one):
        raise PermanentFailure(
            f"a codestream ends in the middle of a pixel of {header.samples} samples"
        )
    width = max(1, header.allocated // 8) * header.rows * header.columns
    most = max((one.components for one in found if one), default=0)
    if most * width > MAX_FRAME:
        raise PermanentFailure(
            f"a codestream of {most} components, {most * width} bytes; "
            f"at most {MAX_FRAME} are decoded at once"
        )
    return streams
