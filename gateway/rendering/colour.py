"""Colour samples to 8-bit RGB: palettes, YCbCr, deep samples (PS3.3 C.7.6.3.1.2, C.7.9)."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from gateway.rendering.refusals import NothingToShow
from gateway.rendering.samples import Depth, Frames
from gateway.transcode.palette import read_palette
from gateway.transcode.samples import to_rgb

if TYPE_CHECKING:
    from numpy.typing import NDArray

GREY: Final = ("MONOCHROME1", "MONOCHROME2", "")
PALETTE: Final = "PALETTE COLOR"
_RGB: Final = ("RGB", "YBR_RCT", "YBR_ICT")
"""YBR_RCT and YBR_ICT name what a codec undoes: samples that are decoded are RGB."""
_FULL: Final = ("YBR_FULL", "YBR_FULL_422")
_PARTIAL: Final = ("YBR_PARTIAL", "YBR_PARTIAL_422")


def is_grey(frames: Frames) -> bool:
    """Whether the samples are greys; one sample without a name for it is."""
    return frames.header.samples == 1 and frames.header.photometric != PALETTE


def colours(frames: Frames) -> "Callable[[NDArray[Any]], NDArray[np.uint8]]":
    """What turns bands of samples into RGB, shape (rows, columns, 3).

    Raises NothingToShow for a Photometric Interpretation that is not known, PermanentFailure for
    a palette that is not whole.
    """
    header, depth = frames.header, frames.depth
    if header.photometric == PALETTE:
        return _palette(frames)
    if header.photometric in _RGB:
        return lambda samples: _eight_bits(samples, depth)
    if header.photometric in _FULL:
        return lambda samples: _eight_bits(to_rgb(samples, depth.stored), depth)
    if header.photometric in _PARTIAL and depth.stored == 8:
        return _partial
    raise NothingToShow(
        f"Photometric Interpretation {header.photometric[:32]!r} with {header.samples} samples "
        f"of {depth.stored} bits: no picture is made of that"
    )


def _palette(frames: Frames) -> "Callable[[NDArray[Any]], NDArray[np.uint8]]":
    """Stored values to entries; 16-bit entries are shown by their upper 8 bits."""
    table, first = read_palette(frames.source.values, frames.header)
    eight = (table >> 8 if table.dtype.itemsize > 1 else table).astype(np.uint8)
    depth = frames.depth
    if depth.allocated > 16:
        raise NothingToShow(f"PALETTE COLOR of {depth.allocated} bits: no picture is made of that")
    entries = eight[np.clip(depth.all_values() - first, 0, len(eight) - 1)]
    return lambda samples: entries[depth.unsigned(samples)]


def _eight_bits(samples: "NDArray[Any]", depth: Depth) -> "NDArray[np.uint8]":
    if depth.stored == 8 and samples.dtype.itemsize == 1:
        return samples.view(np.uint8)
    top = (1 << depth.stored) - 1
    raw = (depth.unsigned(samples).astype(np.uint64) >> (depth.high + 1 - depth.stored)) & top
    return ((raw * 255 + top // 2) // top).astype(np.uint8)


def _partial(samples: "NDArray[Any]") -> "NDArray[np.uint8]":
    """RGB of YBR_PARTIAL: luma from 16 to 235, chroma from 16 to 240 (C.7.6.3.1.2)."""
    values = samples.astype(np.float64)
    luma = (values[..., 0] - 16) * (255 / 219)
    blue, red = ((values[..., k] - 128) * (255 / 224) for k in (1, 2))
    green = luma - 0.344136286 * blue - 0.714136286 * red
    planes = (luma + 1.402 * red, green, luma + 1.772 * blue)
    return np.clip(np.rint(np.stack(planes, axis=-1)), 0, 255).astype(np.uint8)
