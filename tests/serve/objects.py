"""Small objects in many transfer syntaxes, whose pixels are known."""

from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
from numpy.typing import NDArray

from tests.transcode.objects import (
    EXPLICIT_BE,
    EXPLICIT_LE,
    IMPLICIT_LE,
    JPEG_LS,
    encapsulated,
    header,
    relabelled,
    save,
)

VIDEO = "1.2.840.10008.1.2.4.102"
ROWS, COLUMNS = 6, 10


def pictures(frames: int, seed: int = 1) -> NDArray[np.uint16]:
    """(frames, 6, 10) samples of 16 bits."""
    return np.random.default_rng(seed).integers(0, 1 << 16, (frames, ROWS, COLUMNS), "u2")


def jpeg_ls(path: Path, frames: NDArray[np.uint16], *, per_frame: int = 1) -> Path:
    """JPEG-LS, ``per_frame`` fragments for each frame."""
    ds = header(ROWS, COLUMNS, NumberOfFrames=len(frames))
    streams = [imagecodecs.jpegls_encode(one) for one in frames]
    return encapsulated(path, ds, JPEG_LS, streams, per_frame=per_frame)


def native(path: Path, frames: NDArray[np.uint16], syntax: str = EXPLICIT_LE) -> Path:
    """Uncompressed, in any byte order."""
    ds = header(ROWS, COLUMNS, NumberOfFrames=len(frames))
    order = ">" if syntax == EXPLICIT_BE else "<"
    ds.PixelData = frames.astype(f"{order}u2").tobytes()
    ds["PixelData"].VR = "OW"
    return save(path, ds, syntax)


def undecodable(path: Path) -> Path:
    """Labelled JPEG-LS, and no codestream."""
    return encapsulated(path, header(ROWS, COLUMNS), JPEG_LS, [b"no codestream at all"])


def under(syntax: str, file: Path) -> Path:
    """The same file under another label, whatever it holds."""
    file.write_bytes(relabelled(file.read_bytes(), syntax))
    return file


def implicit(file: Path) -> Path:
    """An encapsulated file in Implicit VR Little Endian, heads and all, which no writer makes."""
    content = file.read_bytes()
    at = content.index(b"\xe0\x7f\x10\x00OB\0\0")
    ds = pydicom.dcmread(file, stop_before_pixels=True)
    before = save(file, ds, IMPLICIT_LE, ds.SOPInstanceUID).read_bytes()
    file.write_bytes(before + content[at : at + 4] + content[at + 8 :])
    return file


def video(path: Path) -> Path:
    """An MPEG-4 stream in two fragments, or what passes for it."""
    ds = header(ROWS, COLUMNS, SamplesPerPixel=3, NumberOfFrames=50)
    return encapsulated(path, ds, VIDEO, [b"\0\0\0\x18ftypmp42", b"and so on "], table=False)


__all__ = [
    "COLUMNS",
    "EXPLICIT_BE",
    "EXPLICIT_LE",
    "IMPLICIT_LE",
    "JPEG_LS",
    "ROWS",
    "VIDEO",
    "implicit",
    "jpeg_ls",
    "native",
    "pictures",
    "undecodable",
    "under",
    "video",
]
