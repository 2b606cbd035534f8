"""PALETTE COLOR becomes RGB, header and pixels together; segmented tables are expanded."""

from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset

from gateway.failures import PermanentFailure
from gateway.model import Rendition
from gateway.transcode.instance import transcode
from tests.transcode.objects import (
    EXPLICIT_LE,
    JPEG_LS,
    TARGETS,
    encapsulated,
    header,
    little_endian_pixels,
    save,
)
from tests.transcode.test_instance import jls, result


def palette_header() -> Dataset:
    ds = header(1, 3, PhotometricInterpretation="PALETTE COLOR")
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8, 8, 7
    for number, colour in enumerate(("Red", "Green", "Blue")):
        setattr(ds, f"{colour}PaletteColorLookupTableDescriptor", [2, 5, 16])
        entries = np.array([number, 10 + number], "<u2") * 257
        setattr(ds, f"{colour}PaletteColorLookupTableData", entries.tobytes())
    return ds


@pytest.mark.parametrize("target", TARGETS)
def test_palette_colour_becomes_rgb_header_and_pixels_together(
    target: str, tmp_path: Path
) -> None:
    ds = palette_header()
    ds.PixelData = bytes((5, 6, 0, 0))
    ds["PixelData"].VR = "OB"
    source = save(tmp_path / "in.dcm", ds, EXPLICIT_LE)
    out = result(source, target, rendition=Rendition(color="RGB"))
    assert little_endian_pixels(out) == bytes((0, 1, 2, 10, 11, 12, 0, 1, 2))
    assert (out.SamplesPerPixel, out.PhotometricInterpretation) == (3, "RGB")
    assert (out.PlanarConfiguration, out.BitsAllocated) == (0, 8)
    assert "RedPaletteColorLookupTableData" not in out
    assert "RedPaletteColorLookupTableDescriptor" not in out


def test_a_compressed_palette_image_becomes_rgb(tmp_path: Path) -> None:
    image = np.array([[5, 6, 7]], "u1")
    source = encapsulated(tmp_path / "in.dcm", palette_header(), JPEG_LS, [jls(image)])
    out = result(source, rendition=Rendition(color="RGB"))
    assert out.PixelData[:9] == bytes((0, 1, 2, 10, 11, 12, 10, 11, 12))
    kept = result(source)
    assert kept.PhotometricInterpretation == "PALETTE COLOR"
    assert kept.PixelData[:3] == image.tobytes()


SEGMENTS = [0, 2, 10, 300, 1, 4, 700, 0, 1, 9, 2, 2, 0, 0]
"""Discrete 10, 300; linear to 700 in 4; discrete 9; the first two segments again."""


def segmented(words: list[int], entries: int) -> Dataset:
    ds = header(1, 13, PhotometricInterpretation="PALETTE COLOR")
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8, 8, 7
    for colour in ("Red", "Green", "Blue"):
        setattr(ds, f"{colour}PaletteColorLookupTableDescriptor", [entries, 0, 16])
        data = np.array(words, "<u2").tobytes()
        setattr(ds, f"Segmented{colour}PaletteColorLookupTableData", data)
    ds.PixelData = bytes(range(13)) + b"\0"
    ds["PixelData"].VR = "OB"
    return ds


def test_segmented_palettes_are_expanded(tmp_path: Path) -> None:
    source = save(tmp_path / "in.dcm", segmented(SEGMENTS, 13), EXPLICIT_LE)
    out = result(source, rendition=Rendition(color="RGB"))
    wanted = [10, 300, 400, 500, 600, 700, 9, 10, 300, 400, 500, 600, 700]
    assert out.BitsAllocated == 16
    assert np.frombuffer(out.PixelData, "<u2").reshape(-1, 3)[:, 0].tolist() == wanted
    assert "SegmentedRedPaletteColorLookupTableData" not in out


@pytest.mark.parametrize(
    "words", [[], [0], [3, 1, 1], [1, 5, 100], [2, 1, 0, 0], [0, 12, 1], [2, 65535, 6, 0] * 9]
)
def test_segments_that_do_not_make_the_table_are_refused(words: list[int], tmp_path: Path) -> None:
    source = save(tmp_path / "in.dcm", segmented(words, 13), EXPLICIT_LE)
    with pytest.raises(PermanentFailure, match=r"segmented palette"):
        transcode(source, EXPLICIT_LE, tmp_path / "o", rendition=Rendition(color="RGB"))
