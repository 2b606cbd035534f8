"""What a greyscale or colour frame must look like, by pydicom and by DCMTK's dcm2pnm."""

import subprocess
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.pixels.processing import (
    apply_color_lut,
    apply_modality_lut,
    apply_voi_lut,
    convert_color_space,
)


def by_pydicom(file: Path) -> Any:
    """The first frame's 8-bit picture, by pydicom's own pipeline; ``file`` is native."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds = pydicom.dcmread(file)
        stored = pydicom.pixels.pixel_array(ds, index=0, raw=True)
        _lift(ds)
        photometric = ds.PhotometricInterpretation
        if photometric == "PALETTE COLOR":
            return _to_eight(apply_color_lut(stored, ds))
        if ds.SamplesPerPixel == 3:
            return _colour(stored, ds)
        return _grey(stored, ds)


def _lift(ds: Dataset) -> None:
    """Set what the functional groups of the first frame say, where pydicom looks for it."""
    for groups in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for group in ds.get(groups, [])[:1]:
            for macro in ("PixelValueTransformationSequence", "FrameVOILUTSequence"):
                for element in group.get(macro, [Dataset()])[0]:
                    ds[element.tag] = element


def _colour(stored: Any, ds: Dataset) -> Any:
    if ds.PhotometricInterpretation in ("YBR_FULL", "YBR_FULL_422"):
        stored = convert_color_space(stored, "YBR_FULL", "RGB")
    return _to_eight(stored, int(ds.BitsStored))


def _to_eight(values: Any, bits: int = 0) -> Any:
    bits = bits or 8 * values.dtype.itemsize
    return np.rint(values.astype(float) * 255 / ((1 << bits) - 1))


def _grey(stored: Any, ds: Dataset) -> Any:
    values = apply_modality_lut(stored, ds)
    if "VOILUTSequence" in ds:
        shown = apply_voi_lut(values, ds) / ((1 << ds.VOILUTSequence[0].LUTDescriptor[2]) - 1)
    elif "WindowWidth" in ds and "WindowCenter" in ds:
        low, high = _output_range(ds)
        shown = (apply_voi_lut(values, ds) - low) / (high - low)
    else:
        shown = _full_range(values, stored, ds)
    if ds.PhotometricInterpretation == "MONOCHROME1":
        shown = 1 - shown
    return np.rint(np.clip(shown, 0, 1) * 255)


def _output_range(ds: Dataset) -> tuple[float, float]:
    """That of pydicom's apply_windowing."""
    bits = ds.BitsStored
    if "ModalityLUTSequence" in ds:
        return 0, (1 << ds.ModalityLUTSequence[0].LUTDescriptor[2]) - 1
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1)
    if not ds.PixelRepresentation:
        low, high = 0, (1 << bits) - 1
    slope, intercept = float(ds.get("RescaleSlope", 1)), float(ds.get("RescaleIntercept", 0))
    return low * slope + intercept, high * slope + intercept


def _full_range(values: Any, stored: Any, ds: Dataset) -> Any:
    kept = values
    if ds.BitsStored > 8 and "PixelPaddingValue" in ds:
        last = ds.get("PixelPaddingRangeLimit", ds.PixelPaddingValue)
        low, high = sorted((ds.PixelPaddingValue, last))
        kept = values[(stored < low) | (stored > high)]
    low, high = float(kept.min()), float(kept.max())
    if ds.BitsStored <= 8:
        low, high = sorted(float(apply_modality_lut(np.array(end), ds)) for end in _ends(ds))
    return (values - low) / (high - low) if high > low else np.zeros(values.shape)


def _ends(ds: Dataset) -> tuple[int, int]:
    bits = ds.BitsStored
    if ds.PixelRepresentation:
        return -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    return 0, (1 << bits) - 1


def by_dcmtk(file: Path, out: Path, *options: str) -> Any:
    """The first frame's 8-bit picture, by dcm2pnm without overlays; None where it refuses."""
    command = ["dcm2pnm", "-O", "+on", *options, str(file), str(out)]
    done = subprocess.run(command, capture_output=True, timeout=60)
    if done.returncode or not out.is_file():
        return None
    with Image.open(out) as image:
        return np.asarray(image)


def pixels_of(file: Path) -> Any:
    """The first picture in an image file."""
    with Image.open(file) as image:
        return np.asarray(image)
