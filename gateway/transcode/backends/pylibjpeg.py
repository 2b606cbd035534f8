"""pylibjpeg-openjpeg (OpenJPEG: JPEG 2000 and HTJ2K) and pylibjpeg-rle (RLE in Rust).

Refused: single-bit RLE (PS3.5 8.2.2 packs it; the library expects whole bytes).
"""

from functools import cache
from importlib import metadata
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

from gateway.transcode import part2
from gateway.transcode.form import Coding, FrameFormat

if TYPE_CHECKING:
    from gateway.transcode.form import Samples

name: Final = "pylibjpeg"
requires: Final = "pylibjpeg-openjpeg>=2.4, pylibjpeg-rle>=2.0"


@cache
def version() -> str:
    """The libraries' versions, "" where one is not installed."""
    try:
        j2k, rle = metadata.version("pylibjpeg-openjpeg"), metadata.version("pylibjpeg-rle")
    except metadata.PackageNotFoundError:
        return ""
    return f"openjpeg {j2k}, rle {rle}"


def supports(form: FrameFormat) -> bool:
    """JPEG 2000, HTJ2K, and RLE of whole bytes."""
    if form.coding is Coding.RLE:
        return form.bits_allocated > 1
    return form.coding in (Coding.JPEG_2000, Coding.JPEG_2000_ARRAYS, Coding.HTJ2K)


def decode(frame: Any, form: FrameFormat) -> "Samples":
    """The samples of one codestream."""
    if form.coding is Coding.JPEG_2000_ARRAYS:
        return part2.undo(frame, _jpeg_2000)
    return _rle(frame, form) if form.coding is Coding.RLE else _jpeg_2000(frame)


def _jpeg_2000(frame: Any) -> "Samples":
    from openjpeg.utils import decode as decode_j2k

    samples: Samples = decode_j2k(BytesIO(frame), 0)
    return samples


def _rle(frame: Any, form: FrameFormat) -> "Samples":
    import numpy as np
    from rle.rle import decode_frame

    raw = decode_frame(bytes(frame), form.rows * form.columns, form.bits_allocated, "<")
    planes = np.frombuffer(raw, f"<u{form.container}")
    return planes.reshape(form.samples_per_pixel, form.rows, form.columns).transpose(1, 2, 0)
