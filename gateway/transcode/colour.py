"""What the decoded samples are, and what the header shall say: the colour decision.

PS3.3 C.7.6.3.1.2 names the interpretations; PS3.5 8.2 ties them to the codings. Evidence in the
codestream goes before the header, since encoders write the one and people the other:

=================  ==============================  ============================  ============
coding             evidence                        header                        samples are
=================  ==============================  ============================  ============
any                one component                   one of colours                MONOCHROME2
any                one component                   another                       as the header
JPEG DCT           Adobe transform 0, no JFIF      any                           RGB
JPEG DCT           component ids R, G, B           any                           RGB
JPEG DCT           JFIF, or Adobe transform 1 or 2 any                           YBR_FULL
JPEG DCT           JFIF and Adobe transform 0      RGB / another                 RGB / YBR_FULL
JPEG DCT           none, chroma subsampled         any                           YBR_FULL
JPEG DCT           none                            RGB / another                 RGB / YBR_FULL
JPEG lossless      Adobe transform 0, ids R, G, B  any                           RGB
JPEG lossless, LS  none                            RGB / YBR_FULL(_422)          RGB / YBR_FULL
JPEG 2000          component transform used        any                           RGB
JPEG 2000          component transform not used    YBR_FULL(_422) / another      YBR_FULL / RGB
JPEG XL            XYB, or a recompressed JPEG     any                           RGB
JPEG XL            not transformed                 YBR_FULL(_422) / another      YBR_FULL / RGB
RLE, deflated, raw none                            YBR_FULL(_422) / another      YBR_FULL / as is
all but JPEG DCT   none                            YBR_PARTIAL_422, _420         YBR_PARTIAL
=================  ==============================  ============================  ============

YBR_PARTIAL has black at 16 and white at 235 of 255. The standard has no term for it with chroma
at full size, as decoders give it, so it always comes out as RGB.
"""

from typing import Final, NamedTuple

from gateway.transcode.codestream import Codestream
from gateway.transcode.form import Coding

RGB = "RGB"
YBR_FULL = "YBR_FULL"
YBR_PARTIAL = "YBR_PARTIAL"
_YBR_PARTIAL = ("YBR_PARTIAL_422", "YBR_PARTIAL_420")
_YBR_FULL = ("YBR_FULL", "YBR_FULL_422")
_OF_COLOURS: Final = (RGB, *_YBR_FULL, *_YBR_PARTIAL, "YBR_RCT", "YBR_ICT")
_GREY: Final = "MONOCHROME2"
RGB_IDS = (0x52, 0x47, 0x42)
_TRANSFORMING: Final = (
    Coding.JPEG_2000,
    Coding.JPEG_2000_ARRAYS,
    Coding.HTJ2K,
    Coding.JPEG_XL,
)
DCT: Final = (Coding.JPEG_8, Coding.JPEG_12, Coding.JPEG_ARITHMETIC)


class Colour(NamedTuple):
    """The decision: ``encoded`` is what the samples are, ``photometric`` what shall come out,
    ``convert`` that YCbCr has to be undone for it, ``why`` the evidence in words.
    """

    encoded: str
    photometric: str
    convert: bool
    why: str

    @property
    def partial(self) -> bool:
        """The samples have the range of video."""
        return self.encoded == YBR_PARTIAL


def decide_colour(header: str, found: Codestream | None, wanted: str = "") -> Colour:
    """The colour of frames coded as ``found`` under the Photometric Interpretation ``header``.

    ``found`` None stands for RLE. ``wanted`` "RGB" asks for YCbCr to be undone, "" for the
    samples as encoded.
    """
    if found is not None and found.components == 1 and header in _OF_COLOURS:
        return Colour(_GREY, _GREY, False, "the codestream has one component")
    if found is not None and found.components != 3:
        return Colour(header, header, False, "not a colour image of three components")
    encoded, why = _evidence(header, found)
    if encoded == YBR_PARTIAL:
        return Colour(encoded, RGB, True, why)
    if wanted == RGB and encoded == YBR_FULL:
        return Colour(encoded, RGB, True, why)
    return Colour(encoded, encoded, False, why)


def _evidence(header: str, found: Codestream | None) -> tuple[str, str]:
    if header in _YBR_PARTIAL and (found is None or not _marked(found)):
        return YBR_PARTIAL, "the header: the range of video, chroma at full size once decoded"
    if found is None:
        encoded = YBR_FULL if header in _YBR_FULL else header
        return encoded, "the samples stand as the header names them"
    if found.coding in _TRANSFORMING:
        return _jpeg_2000(header, found)
    if found.coding in DCT:
        return _jpeg_dct(header, found)
    if found.coding is Coding.JPEG_LOSSLESS and (found.adobe == 0 or found.ids == RGB_IDS):
        return RGB, "the codestream declares RGB"
    if header in (RGB, *_YBR_FULL):
        return RGB if header == RGB else YBR_FULL, "the header; this codec transforms nothing"
    return header, "the header; this codec transforms nothing"


def _marked(found: Codestream) -> bool:
    """The codestream says what its components are; those of JPEG DCT have the full range."""
    return found.coding in DCT or found.transform or found.adobe == 0 or found.ids == RGB_IDS


def _jpeg_2000(header: str, found: Codestream) -> tuple[str, str]:
    if found.transform:
        return RGB, "the codec undoes the component transform of the codestream"
    if header in _YBR_FULL:
        return YBR_FULL, "the header; the codestream has no component transform"
    return RGB, "the codestream has no component transform"


def _jpeg_dct(header: str, found: Codestream) -> tuple[str, str]:
    if found.ids == RGB_IDS:
        return RGB, "component identifiers R, G, B"
    if found.adobe == 0 and not found.jfif:
        return RGB, "Adobe marker, transform 0"
    by_header = RGB if header == RGB else YBR_FULL
    if found.adobe == 0:
        return by_header, "the header; JFIF and Adobe transform 0 contradict each other"
    if found.jfif:
        return YBR_FULL, "JFIF marker"
    if found.adobe:
        return YBR_FULL, f"Adobe marker, transform {found.adobe}"
    if found.subsampled:
        return YBR_FULL, "subsampled chroma"
    return by_header, "the header; no marker in the codestream says otherwise"
