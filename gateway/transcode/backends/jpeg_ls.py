"""pyjpegls, the successor of the jpeg_ls package: CharLS."""

from functools import cache
from importlib import metadata
from typing import TYPE_CHECKING, Any, Final

from gateway.transcode.form import Coding, FrameFormat

if TYPE_CHECKING:
    from gateway.transcode.form import Samples

name: Final = "pyjpegls"
requires: Final = "pyjpegls>=1.5.1"


@cache
def version() -> str:
    """The library's version, "" where it is not installed."""
    try:
        return metadata.version("pyjpegls")
    except metadata.PackageNotFoundError:
        return ""


def supports(form: FrameFormat) -> bool:
    """JPEG-LS, lossless and near-lossless."""
    return form.coding is Coding.JPEG_LS


def decode(frame: Any, form: FrameFormat) -> "Samples":
    """The samples of one codestream."""
    import jpeg_ls
    import numpy as np

    raw, info = jpeg_ls.decode_pixel_data(bytes(frame))
    samples = np.frombuffer(raw, "<u1" if form.precision <= 8 else "<u2")
    if form.samples_per_pixel == 1:
        return samples.reshape(form.rows, form.columns)
    if info["interleave_mode"] == 0:
        planes = samples.reshape(form.samples_per_pixel, form.rows, form.columns)
        return planes.transpose(1, 2, 0)
    return samples.reshape(form.rows, form.columns, form.samples_per_pixel)
