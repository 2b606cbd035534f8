"""Objects made for the rendering tests, and their pictures."""

from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from gateway.rendering.render import Task, render
from gateway.rendering.samples import Undecoded
from gateway.rendering.view import View
from gateway.transcode.instance import transcode
from tests.rendering.truth import pixels_of
from tests.transcode.objects import EXPLICIT_BE, EXPLICIT_LE, header, save

WHOLE = View()


def grey_file(path: Path, samples: Any, syntax: str = EXPLICIT_LE, **attributes: Any) -> Path:
    """A native greyscale object of ``samples``, (rows, columns) or (frames, rows, columns)."""
    samples = np.asarray(samples)
    frames = samples.reshape(-1, *samples.shape[-2:])
    bits = 8 * samples.dtype.itemsize
    ds = header(*frames.shape[1:], BitsAllocated=bits, BitsStored=bits, HighBit=bits - 1)
    if len(frames) > 1:
        ds.NumberOfFrames = len(frames)
    if samples.dtype.kind == "i":
        ds.PixelRepresentation = 1
    order = ">" if syntax == EXPLICIT_BE else "<"
    ds.PixelData = frames.astype(samples.dtype.newbyteorder(order)).tobytes()
    ds["PixelData"].VR = "OW" if bits > 8 else "OB"
    return save(path, given(ds, attributes), syntax)


def colour_file(path: Path, samples: Any, photometric: str = "RGB", **attributes: Any) -> Path:
    """A native object of 8-bit colour ``samples``, (rows, columns, 3)."""
    ds = header(*samples.shape[:2], SamplesPerPixel=3, PhotometricInterpretation=photometric)
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8, 8, 7
    ds.PixelData = samples.astype("u1").tobytes()
    ds["PixelData"].VR = "OB"
    return save(path, given(ds, attributes), EXPLICIT_LE)


def given(ds: Dataset, attributes: dict[str, Any]) -> Dataset:
    """``ds`` with these attributes set."""
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    return ds


def item(**attributes: Any) -> Dataset:
    """An item of a sequence."""
    return given(Dataset(), attributes)


def lut(first: int, values: list[int], bits: int) -> Dataset:
    """An item of a LUT sequence."""
    data = np.array(values, "<u2").tobytes()
    found = item(LUTDescriptor=[len(values), first, bits])
    found.add_new("LUTData", "OW", data)
    return found


def rendered(
    file: Path,
    view: View = WHOLE,
    *frames: int,
    media_type: str = "image/png",
    animated: bool = False,
) -> Path:
    """The picture file made of an object, as the gateway does it."""
    out = file.parent / f"{file.stem}.picture"
    try:
        render(Task(file, media_type, view, frames, animated), out)
    except Undecoded:
        native = file.parent / f"{file.stem}.native"
        transcode(file, EXPLICIT_LE, native)
        render(Task(native, media_type, view, frames, animated), out)
    return out


def shown(file: Path, view: View = WHOLE, *frames: int) -> Any:
    """The pixels of the picture of an object."""
    return pixels_of(rendered(file, view, *frames))
