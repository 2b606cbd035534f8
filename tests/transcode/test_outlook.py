"""What is told of an instance before it is decoded is what then comes out."""

from pathlib import Path

import pytest
from pydicom.data import get_testdata_file

from gateway.dataset.header import read_header
from gateway.dataset.part10 import read_file_meta
from gateway.failures import PermanentFailure
from gateway.model import UID, Rendition
from gateway.transcode.instance import transcode
from gateway.transcode.outlook import Outlook, of_file, of_header
from gateway.transfer_syntax import (
    EXPLICIT_LE,
    IMPLICIT_LE,
    J2K,
    JPEG_BASELINE,
    JPEG_LS,
    RLE,
)
from tests.dataset.samples import CUT, NO_DATA_SET, every_file

AS_ENCODED, RGB = Rendition(), Rendition(color="RGB")


@pytest.mark.parametrize("rendition", [AS_ENCODED, RGB], ids=["as encoded", "RGB"])
@pytest.mark.parametrize("path", every_file(frozenset((*CUT, NO_DATA_SET))))
def test_the_outlook_of_a_file_is_what_its_transcode_says(
    path: Path, rendition: Rendition, tmp_path: Path
) -> None:
    """And what a header is sure of comes true."""
    try:
        done = transcode(path, IMPLICIT_LE, tmp_path / "out.dcm", rendition=rendition)
    except PermanentFailure:
        pytest.skip("it is held")
    told = of_file(path, IMPLICIT_LE, rendition, tmp_path)
    assert (told.photometric, told.decoder) == (done.photometric, done.decoder)
    stored = read_file_meta(path.read_bytes()).transfer_syntax
    photometric = read_header(path, {0x00280004: "P"}).get("P", "")
    guessed = of_header(stored, photometric, IMPLICIT_LE, rendition)
    assert guessed.photometric == told.photometric or not guessed.certain
    assert guessed.decoder in (None, "")


@pytest.mark.parametrize(
    ("stored", "photometric", "rendition", "told"),
    [
        (JPEG_BASELINE, "YBR_FULL_422", AS_ENCODED, ("YBR_FULL", None, False)),
        (JPEG_BASELINE, "RGB", AS_ENCODED, ("RGB", None, False)),
        (JPEG_BASELINE, "YBR_FULL_422", RGB, ("RGB", None, True)),
        (JPEG_BASELINE, "MONOCHROME1", AS_ENCODED, ("MONOCHROME1", None, True)),
        (J2K, "YBR_ICT", AS_ENCODED, ("RGB", None, True)),
        (J2K, "YBR_FULL", AS_ENCODED, ("YBR_FULL", None, False)),
        (JPEG_LS, "YBR_FULL", AS_ENCODED, ("YBR_FULL", None, True)),
        (RLE, "YBR_FULL", AS_ENCODED, ("YBR_FULL", None, True)),
        (RLE, "PALETTE COLOR", RGB, ("RGB", None, True)),
        (EXPLICIT_LE, "PALETTE COLOR", AS_ENCODED, ("PALETTE COLOR", "", True)),
        (EXPLICIT_LE, "YBR_FULL", RGB, ("RGB", "", True)),
        (J2K, "", AS_ENCODED, ("", None, True)),
        ("1.2.3", "RGB", AS_ENCODED, ("RGB", "", True)),
    ],
)
def test_a_header_tells_the_colours_as_far_as_it_can(
    stored: UID, photometric: str, rendition: Rendition, told: tuple[str, str | None, bool]
) -> None:
    found = of_header(stored, photometric, IMPLICIT_LE, rendition)
    assert (found.photometric, found.decoder, found.certain) == told


def test_what_is_sent_as_stored_keeps_its_colours(tmp_path: Path) -> None:
    path = Path(get_testdata_file("SC_rgb_jpeg_dcmtk.dcm"))
    assert of_file(path, JPEG_BASELINE, RGB, tmp_path) == Outlook("YBR_FULL")
    assert of_header(JPEG_BASELINE, "YBR_FULL", JPEG_BASELINE, RGB) == Outlook("YBR_FULL")
