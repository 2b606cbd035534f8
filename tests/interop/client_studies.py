"""The studies that dicomweb-client stores and asks for: known samples in JPEG-LS, real files."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset, dcmread

from tests.real_files import FOLDER
from tests.serve import objects

ROOT = "1.2.826.0.1.3680043.8.498.77"
STUDIES = (1, 2, 3)
SLICES = 4
FRAMES = 3
"""Frames of each slice."""
REAL = (
    "dicom-test-files__CT1_JPLL.dcm",
    "dicom-test-files__CT1_RLE.dcm",
    "dicom-test-files__MR1_JLSL.dcm",
    "dicom-test-files__VL1_J2KR.dcm",
    "pydicom-data__emri_small_jpeg_2k_lossless.dcm",
    "pydicom-data__emri_small_jpeg_ls_lossless.dcm",
    "dicomParser__CT0012.fragmented_no_bot_jpeg_lossless.70.dcm",
)
"""Real files whose pixels are known, each of which gets UIDs of its own; where they are here."""
DOCUMENT = "dcmjs-dimse__pdf.dcm"


def uids(study: int, number: int = 1) -> tuple[str, str, str]:
    """Study, Series and SOP Instance UID of a slice."""
    return f"{ROOT}.{study}", f"{ROOT}.{study}.1", f"{ROOT}.{study}.1.{number}"


def named(study: int, number: int = 0) -> dict[str, str]:
    """A series, or an instance of it, as the arguments that name it."""
    names = ("study_instance_uid", "series_instance_uid", "sop_instance_uid")
    return dict(zip(names[: 3 if number else 2], uids(study, number), strict=False))


def picture(study: int, number: int) -> np.ndarray[Any, np.dtype[np.uint16]]:
    """The samples of a slice."""
    return objects.pictures(FRAMES, seed=100 * study + number)


def image(folder: Path, study: int, number: int) -> Dataset:
    """A slice in JPEG-LS of study ``study``."""
    ds = dcmread(objects.jpeg_ls(folder / "one.dcm", picture(study, number)))
    _rename(ds, study, number)
    ds.PatientName, ds.PatientID = f"Client^Test{study}", f"CLIENT-{study}"
    ds.StudyDate, ds.Modality, ds.InstanceNumber = f"202601{study % 28:02}", "OT", number
    ds.AccessionNumber = ds.StudyID = ds.StudyTime = ds.PatientBirthDate = ""
    ds.PatientSex = ds.ReferringPhysicianName = ""
    ds.SeriesNumber = 1
    return ds


def _rename(ds: Dataset, study: int, number: int = 1) -> None:
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID = uids(study, number)
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID


def real() -> Iterator[tuple[int, str, Dataset]]:
    """(number of its study, name, data set) of each real file that is here."""
    for number, name in enumerate((*REAL, DOCUMENT), 101):
        if (FOLDER / name).is_file():
            ds = dcmread(FOLDER / name)
            _rename(ds, number)
            yield number, name, ds
