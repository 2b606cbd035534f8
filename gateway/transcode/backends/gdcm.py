"""GDCM: its own libjpeg 8/12/16 bit, CharLS and OpenJPEG. Never called in the main process.

Frames are handed over as a one-frame image. Refused: 12-bit JPEG DCT, colour JPEG DCT (GDCM
decides on the colours itself), JPEG-LS below 8 bits and signed near-lossless (decoded wrongly),
JPEG lossless below 8 bits (ends the process), single-bit samples.
"""

import warnings
from functools import cache
from importlib import metadata
from typing import TYPE_CHECKING, Any, Final

from gateway.transcode.form import Coding, FrameFormat

if TYPE_CHECKING:
    from gateway.transcode.form import Samples

name: Final = "gdcm"
requires: Final = "python-gdcm>=3.0.24"
_4: Final = "1.2.840.10008.1.2.4."
_LEAST: Final = 8
_LABELS: Final = {
    Coding.JPEG_8: (_4 + "51", _4 + "50"),
    Coding.JPEG_LOSSLESS: (_4 + "70", _4 + "57"),
    Coding.JPEG_LS: (_4 + "80", _4 + "81"),
    Coding.JPEG_2000: (_4 + "90", _4 + "91"),
}
"""The labels that GDCM takes for a coding; it goes by the label, never by the codestream."""


@cache
def _library() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import gdcm

    gdcm.Trace.WarningOff()
    gdcm.Trace.ErrorOff()
    return gdcm


@cache
def version() -> str:
    """The library's version, "" where it is not installed."""
    try:
        return metadata.version("python-gdcm")
    except metadata.PackageNotFoundError:
        return ""


def supports(form: FrameFormat) -> bool:
    """See the module's refusals."""
    if form.coding not in _LABELS or form.bits_allocated == 1:
        return False
    if form.coding is Coding.JPEG_8:
        return form.samples_per_pixel == 1
    if form.coding is Coding.JPEG_LS and form.lossy and form.signed:
        return False
    return form.precision >= _LEAST or form.coding is Coding.JPEG_2000


def decode(frame: Any, form: FrameFormat) -> "Samples":
    """The samples of one codestream."""
    import numpy as np

    image = _image(bytes(frame), form)
    text = image.GetBuffer()
    raw = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else bytes(text)
    kind = "i" if form.codestream_signed else "u"
    samples = np.frombuffer(raw, f"<{kind}{_width(form)}")
    if form.samples_per_pixel == 1:
        return samples.reshape(form.rows, form.columns)
    return samples.reshape(form.rows, form.columns, form.samples_per_pixel)


def _width(form: FrameFormat) -> int:
    """Bytes per sample that GDCM returns: by the codestream's precision."""
    return 1 if form.precision <= 8 else 2 if form.precision <= 16 else 4


def _image(frame: bytes, form: FrameFormat) -> Any:
    gdcm = _library()
    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(frame)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((form.columns, form.rows, 1))
    image.SetDataElement(element)
    colours = "RGB" if form.samples_per_pixel > 1 else "MONOCHROME2"
    kind = gdcm.PhotometricInterpretation.GetPIType(colours)
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(kind))
    if form.samples_per_pixel > 1:
        image.SetPlanarConfiguration(0)
    fitting = _LABELS[form.coding]
    label = form.transfer_syntax if form.transfer_syntax in fitting else fitting[-1]
    syntax = gdcm.TransferSyntax.GetTSType(label)
    image.SetTransferSyntax(gdcm.TransferSyntax(syntax))
    image.SetPixelFormat(
        gdcm.PixelFormat(
            form.samples_per_pixel,
            8 * _width(form),
            form.precision,
            form.precision - 1,
            int(form.codestream_signed),
        )
    )
    return image
