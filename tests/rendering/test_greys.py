"""From stored values to greys, stage by stage, on objects made for it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

from gateway.rendering.view import View, Window
from tests.rendering.pictures import grey_file, item, lut, shown
from tests.transcode.objects import EXPLICIT_BE, IMPLICIT_LE, encapsulated, header, rle_of, save

VALUES = np.array([[0, 100, 200], [300, 400, 1000]], np.uint16)


def greys(values: Any) -> Any:
    """8-bit greys of shares of white."""
    return np.rint(255 * np.clip(np.asarray(values, float), 0, 1))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "object.dcm"


def test_without_a_window_a_frame_is_shown_from_its_least_to_its_greatest_value(
    path: Path,
) -> None:
    assert (shown(grey_file(path, VALUES)) == greys(VALUES / 1000)).all()


def test_eight_bits_without_a_window_are_shown_as_they_are(path: Path) -> None:
    values = np.array([[10, 20, 30]], np.uint8)
    assert (shown(grey_file(path, values)) == values).all()


@pytest.mark.parametrize("syntax", [IMPLICIT_LE, EXPLICIT_BE])
def test_other_native_syntaxes_look_the_same(path: Path, syntax: str) -> None:
    file = grey_file(path, VALUES, syntax, WindowCenter=200, WindowWidth=400)
    truth = (VALUES.astype(float) - 199.5) / 399 + 0.5
    assert (shown(file) == greys(truth)).all()


def test_the_first_of_several_windows_counts(path: Path) -> None:
    file = grey_file(path, VALUES, WindowCenter=[200.5, 5], WindowWidth=[401, 9])
    assert (shown(file) == greys((VALUES - 200.0) / 400 + 0.5)).all()


def test_rescale_comes_before_the_window(path: Path) -> None:
    file = grey_file(
        path, VALUES, RescaleSlope=2, RescaleIntercept=-100, WindowCenter=100.5, WindowWidth=1001
    )
    assert (shown(file) == greys((VALUES * 2.0 - 100 - 100) / 1000 + 0.5)).all()


def test_a_negative_slope_turns_the_range_around(path: Path) -> None:
    file = grey_file(path, VALUES, RescaleSlope=-1, RescaleIntercept=0)
    assert (shown(file) == greys(1 - VALUES / 1000)).all()


def test_monochrome_1_is_shown_inverted(path: Path) -> None:
    file = grey_file(path, VALUES, PhotometricInterpretation="MONOCHROME1")
    assert (shown(file) == greys(1 - VALUES / 1000)).all()
    file = grey_file(
        path, VALUES, PhotometricInterpretation="MONOCHROME1", PresentationLUTShape="INVERSE"
    )
    assert (shown(file) == greys(1 - VALUES / 1000)).all()


def test_an_inverse_presentation_lut_shape_inverts(path: Path) -> None:
    file = grey_file(path, VALUES, PresentationLUTShape="INVERSE")
    assert (shown(file) == greys(1 - VALUES / 1000)).all()


def test_a_clients_window_replaces_the_objects_own(path: Path) -> None:
    voi = [lut(0, [0, 255], 8)]
    file = grey_file(path, VALUES, VOILUTSequence=voi, WindowCenter=1, WindowWidth=1)
    view = View(window=Window(200.5, 401))
    assert (shown(file, view) == greys((VALUES - 200.0) / 400 + 0.5)).all()


def test_a_modality_lut_is_looked_up_with_its_ends_beyond_it(path: Path) -> None:
    table = [10, 20, 40, 80]
    values = np.array([[0, 100, 101, 102, 103, 500]], np.uint16)
    file = grey_file(path, values, ModalityLUTSequence=[lut(100, table, 16)])
    outputs = np.array([[10, 10, 20, 40, 80, 80]])
    assert (shown(file) == greys((outputs - 10) / 70)).all()


def test_a_voi_lut_goes_before_a_window(path: Path) -> None:
    table = [0, 1000, 3000, 4095]
    values = np.array([[0, 5, 6, 7, 8, 500]], np.uint16)
    file = grey_file(
        path, values, VOILUTSequence=[lut(5, table, 12)], WindowCenter=1, WindowWidth=1
    )
    outputs = np.array([[0, 0, 1000, 3000, 4095, 4095]])
    assert (shown(file) == greys(outputs / 4095)).all()


def test_a_voi_lut_begins_at_a_negative_value(path: Path) -> None:
    values = np.array([[-3, -2, -1, 0]], np.int16)
    table = lut(-2, [0, 100, 255], 8)
    file = grey_file(path, values, VOILUTSequence=[table])
    assert shown(file).tolist() == [[0, 0, 100, 255]]
    table.add_new("LUTDescriptor", "US", [3, 65534, 8])
    file = grey_file(path, values, VOILUTSequence=[table])
    assert shown(file).tolist() == [[0, 0, 100, 255]]


def test_a_lut_that_is_cut_is_left_out(path: Path) -> None:
    cut = lut(0, [0, 255], 8)
    cut.LUTDescriptor = [4, 0, 8]
    cut["LUTData"].value = b"\0\1"
    file = grey_file(path, VALUES, VOILUTSequence=[cut], WindowCenter=510.5, WindowWidth=1021)
    assert (shown(file) == greys(VALUES / 1020)).all()


def test_padding_does_not_count_for_the_range(path: Path) -> None:
    values = np.array([[-2000, -1990, 0, 100]], np.int16)
    file = grey_file(path, values, PixelPaddingValue=-2000)
    assert shown(file).tolist() == [[0, 0, 243, 255]]
    file = grey_file(path, values, PixelPaddingValue=-2000, PixelPaddingRangeLimit=-1900)
    assert shown(file).tolist() == [[0, 0, 0, 255]]


def test_a_frame_of_padding_alone_is_black(path: Path) -> None:
    values = np.full((2, 2), 7, np.uint16)
    assert shown(grey_file(path, values, PixelPaddingValue=7)).max() == 0


def test_eight_bits_stored_in_many_are_shown_as_they_are(path: Path) -> None:
    values = np.array([[10, 20, 255]], np.uint32)
    assert (shown(grey_file(path, values, BitsStored=8, HighBit=7)) == values).all()


def test_a_band_of_padding_alone_does_not_count(path: Path) -> None:
    """Of deep samples, which are gone through in bands of rows."""
    values = np.full((3000, 1000), -30_000, np.int32)
    values[-1, :2] = 100_000, 200_000
    picture = shown(grey_file(path, values, PixelPaddingValue=-30_000), View())
    assert picture[-1, :2].tolist() == [0, 255]


def test_a_window_that_makes_no_sense_is_left_out(path: Path) -> None:
    for width in (0, -5):
        file = grey_file(path, VALUES, WindowCenter=5, WindowWidth=width)
        assert (shown(file) == greys(VALUES / 1000)).all()


def test_signed_samples_of_nine_bits_are_extended(path: Path) -> None:
    values = np.array([[0x1FF, 0x100, 0x0FF, 0]], np.uint16)  # -1, -256, 255, 0
    file = grey_file(
        path,
        values,
        BitsStored=9,
        HighBit=8,
        PixelRepresentation=1,
        WindowCenter=0,
        WindowWidth=512,
    )
    truth = (np.array([[-1, -256, 255, 0]]) + 0.5) / 511 + 0.5
    assert (shown(file) == greys(truth)).all()


def test_overlay_bits_above_and_below_the_samples_are_cleared(path: Path) -> None:
    values = np.array([[0xF000, 0xF010, 0xAFF0, 0x5FF7]], np.uint16)
    above = grey_file(path, values, BitsStored=12, HighBit=11)
    assert (shown(above) == greys(np.array([[0, 0x10, 0xFF0, 0xFF7]]) / 0xFF7)).all()
    below = grey_file(path, values, BitsStored=12, HighBit=15)
    stored = np.array([[0xF00, 0xF01, 0xAFF, 0x5FF]])
    assert (shown(below) == greys((stored - 0x5FF) / (0xF01 - 0x5FF))).all()


def test_samples_of_32_bits_are_shown(path: Path) -> None:
    values = np.array([[0, 1 << 20, 1 << 31, (1 << 32) - 1]], np.uint32)
    assert (shown(grey_file(path, values)) == greys(values / ((1 << 32) - 1))).all()
    signed = np.array([[-(1 << 31), 0, (1 << 31) - 1]], np.int32)
    truth = (signed.astype(float) + (1 << 31)) / ((1 << 32) - 1)
    assert (shown(grey_file(path, signed)) == greys(truth)).all()


@pytest.mark.parametrize("kind", ["f", "d"])
def test_float_pixels_are_shown_without_their_padding(path: Path, kind: str) -> None:
    values = np.array([[-1.5, 0.0, 2.5, np.nan, np.inf, -9999]], f"<{kind}")
    ds = header(1, 6)
    for keyword in ("BitsStored", "HighBit", "PixelRepresentation", "BitsAllocated"):
        delattr(ds, keyword)
    ds.BitsAllocated = 8 * values.dtype.itemsize
    if kind == "f":
        ds.FloatPixelData, ds.FloatPixelPaddingValue = values.tobytes(), -9999.0
    else:
        ds.DoubleFloatPixelData, ds.DoubleFloatPixelPaddingValue = values.tobytes(), -9999.0
    found = shown(save(path, ds, "1.2.840.10008.1.2.1"))
    assert found.tolist() == [[0, 96, 255, 0, 255, 0]]


def test_single_bits_are_black_and_white_across_byte_borders(path: Path) -> None:
    bits = np.random.default_rng(3).integers(0, 2, (3, 3, 7), np.uint8)
    ds = header(3, 7, BitsAllocated=1, BitsStored=1, HighBit=0, NumberOfFrames=3)
    packed = np.packbits(bits.reshape(-1), bitorder="little").tobytes()
    ds.PixelData = packed + b"\0" * (len(packed) & 1)
    ds["PixelData"].VR = "OB"
    file = save(path, ds, "1.2.840.10008.1.2.1")
    for frame in range(3):
        assert (shown(file, View(), frame + 1) == bits[frame] * 255).all()


def test_a_fractional_segmentation_is_white_at_its_maximum(path: Path) -> None:
    values = np.array([[0, 50, 100]], np.uint8)
    file = grey_file(path, values, MaximumFractionalValue=100)
    assert shown(file).tolist() == [[0, 128, 255]]


def _enhanced(path: Path, **groups: Any) -> Path:
    frames = np.array([[[0, 100]], [[0, 100]]], np.uint16)
    return grey_file(path, frames, **groups)


def _group(center: float, width: float, slope: float = 1, **more: Any) -> Dataset:
    return item(
        PixelValueTransformationSequence=[
            item(RescaleIntercept=0, RescaleSlope=slope, RescaleType="US")
        ],
        FrameVOILUTSequence=[item(WindowCenter=center, WindowWidth=width, **more)],
    )


def test_each_frame_of_an_enhanced_object_has_its_own_window_and_slope(path: Path) -> None:
    groups = [_group(50.5, 101), _group(100.5, 201, 2)]
    file = _enhanced(path, PerFrameFunctionalGroupsSequence=groups)
    assert shown(file, View(), 1).tolist() == [[0, 255]]
    assert shown(file, View(), 2).tolist() == [[0, 255]]
    other = _enhanced(path, PerFrameFunctionalGroupsSequence=[groups[0], _group(100.5, 201)])
    assert shown(other, View(), 2).tolist() == [[0, 128]]


def test_what_is_shared_holds_where_a_frame_says_nothing(path: Path) -> None:
    shared = _group(100, 200, VOILUTFunction="LINEAR_EXACT")
    file = _enhanced(
        path,
        SharedFunctionalGroupsSequence=[shared],
        PerFrameFunctionalGroupsSequence=[item(), _group(50, 100, VOILUTFunction="LINEAR_EXACT")],
    )
    assert shown(file, View(), 1).tolist() == [[0, 128]]
    assert shown(file, View(), 2).tolist() == [[0, 255]]


def test_a_single_frame_of_a_large_compressed_object_is_decoded_alone(path: Path) -> None:
    frames = np.random.default_rng(1).integers(0, 4096, (5, 1000, 1000), np.uint16)
    coded = [
        rle_of([(one >> 8).astype("u1").tobytes(), one.astype("u1").tobytes()]) for one in frames
    ]
    ds = header(1000, 1000, BitsStored=12, HighBit=11, NumberOfFrames=5)
    file = encapsulated(path, ds, "1.2.840.10008.1.2.5", coded)
    view = View(window=Window(2048, 4096))
    picture = shown(file, view, 4)
    assert not path.with_suffix(".native").exists(), "the whole object was decoded"
    assert (picture == greys((frames[3] - 2047.5) / 4095 + 0.5)).all()
