"""The decoders in the order in which they are tried: proven exact first, then fastest here.

The self-test closes what a decoder fails and measures speed (``gateway.transcode.matrix``);
between decoders of equal speed the order of this table rules.

=====================  ==========================================  ============================
transfer syntax        decoders                                    why in this order
=====================  ==========================================  ============================
Implicit, Explicit     numpy                                       nothing to decode
RLE                    imagecodecs, pylibjpeg, numpy               all exact; the first knows 1 bit
JPEG .50 .51           imagecodecs, pillow, gdcm                   12 bit: the first alone
JPEG Lossless .57 .70  imagecodecs, gdcm                           1.5 ms against 5 per CT
JPEG-LS .80 .81        imagecodecs, pyjpegls, gdcm                 the first takes a stray byte
JPEG 2000 .90 .91      imagecodecs, pylibjpeg, pillow, gdcm        one lineage, equal speed
.. irreversible colour pylibjpeg, pillow, gdcm, imagecodecs        the last rounds some by 1
.. with arrays .92 .93 imagecodecs, pylibjpeg                      arrays undone by ourselves
HTJ2K .201 .202 .203   imagecodecs, pylibjpeg                      irreversible: the first wraps
JPEG arithmetic        imagecodecs, pillow                         one lineage
JPEG XL .110-.112      imagecodecs                                 the only one
deflated frames        imagecodecs, numpy                          libdeflate against zlib
=====================  ==========================================  ============================

The row is taken by what the codestream is, not by its label. One decoder serves a whole
instance; attempt k begins with the k-th.
"""

from functools import cache
from typing import Final

from gateway.transcode.backends import gdcm, imagecodecs, jpeg_ls, native, pillow, pylibjpeg
from gateway.transcode.form import Backend, Coding, FrameFormat
from gateway.transcode.matrix import proven

BACKENDS: Final[tuple[Backend, ...]] = (imagecodecs, pylibjpeg, pillow, jpeg_ls, gdcm, native)

_OPENJPEG: Final[tuple[Backend, ...]] = (imagecodecs, pylibjpeg, pillow, gdcm)
_IRREVERSIBLE_COLOUR: Final[tuple[Backend, ...]] = (pylibjpeg, pillow, gdcm, imagecodecs)

ROWS: Final[dict[Coding, tuple[Backend, ...]]] = {
    Coding.NATIVE: (native,),
    Coding.RLE: (imagecodecs, pylibjpeg, native),
    Coding.JPEG_8: (imagecodecs, pillow, gdcm),
    Coding.JPEG_12: (imagecodecs,),
    Coding.JPEG_LOSSLESS: (imagecodecs, gdcm),
    Coding.JPEG_LS: (imagecodecs, jpeg_ls, gdcm),
    Coding.JPEG_2000: _OPENJPEG,
    Coding.JPEG_2000_ARRAYS: (imagecodecs, pylibjpeg),
    Coding.HTJ2K: (imagecodecs, pylibjpeg),
    Coding.JPEG_ARITHMETIC: (imagecodecs, pillow),
    Coding.JPEG_XL: (imagecodecs,),
    Coding.DEFLATED: (imagecodecs, native),
}


@cache
def versions() -> tuple[str, ...]:
    """Each decoder with the version of its library, nothing behind it where that is missing."""
    return tuple(f"{one.name} {one.version()}" for one in BACKENDS)


def candidates(form: FrameFormat) -> list[Backend]:
    """The decoders that can serve ``form``, best first; libraries that are missing left out."""
    row = ROWS[form.coding]
    if form.coding is Coding.JPEG_2000 and form.lossy and form.samples_per_pixel > 1:
        row = _IRREVERSIBLE_COLOUR
    able = [backend for backend in row if backend.supports(form) and backend.version()]
    if form.coding is Coding.NATIVE:
        return able
    return proven().ordered(form, able)
