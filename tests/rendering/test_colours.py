"""From stored samples to RGB: palettes, YCbCr, depths, arrangements."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

from gateway.failures import PermanentFailure
from gateway.rendering import samples
from gateway.rendering.refusals import NothingToShow
from gateway.rendering.view import View, Window
from gateway.transfer_syntax import ENCAPSULATED_UNCOMPRESSED
from tests.rendering.pictures import colour_file, given, shown
from tests.transcode.objects import EXPLICIT_LE, encapsulated, header, save

PRIMARIES = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [200, 100, 50]]], np.uint8)
YCBCR = np.array([[[76, 85, 255], [150, 44, 21]], [[29, 255, 107], [124, 86, 182]]], np.uint8)
"""The primaries as YBR_FULL, by the formulas of PS3.3 C.7.6.3.1.2."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "object.dcm"


def test_rgb_is_shown_as_it_is(path: Path) -> None:
    assert (shown(colour_file(path, PRIMARIES)) == PRIMARIES).all()


def test_a_window_does_not_touch_colours(path: Path) -> None:
    file = colour_file(path, PRIMARIES, WindowCenter=10, WindowWidth=10)
    assert (shown(file, View(window=Window(5, 5))) == PRIMARIES).all()


def test_separate_planes_are_joined(path: Path) -> None:
    file = colour_file(path, PRIMARIES, PlanarConfiguration=1)
    planes = PRIMARIES.transpose(2, 0, 1).copy()
    content = file.read_bytes().replace(PRIMARIES.tobytes(), planes.tobytes())
    file.write_bytes(content)
    assert (shown(file) == PRIMARIES).all()


def test_ybr_full_becomes_rgb(path: Path) -> None:
    found = shown(colour_file(path, YCBCR, "YBR_FULL")).astype(int)
    assert np.abs(found - PRIMARIES).max() <= 2


def _in_pairs(path: Path, photometric: str, values: list[int]) -> Path:
    ds = header(1, 2, SamplesPerPixel=3, PhotometricInterpretation=photometric)
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8, 8, 7
    ds.PixelData = bytes(values)
    ds["PixelData"].VR = "OB"
    return save(path, ds, EXPLICIT_LE)


def test_pairs_of_pixels_share_their_chroma(path: Path) -> None:
    """Y1 Y2 Cb Cr, C.7.6.3.1.2."""
    assert shown(_in_pairs(path, "YBR_FULL_422", [10, 200, 128, 128])).tolist() == [
        [[10, 10, 10], [200, 200, 200]]
    ]
    red = shown(_in_pairs(path, "YBR_FULL_422", [76, 76, 85, 255]))
    assert np.abs(red.astype(int) - [255, 0, 0]).max() <= 1


def test_pairs_of_pixels_in_fragments_are_shown_as_native_ones(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samples, "_WORTH", 0)
    ds = header(1, 2, SamplesPerPixel=3, PhotometricInterpretation="YBR_FULL_422")
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.NumberOfFrames = 8, 8, 7, 3
    frames = [bytes((grey, grey + 9, 128, 128)) for grey in (10, 20, 30)]
    found = shown(encapsulated(path, ds, ENCAPSULATED_UNCOMPRESSED, frames), View(), 2)
    assert found.tolist() == [[[20, 20, 20], [29, 29, 29]]]


def test_three_bytes_a_pixel_under_422_are_ybr_full(path: Path) -> None:
    found = shown(colour_file(path, YCBCR, "YBR_FULL_422")).astype(int)
    assert np.abs(found - PRIMARIES).max() <= 2


def test_partial_ycbcr_is_spread_to_the_full_range(path: Path) -> None:
    """Black is 16 and white 235 (ITU-R BT.601)."""
    found = shown(_in_pairs(path, "YBR_PARTIAL_422", [16, 235, 128, 128]))
    assert found.tolist() == [[[0, 0, 0], [255, 255, 255]]]
    red = shown(_in_pairs(path, "YBR_PARTIAL_422", [81, 81, 90, 240])).astype(int)
    assert np.abs(red - [255, 0, 0]).max() <= 2


def test_deep_colours_are_shown_by_their_upper_bits(path: Path) -> None:
    ds = header(1, 2, SamplesPerPixel=3, PhotometricInterpretation="RGB")
    ds.BitsStored, ds.HighBit = 12, 11
    ds.PixelData = np.array([[0, 2048, 4095], [16, 4095, 1]], "<u2").tobytes()
    ds["PixelData"].VR = "OW"
    assert shown(save(path, ds, EXPLICIT_LE)).tolist() == [[[0, 128, 255], [1, 255, 0]]]


def _palette(path: Path, samples: Any, tables: list[Any], first: int, bits: int) -> Dataset:
    samples = np.asarray(samples)
    ds = header(*samples.shape, PhotometricInterpretation="PALETTE COLOR")
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8, 8, 7
    ds.PixelData = samples.astype("u1").tobytes()
    ds["PixelData"].VR = "OB"
    for colour, table in zip(("Red", "Green", "Blue"), tables, strict=True):
        name = f"{colour}PaletteColorLookupTable"
        given(ds, {f"{name}Descriptor": [len(table), first, bits], f"{name}Data": bytes(0)})
        ds[f"{name}Data"].value = np.asarray(table, "<u2").tobytes()
    return ds


def test_a_palette_of_16_bits_is_looked_up(path: Path) -> None:
    tables = [[0, 0x8000, 0xFFFF], [0xFFFF, 0x4000, 0], [0, 0x1234, 0xFFFF]]
    ds = _palette(path, [[0, 10, 11], [12, 13, 255]], tables, 10, 16)
    low, middle, high = [0, 255, 0], [0x80, 0x40, 0x12], [255, 0, 255]
    assert shown(save(path, ds, EXPLICIT_LE)).tolist() == [[low, low, middle], [high, high, high]]


def test_a_segmented_palette_is_expanded(path: Path) -> None:
    ds = _palette(path, [[0, 1, 2, 3, 4, 5]], [[0] * 6] * 3, 0, 16)
    for colour in ("Red", "Green", "Blue"):
        del ds[f"{colour}PaletteColorLookupTableData"]
        segments = np.array([0, 1, 0, 1, 5, 0xFF00], "<u2").tobytes()
        setattr(ds, f"Segmented{colour}PaletteColorLookupTableData", segments)
    found = shown(save(path, ds, EXPLICIT_LE))
    assert found[0, :, 0].tolist() == [0, 51, 102, 153, 204, 255]


def test_a_palette_that_is_not_whole_is_refused(path: Path) -> None:
    ds = _palette(path, [[0, 1]], [[0, 9]] * 3, 0, 16)
    del ds.GreenPaletteColorLookupTableDescriptor
    with pytest.raises(PermanentFailure, match="descriptors"):
        shown(save(path, ds, EXPLICIT_LE))


@pytest.mark.parametrize("photometric", ["CMYK", "HSV", "ARGB", "XYB"])
def test_an_unknown_interpretation_is_refused_by_name(path: Path, photometric: str) -> None:
    with pytest.raises(NothingToShow, match=photometric):
        shown(colour_file(path, PRIMARIES, photometric))
