"""The colour table: one test row per case."""

import pytest

from gateway.transcode.codestream import Codestream
from gateway.transcode.colour import decide_colour
from gateway.transcode.form import Coding

RGB_IDS = (0x52, 0x47, 0x42)
FULL = ((1, 1), (1, 1), (1, 1))
DCT = Codestream(Coding.JPEG_8, "", 8, 8, 3, 8, sampling=FULL, ids=(1, 2, 3), lossy=True)
LOSSLESS = DCT._replace(coding=Coding.JPEG_LOSSLESS, lossy=False)
LS = DCT._replace(coding=Coding.JPEG_LS, lossy=False)
J2K = DCT._replace(coding=Coding.JPEG_2000, lossy=False)
MCT = J2K._replace(transform=True)
CHROMA_420 = ((2, 2), (1, 1), (1, 1))
CHROMA_422 = ((2, 1), (1, 1), (1, 1))
CHROMA_440 = ((1, 2), (1, 1), (1, 1))
CHROMA_411 = ((4, 1), (1, 1), (1, 1))


@pytest.mark.parametrize(
    ("header", "found", "encoded"),
    [
        ("YBR_FULL_422", DCT._replace(adobe=0), "RGB"),
        ("RGB", DCT._replace(adobe=0), "RGB"),
        ("YBR_FULL_422", DCT._replace(ids=RGB_IDS), "RGB"),
        ("YBR_FULL", DCT._replace(ids=RGB_IDS, jfif=True), "RGB"),
        ("RGB", DCT._replace(jfif=True), "YBR_FULL"),
        ("YBR_FULL_422", DCT._replace(jfif=True), "YBR_FULL"),
        ("RGB", DCT._replace(adobe=1), "YBR_FULL"),
        ("RGB", DCT._replace(adobe=2), "YBR_FULL"),
        ("RGB", DCT._replace(adobe=0, jfif=True), "RGB"),
        ("YBR_FULL", DCT._replace(adobe=0, jfif=True), "YBR_FULL"),
        ("RGB", DCT._replace(sampling=CHROMA_420), "YBR_FULL"),
        ("RGB", DCT._replace(sampling=CHROMA_422), "YBR_FULL"),
        ("RGB", DCT._replace(sampling=CHROMA_440), "YBR_FULL"),
        ("RGB", DCT._replace(sampling=CHROMA_411), "YBR_FULL"),
        ("RGB", DCT, "RGB"),
        ("YBR_FULL_422", DCT, "YBR_FULL"),
        ("YBR_FULL", DCT, "YBR_FULL"),
        ("YBR_PARTIAL_420", DCT, "YBR_FULL"),
        ("RGB", LOSSLESS, "RGB"),
        ("YBR_FULL", LOSSLESS, "YBR_FULL"),
        ("YBR_FULL_422", LOSSLESS, "YBR_FULL"),
        ("YBR_FULL", LOSSLESS._replace(adobe=0), "RGB"),
        ("YBR_FULL", LOSSLESS._replace(ids=RGB_IDS), "RGB"),
        ("RGB", LS, "RGB"),
        ("YBR_FULL", LS, "YBR_FULL"),
        ("YBR_RCT", MCT, "RGB"),
        ("YBR_ICT", MCT, "RGB"),
        ("RGB", MCT, "RGB"),
        ("YBR_FULL", MCT, "RGB"),
        ("YBR_RCT", J2K, "RGB"),
        ("YBR_ICT", J2K, "RGB"),
        ("RGB", J2K, "RGB"),
        ("YBR_FULL", J2K, "YBR_FULL"),
        ("YBR_FULL_422", J2K, "YBR_FULL"),
        ("RGB", None, "RGB"),
        ("YBR_FULL", None, "YBR_FULL"),
        ("YBR_FULL_422", None, "YBR_FULL"),
        ("MONOCHROME1", None, "MONOCHROME1"),
        ("PALETTE COLOR", None, "PALETTE COLOR"),
        ("MONOCHROME1", DCT._replace(components=1), "MONOCHROME1"),
        ("PALETTE COLOR", J2K._replace(components=1), "PALETTE COLOR"),
    ],
)
def test_the_samples_are(header: str, found: Codestream | None, encoded: str) -> None:
    colour = decide_colour(header, found)
    assert (colour.encoded, colour.photometric, colour.convert) == (encoded, encoded, False)
    assert colour.why
    wanted = decide_colour(header, found, "RGB")
    converted = encoded == "YBR_FULL"
    assert wanted.photometric == ("RGB" if converted else encoded)
    assert wanted.convert == converted
