"""Which code base stands behind a decoder: two that share one prove nothing about each other.

=====================  ==============================  =========================================
codestream             lineage                         reached through
=====================  ==============================  =========================================
RLE                    imcd                            imagecodecs
..                     pylibjpeg-rle (Rust)            pylibjpeg
..                     the gateway's own               numpy
JPEG DCT, 8 bit        libjpeg-turbo                   imagecodecs, pillow
..                     IJG libjpeg 6b                  gdcm (greyscale)
JPEG DCT, 12 bit       libjpeg-turbo                   imagecodecs
JPEG lossless          IJG with the lossless patch     imagecodecs (libjpeg-turbo 3), gdcm
..                     liblj92                         imagecodecs.ljpeg
..                     jpegsof3                        imagecodecs.jpegsof3
JPEG-LS                CharLS                          imagecodecs, pyjpegls, gdcm
JPEG 2000              OpenJPEG                        imagecodecs, pylibjpeg, pillow, gdcm
HTJ2K                  OpenJPH                         imagecodecs
..                     OpenJPEG                        pylibjpeg
JPEG XL                libjxl                          imagecodecs
deflated samples       libdeflate                      imagecodecs
..                     zlib                            numpy
=====================  ==============================  =========================================

libjpeg-turbo left IJG's libjpeg 6b in 2010 and has entropy decoder and transforms of its own, so
for DCT the two count as two; its lossless process is the patch that GDCM's libjpeg has, so there
they count as one. A decoder that is not in the table has a lineage of its own: its name.
"""

from collections.abc import Iterable
from typing import Final

from gateway.transcode.backends.lossless import JPEGSOF3, LIBLJ92
from gateway.transcode.decoders import ROWS, candidates
from gateway.transcode.form import Backend, Coding, FrameFormat

_TURBO: Final = "libjpeg-turbo"
_PATCHED: Final = "IJG with the lossless patch"
_OPENJPEG: Final = "OpenJPEG"
_CHARLS: Final = "CharLS"

LINEAGE: Final[dict[tuple[str, Coding], str]] = {
    ("imagecodecs", Coding.RLE): "imcd",
    ("pylibjpeg", Coding.RLE): "pylibjpeg-rle",
    ("numpy", Coding.RLE): "the gateway's own",
    ("imagecodecs", Coding.JPEG_8): _TURBO,
    ("pillow", Coding.JPEG_8): _TURBO,
    ("gdcm", Coding.JPEG_8): "IJG libjpeg 6b",
    ("imagecodecs", Coding.JPEG_12): _TURBO,
    ("imagecodecs", Coding.JPEG_LOSSLESS): _PATCHED,
    ("gdcm", Coding.JPEG_LOSSLESS): _PATCHED,
    ("imagecodecs", Coding.JPEG_LS): _CHARLS,
    ("pyjpegls", Coding.JPEG_LS): _CHARLS,
    ("gdcm", Coding.JPEG_LS): _CHARLS,
    ("imagecodecs", Coding.JPEG_2000): _OPENJPEG,
    ("pylibjpeg", Coding.JPEG_2000): _OPENJPEG,
    ("pillow", Coding.JPEG_2000): _OPENJPEG,
    ("gdcm", Coding.JPEG_2000): _OPENJPEG,
    ("imagecodecs", Coding.JPEG_2000_ARRAYS): _OPENJPEG,
    ("pylibjpeg", Coding.JPEG_2000_ARRAYS): _OPENJPEG,
    ("imagecodecs", Coding.HTJ2K): "OpenJPH",
    ("pylibjpeg", Coding.HTJ2K): _OPENJPEG,
    ("imagecodecs", Coding.JPEG_ARITHMETIC): _TURBO,
    ("pillow", Coding.JPEG_ARITHMETIC): _TURBO,
    ("imagecodecs", Coding.JPEG_XL): "libjxl",
    ("imagecodecs", Coding.DEFLATED): "libdeflate",
    ("numpy", Coding.DEFLATED): "zlib",
}

WITNESSES: Final[tuple[Backend, ...]] = (LIBLJ92, JPEGSOF3)
"""Decoders that are asked for a second opinion only."""

_NEVER_REVERSIBLE: Final = (Coding.JPEG_8, Coding.JPEG_12, Coding.JPEG_ARITHMETIC)


def lineage(name: str, coding: Coding) -> str:
    """The code base that decodes ``coding`` behind the backend ``name``."""
    return LINEAGE.get((name, coding), name)


def others(first: Backend, form: FrameFormat) -> list[Backend]:
    """The decoders of other lineages that can serve ``form``, one of each, best first."""
    seen = {lineage(first.name, form.coding)}
    found = []
    for backend in (*candidates(form), *WITNESSES):
        origin = lineage(backend.name, form.coding)
        if origin not in seen and backend.supports(form) and backend.version():
            seen.add(origin)
            found.append(backend)
    return found


def one_lineage(*, lossy: bool) -> list[str]:
    """The codings that no two code bases installed here decode, in words; no self-test is asked.

    ``lossy``: also those that are never reversible.
    """
    found = []
    for coding, row in ROWS.items():
        if coding is Coding.NATIVE or (coding in _NEVER_REVERSIBLE and not lossy):
            continue
        grey, colour = (_lineages(coding, (*row, *WITNESSES), samples) for samples in (1, 3))
        if len(colour) == 1:
            found.append(f"{coding.value}{'' if len(grey) == 1 else ', in colour'}")
    return found


def _lineages(coding: Coding, backends: Iterable[Backend], samples: int) -> set[str]:
    bits = 12 if coding is Coding.JPEG_12 else 8
    form = FrameFormat("", 8, 8, samples, coding=coding, precision=bits)
    return {
        lineage(backend.name, coding)
        for backend in backends
        if backend.supports(form) and backend.version()
    }


def described(backend: Backend, form: FrameFormat) -> str:
    """Name, version and lineage in words: "gdcm 3.2.6 (CharLS)"."""
    return f"{backend.name} {backend.version()} ({lineage(backend.name, form.coding)})"
