"""Pillow: libjpeg-turbo for 8-bit JPEG DCT, OpenJPEG for JPEG 2000.

Refused: JPEG of 12 bits and JPEG lossless (not read), JPEG 2000 that is signed (Pillow shifts
it), of a precision other than 8 or 16 bits (Pillow scales it) or 16-bit colour.
"""

from functools import cache
from importlib import metadata
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

from gateway.transcode.form import Coding, FrameFormat

if TYPE_CHECKING:
    from gateway.transcode.form import Samples

name: Final = "pillow"
requires: Final = "pillow>=11"


@cache
def version() -> str:
    """The library's version, "" where it is not installed."""
    try:
        return metadata.version("pillow")
    except metadata.PackageNotFoundError:
        return ""


def supports(form: FrameFormat) -> bool:
    """See the module's refusals."""
    if form.coding in (Coding.JPEG_8, Coding.JPEG_ARITHMETIC):
        return form.precision == 8
    if form.coding is not Coding.JPEG_2000 or form.codestream_signed:
        return False
    return form.precision == 8 or (form.precision == 16 and form.samples_per_pixel == 1)


def decode(frame: Any, form: FrameFormat) -> "Samples":
    """The samples of one codestream."""
    import numpy as np
    from PIL import Image

    with Image.open(BytesIO(frame)) as image:
        if image.size != (form.columns, form.rows):
            raise ValueError(f"Pillow sees {image.size}, not {form.columns} x {form.rows}")
        if form.coding is not Coding.JPEG_2000 and form.samples_per_pixel > 1:
            _choose_colours(image, form)
        return np.asarray(image)


def _choose_colours(image: Any, form: FrameFormat) -> None:
    """Set the conversion that libjpeg does, or refuse where Pillow would do another one."""
    ycbcr = form.photometric.startswith("YBR")
    if ycbcr:
        image.draft("YCbCr", image.size)
    elif not form.convert and image.info.get("adobe_transform") != 0:
        raise ValueError("Pillow would convert RGB samples that carry no Adobe marker")
    if image.mode != ("YCbCr" if ycbcr else "RGB"):
        raise ValueError(f"Pillow decodes to {image.mode}")
