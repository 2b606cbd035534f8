"""The objects that the benchmark sends: many instances made of one image, each with its own UIDs.

The images are the real CT1 files beside the checkout; where those are absent, a synthetic CT
encoded by imagecodecs takes their place (and the table says so).
"""

from io import BytesIO
from pathlib import Path

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from tests.real_files import FOLDER

EXPLICIT_LE = str(ExplicitVRLittleEndian)
JPEG_LOSSLESS = "1.2.840.10008.1.2.4.70"
JPEG_LS = "1.2.840.10008.1.2.4.80"
J2K = "1.2.840.10008.1.2.4.90"

NAMES = {
    EXPLICIT_LE: "uncompressed",
    JPEG_LOSSLESS: "JPEG Lossless",
    JPEG_LS: "JPEG-LS",
    J2K: "JPEG 2000",
}
_REAL = {EXPLICIT_LE: "UNC", JPEG_LOSSLESS: "JPLL", JPEG_LS: "JLSL", J2K: "J2KR"}

_ROOT = "1.2.826.0.1.3680043.8.498"
_STUDY = f"{_ROOT}.1.1"
_SERIES = f"{_ROOT}.1.2"
_TEMPLATE_UID = f"{_ROOT}.1.3.1000000"


def source_of(syntax: str) -> str:
    """Where the image of this transfer syntax comes from, for the table's foot."""
    return "WG04 CT1" if _real_file(syntax).is_file() else "a synthetic CT"


def template(syntax: str) -> bytes:
    """One CT of 512 x 512 x 16 bit as a Part 10 file, with the UID that copies replace."""
    real = _real_file(syntax)
    return _encoded(dcmread(real) if real.is_file() else _synthetic(syntax, 512))


def small_template() -> bytes:
    """One CT of 60 x 60 x 16 bit: a Part 10 file of about 8 kB."""
    return _encoded(_synthetic(EXPLICIT_LE, 60))


def copies(image: bytes, folder: Path, count: int, first: int = 1) -> list[Path]:
    """``count`` files of one image, distinct only in their SOP Instance UIDs (equal length)."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for number in range(first, first + count):
        uid = f"{_ROOT}.1.3.{1_000_000 + number}"
        file = folder / f"{number:04d}.dcm"
        file.write_bytes(image.replace(_TEMPLATE_UID.encode(), uid.encode()))
        files.append(file)
    return files


def _real_file(syntax: str) -> Path:
    return FOLDER / f"dicom-test-files__CT1_{_REAL[syntax]}.dcm"


def _encoded(image: Dataset) -> bytes:
    out = BytesIO()
    name(image).save_as(out, enforce_file_format=True)
    return out.getvalue()


def name(image: Dataset) -> Dataset:
    """The image under the UIDs that ``copies`` knows."""
    image.StudyInstanceUID, image.SeriesInstanceUID = _STUDY, _SERIES
    image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = _TEMPLATE_UID
    return image


def header() -> Dataset:
    """The uncompressed CT: for its header, pixels are set by whoever asks."""
    real = _real_file(EXPLICIT_LE)
    return dcmread(real) if real.is_file() else _synthetic(EXPLICIT_LE, 512)


def pixels() -> NDArray[np.int16]:
    """The samples of the uncompressed CT, 512 x 512 Hounsfield units or nearly so."""
    return np.frombuffer(header().PixelData, "<i2").reshape(512, 512)


def _pixels(side: int) -> NDArray[np.int16]:
    """A disc with noise, so that codecs meet something like a head."""
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    noise = np.random.default_rng(7).normal(0, 12, (side, side))
    inside = np.hypot(x, y) < 0.8
    return (np.where(inside, 40 + 900 * np.hypot(x, y) ** 4, -1000) + noise).astype(np.int16)


def _synthetic(syntax: str, side: int) -> Dataset:
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = syntax
    image.file_meta.MediaStorageSOPClassUID = image.SOPClassUID = CTImageStorage
    image.Modality, image.PatientName, image.PatientID = "CT", "Bench^Mark", "BENCH"
    image.Rows = image.Columns = side
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.BitsAllocated, image.BitsStored, image.HighBit = 16, 16, 15
    image.PixelRepresentation = 1
    _set_pixels(image, syntax, _pixels(side))
    return image


def _set_pixels(image: Dataset, syntax: str, pixels: NDArray[np.int16]) -> None:
    words = pixels.view(np.uint16)
    if syntax == EXPLICIT_LE:
        image.PixelData = words.tobytes()
    elif syntax == JPEG_LOSSLESS:
        image.PixelData = encapsulate([imagecodecs.ljpeg_encode(words, bitspersample=16)])
    elif syntax == JPEG_LS:
        image.PixelData = encapsulate([imagecodecs.jpegls_encode(words)])
    else:
        options = {"codecformat": "j2k", "reversible": True}
        image.PixelData = encapsulate([imagecodecs.jpeg2k_encode(pixels, **options)])
    image["PixelData"].VR = "OW" if syntax == EXPLICIT_LE else "OB"
