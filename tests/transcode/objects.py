"""Small DICOM objects made for the tests, and how pictures are compared."""

import hashlib
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.uid import UID

from gateway.dataset.part10 import encode_file_meta, read_file_meta

EXPLICIT_LE = "1.2.840.10008.1.2.1"
IMPLICIT_LE = "1.2.840.10008.1.2"
EXPLICIT_BE = "1.2.840.10008.1.2.2"
JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
JPEG_LOSSLESS = "1.2.840.10008.1.2.4.70"
JPEG_LS = "1.2.840.10008.1.2.4.80"
J2K_LOSSLESS = "1.2.840.10008.1.2.4.90"
RLE = "1.2.840.10008.1.2.5"
TARGETS = (EXPLICIT_LE, IMPLICIT_LE, EXPLICIT_BE)


def header(rows: int, columns: int, **changes: Any) -> Dataset:
    """An image header without pixels: 16 bit, unsigned, MONOCHROME2 unless changed."""
    ds = Dataset()
    ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    ds.SOPInstanceUID = "2.25.1234567890"
    ds.PatientID = "TEST-1"
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.Rows, ds.Columns = rows, columns
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 0
    for keyword, value in changes.items():
        setattr(ds, keyword, value)
    if ds.SamplesPerPixel > 1 and "PlanarConfiguration" not in ds:
        ds.PlanarConfiguration = 0
    return ds


def save(path: Path, ds: Dataset, syntax: str, sop_instance: str = "2.25.1234567890") -> Path:
    """Write ``ds`` as a Part 10 file in ``syntax``."""
    meta = FileMetaDataset()
    known = UID(syntax).is_transfer_syntax
    meta.TransferSyntaxUID = UID(syntax if known else J2K_LOSSLESS)
    meta.MediaStorageSOPClassUID = ds.SOPClassUID
    meta.MediaStorageSOPInstanceUID = UID(sop_instance)
    ds.file_meta = meta
    buffer = BytesIO()
    implicit, little = syntax == IMPLICIT_LE, syntax != EXPLICIT_BE
    pydicom.dcmwrite(
        buffer,
        ds,
        enforce_file_format=True,
        implicit_vr=implicit if syntax in TARGETS else None,
        little_endian=little if syntax in TARGETS else None,
    )
    content = buffer.getvalue()
    path.write_bytes(content if known else relabelled(content, syntax))
    return path


def relabelled(content: bytes, syntax: str) -> bytes:
    """A Part 10 file under another transfer syntax, which pydicom may not know."""
    meta = read_file_meta(content)
    head = encode_file_meta(
        sop_class_uid=meta.sop_class_uid,
        sop_instance_uid=meta.sop_instance_uid,
        transfer_syntax=syntax,
    )
    return head + content[meta.dataset_offset :]


def encapsulated(
    path: Path,
    ds: Dataset,
    syntax: str,
    frames: Sequence[bytes],
    *,
    per_frame: int = 1,
    table: bool = True,
    extended: bool = False,
) -> Path:
    """Write ``frames`` as encapsulated Pixel Data."""
    if extended:
        ds.PixelData, ds.ExtendedOffsetTable, ds.ExtendedOffsetTableLengths = encapsulate_extended(
            list(frames)
        )
    else:
        ds.PixelData = encapsulate(list(frames), fragments_per_frame=per_frame, has_bot=table)
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True
    return save(path, ds, syntax)


def little_endian_pixels(ds: Dataset) -> bytes:
    """Pixel Data as the reference digests want it: little-endian, colour by pixel, no padding."""
    raw, allocated = ds.PixelData, ds.BitsAllocated
    samples, frames = int(ds.get("SamplesPerPixel", 1)), int(ds.get("NumberOfFrames", 1) or 1)
    width = max(1, allocated // 8)
    if not ds.file_meta.TransferSyntaxUID.is_little_endian and (
        width > 1 or ds["PixelData"].VR == "OW"
    ):
        unit = max(2, width)
        whole = len(raw) // unit * unit
        raw = np.frombuffer(raw[:whole], f"u{unit}").byteswap().tobytes() + raw[whole:]
    per_pixel = 2 if ds.PhotometricInterpretation == "YBR_FULL_422" else samples
    raw = raw[: (ds.Rows * ds.Columns * per_pixel * frames * allocated + 7) // 8]
    if samples == 3 and ds.get("PlanarConfiguration", 0) == 1:
        planes = np.frombuffer(raw, f"u{width}").reshape(frames, 3, ds.Rows * ds.Columns)
        raw = planes.transpose(0, 2, 1).tobytes()
    return raw


def digest(ds: Dataset) -> str:
    """SHA-256 of :func:`little_endian_pixels`."""
    return hashlib.sha256(little_endian_pixels(ds)).hexdigest()


def packbits(segment: bytes) -> bytes:
    """Literal runs only, then one no-operation and a pad to even length (PS3.5 G.3)."""
    runs = (segment[at : at + 128] for at in range(0, len(segment), 128))
    out = b"".join(bytes([len(run) - 1]) + run for run in runs) + b"\x80"
    return out + b"\0" * (len(out) & 1)


def rle_of(planes: list[bytes]) -> bytes:
    """The RLE header and the packed segments."""
    segments = [packbits(plane) for plane in planes]
    offsets = [64 + sum(map(len, segments[:index])) for index in range(len(segments))]
    head = np.array([len(segments), *offsets, *[0] * (15 - len(offsets))], "<u4").tobytes()
    return head + b"".join(segments)
