"""docs/colour.md, row by row: the bytes and the header that come out."""

from pathlib import Path

import numpy as np
import pydicom
import pytest

from gateway.failures import PermanentFailure
from gateway.transcode.instance import transcode
from tests.transcode.colour_cases import CASES, EXPLICIT_LE, Case, table
from tests.transcode.objects import IMPLICIT_LE

PAGE = Path(__file__).parents[2] / "docs" / "colour.md"
BEGIN, END = "<!-- cases -->\n", "<!-- /cases -->"
_PHOTOMETRIC = ("RGB", "YBR_FULL", "MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c.coding}-{c.said}-{c.evidence}-{c.goes}")
def test_header_and_bytes_come_out_as_the_table_says(case: Case, tmp_path: Path) -> None:
    tags = dict(case.tags)
    position = tags.pop("overlay", None)
    source = Case(**{**vars(case), "tags": tags}).write(tmp_path / "in.dcm")
    if position is not None:
        ds = pydicom.dcmread(source)
        ds.add_new(0x60000100, "US", 1)
        ds.add_new(0x60000102, "US", position)
        ds.save_as(source)
    out = tmp_path / "out.dcm"
    if case.refused:
        with pytest.raises(PermanentFailure, match=case.refused):
            transcode(source, EXPLICIT_LE, out, rendition=case.rendition)
        transcode(source, IMPLICIT_LE, out)
        assert pydicom.dcmread(out).PixelData == case.stream()
        return
    transcode(source, EXPLICIT_LE, out, rendition=case.rendition)
    ds, wanted = pydicom.dcmread(out), case.wanted(case.stream())
    said = case.out.partition(",")[0]
    assert ds.PhotometricInterpretation == (said if said in _PHOTOMETRIC else case.said)
    planar = case.native and tags.get("PlanarConfiguration", 0)
    assert ds.get("PlanarConfiguration", 0) == int(planar)
    wanted = wanted.transpose(2, 0, 1) if planar else wanted
    assert ds.BitsAllocated == 8 * wanted.itemsize
    assert ds.HighBit == ds.BitsStored - 1
    assert ds.PixelRepresentation == int(wanted.dtype.kind == "i")
    got = np.frombuffer(ds.PixelData, wanted.dtype).reshape(wanted.shape)
    assert np.abs(got.astype(int) - wanted.astype(int)).max() <= case.bound


def test_the_page_has_the_cases_of_today() -> None:
    stands = PAGE.read_text().partition(BEGIN)[2].partition(END)[0]
    assert stands == table(), "run: python -m tests.transcode.colour_cases"
