"""Pictures against those that pydicom and DCMTK make: every grey within one level."""

import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file

from gateway.failures import PermanentFailure
from gateway.rendering.render import Task, render
from gateway.rendering.view import LINEAR_EXACT, SIGMOID, View, Window
from gateway.transcode.instance import transcode
from tests.real_files import FOLDER, catalogue, needs_real_files
from tests.rendering.pictures import grey_file, rendered, shown
from tests.rendering.truth import by_dcmtk, by_pydicom, pixels_of
from tests.transcode.objects import EXPLICIT_LE

needs_dcmtk = pytest.mark.skipif(shutil.which("dcm2pnm") is None, reason="DCMTK is not here")

BUNDLED = (
    "CT_small.dcm",
    "MR_small.dcm",
    "MR_small_bigendian.dcm",
    "MR_small_implicit.dcm",
    "MR_small_RLE.dcm",
    "examples_palette.dcm",
    "examples_rgb_color.dcm",
    "examples_ybr_color.dcm",
    "examples_overlay.dcm",
    "image_dfl.dcm",
    "JPEG2000.dcm",
    "JPGExtended.dcm",
    "693_J2KI.dcm",
    "rtdose.dcm",
    "rtdose_1frame.dcm",
    "SC_rgb_jpeg.dcm",
    "SC_rgb_rle_16bit.dcm",
    "SC_rgb_rle_32bit.dcm",
    "SC_rgb_small_odd.dcm",
    "SC_ybr_full_422_uncompressed.dcm",
    "liver_1frame.dcm",
)


@pytest.fixture
def native(tmp_path: Path) -> Any:
    """Makes the native form of a file."""

    def made(source: Path) -> Path:
        transcode(source, EXPLICIT_LE, tmp_path / "native.dcm")
        return tmp_path / "native.dcm"

    return made


@pytest.mark.parametrize("name", BUNDLED)
def test_a_bundled_file_looks_as_pydicom_shows_it(name: str, native: Any) -> None:
    found = get_testdata_file(name, download=False)
    if found is None:
        pytest.skip(f"pydicom bundles no {name}")
    file = native(Path(str(found)))
    truth = by_pydicom(file)
    picture = shown(file, View(), 1).astype(int)
    assert picture.shape == truth.shape
    assert np.abs(picture - truth).max() <= 1


LARGE = 3 << 20
"""Bytes of an object that take these tests too long."""

OTHERWISE = {
    "dicom2nifti__004.dcm": "pixels that are not square",
    "healthcare-dicom-dicomweb-adapter__1.2.840.113543.6.6.1.1.2.2415947926921624359."
    "201235357587280.dcm": "pixels that are not square",
    "ruby-dicom__implicit_us_jpeg2k-lossless-mono2-multiframe.dcm": "pixels that are not square",
}
"""Files whose picture has another shape than their samples, and why."""


@pytest.mark.data
@needs_real_files
@pytest.mark.parametrize("part", range(4))
def test_every_real_file_looks_as_pydicom_shows_it(part: int, tmp_path: Path) -> None:
    """Those that pydicom itself can show, and nobody refuses."""
    compared = 0
    for row in catalogue()[part::4]:
        file = tmp_path / "native.dcm"
        try:
            transcode(FOLDER / row["file"], EXPLICIT_LE, file)
            if file.stat().st_size > LARGE:
                continue
            out = tmp_path / "picture.png"
            render(Task(file, "image/png", View(), (1,)), out)
            truth = _shown_by_pydicom(file)
        except PermanentFailure:
            continue
        if truth is None or row["file"] in OTHERWISE:
            continue
        picture = pixels_of(out).astype(int)
        assert picture.shape == truth.shape, row["file"]
        assert np.abs(picture - truth).max() <= 1, row["file"]
        compared += 1
    assert compared > 50


def _shown_by_pydicom(file: Path) -> Any:
    try:
        return by_pydicom(file)
    except (AttributeError, TypeError):
        return None  # pydicom asks for attributes that the file lacks


@pytest.mark.interop
@needs_dcmtk
@pytest.mark.parametrize(
    ("name", "options", "view"),
    [
        ("CT_small.dcm", ["+Ww", "40", "400"], View(window=Window(40, 400))),
        ("CT_small.dcm", ["+Ww", "-600", "1500"], View(window=Window(-600, 1500))),
        ("CT_small.dcm", ["+Ww", "40", "400", "+Wfs"], View(window=Window(40, 400, SIGMOID))),
        ("CT_small.dcm", ["+Wm"], View()),
        ("MR_small.dcm", ["+Ww", "600", "1600"], View()),
        ("MR_small.dcm", ["+Ww", "500", "1"], View(window=Window(500, 1))),
        ("examples_palette.dcm", [], View()),
        ("examples_rgb_color.dcm", [], View()),
        ("SC_rgb_rle_16bit.dcm", [], View()),
    ],
)
def test_a_picture_is_that_of_dcm2pnm(
    name: str, options: list[str], view: View, native: Any, tmp_path: Path
) -> None:
    found = get_testdata_file(name, download=False)
    if found is None:
        pytest.skip(f"pydicom bundles no {name}")
    file = native(Path(str(found)))
    truth = by_dcmtk(file, tmp_path / "truth.png", *options)
    assert truth is not None, "dcm2pnm refuses"
    assert np.abs(shown(file, view).astype(int) - truth.astype(int)).max() <= 1


@pytest.mark.interop
@pytest.mark.data
@needs_dcmtk
@needs_real_files
@pytest.mark.parametrize("part", range(4))
def test_greys_of_real_files_are_those_of_dcm2pnm(part: int, tmp_path: Path) -> None:
    """By the window that the header has, given as numbers, and else by the least and greatest."""
    compared = 0
    for row in catalogue()[part::4]:
        file = tmp_path / "native.dcm"
        try:
            transcode(FOLDER / row["file"], EXPLICIT_LE, file)
            options = _options(file) if file.stat().st_size <= LARGE else None
            if options is None:
                continue
            picture = pixels_of(rendered(file, View(), 1)).astype(int)
        except PermanentFailure:
            continue
        truth = by_dcmtk(file, tmp_path / "truth.png", *options)
        if truth is None or truth.shape != picture.shape:
            continue
        assert np.abs(picture - truth).max() <= 1, (row["file"], options)
        compared += 1
        (tmp_path / "truth.png").unlink()
    assert compared > 15


def _options(file: Path) -> list[str] | None:
    """What dcm2pnm has to be told; None for what it sees otherwise than we do.

    It does not leave padding out of the range, knows no functional groups, shows single bits as
    half white, and loses very small slopes.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds = pydicom.dcmread(file, stop_before_pixels=True)
        if ds.get("PhotometricInterpretation") not in ("MONOCHROME1", "MONOCHROME2"):
            return None
        if "PixelPaddingValue" in ds or "SharedFunctionalGroupsSequence" in ds:
            return None
        if ds.BitsStored == 1 or abs(float(ds.get("RescaleSlope", 1) or 1)) < 1e-6:
            return None
        if "VOILUTSequence" in ds:
            return None
        if ds.get("WindowWidth") is not None and ds.get("WindowCenter") is not None:
            center, width = (_first(ds[key].value) for key in ("WindowCenter", "WindowWidth"))
            return ["+Ww", str(center), str(width)]
        return ["+Wm"] if ds.BitsStored > 8 else []


def _first(value: Any) -> float:
    return float(value[0] if hasattr(value, "__len__") and not isinstance(value, str) else value)


def test_window_functions_are_those_of_the_standard(tmp_path: Path) -> None:
    """The formulas of PS3.3 C.11.2.1.2.1 and C.11.2.1.3, value by value."""
    values = np.arange(-2048, 2048, 16, dtype=np.int16).reshape(16, 16)
    file = grey_file(tmp_path / "ramp.dcm", values)
    x, c, w = values.astype(float), 100.0, 900.0
    linear = np.clip((x - (c - 0.5)) / (w - 1) + 0.5, 0, 1)
    exact = np.clip((x - c) / w + 0.5, 0, 1)
    sigmoid = 1 / (1 + np.exp(-4 * (x - c) / w))
    for function, truth in (("LINEAR", linear), (LINEAR_EXACT, exact), (SIGMOID, sigmoid)):
        picture = shown(file, View(window=Window(c, w, function)))
        assert (picture == np.rint(255 * truth)).all(), function
