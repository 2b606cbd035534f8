"""A small data set in every encoding, and changes made to it."""

import io
from typing import Any

import pydicom
from pydicom.dataset import Dataset

from gateway.dataset.part10 import encode_file_meta
from gateway.dataset.splice import splice
from gateway.tags import Change, Private, Secret, TagChanges
from gateway.tags.allowed import check
from gateway.tags.edits import edits
from gateway.tags.reading import read
from gateway.transfer_syntax import TransferSyntax
from tests.dataset.samples import encode

KEY = Secret(b"sixteen bytes and more")
OTHER_KEY = Secret(b"another sixteen bytes")
CREATOR = "ACME 1.0"

CHARACTER_SET, SOP_CLASS, SOP_INSTANCE = 0x00080005, 0x00080016, 0x00080018
STUDY_DATE, ACQUIRED, MODALITY, INSTITUTION = 0x00080020, 0x0008002A, 0x00080060, 0x00080080
REFERENCED, REFERENCED_UID = 0x00081140, 0x00081155
STUDY_DESCRIPTION, CODE = 0x00081030, 0x00080100
NAME, ID, ISSUER, BIRTH, WEIGHT = 0x00100010, 0x00100020, 0x00100021, 0x00100030, 0x00101030
COMMENTS = 0x00104000
STUDY, SERIES, NUMBER = 0x0020000D, 0x0020000E, 0x00200013
REQUEST, STEP, PROTOCOL_CODES = 0x00400275, 0x00400009, 0x00400008
SMALLEST = 0x00280106
PRIVATE = Private(0x0019, 0x08, CREATOR)


def patient(**more: Any) -> Dataset:
    """A data set with a bit of everything."""
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    ds.SOPInstanceUID = "1.2.3.4"
    ds.StudyDate, ds.AcquisitionDateTime = "20240229", "20240301083000.5+0100"
    ds.Modality, ds.InstitutionName = "CT", "Klinik Süd"
    ds.StudyDescription = "Thorax nativ"
    ds.PatientName, ds.PatientID, ds.PatientBirthDate = "Müller^Käthe", "P-0815 ", "19610412"
    ds.PatientWeight, ds.PatientComments = "71.5", "eins\\zwei"
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.InstanceNumber = "1.2.3", "1.2.3.1", "7"
    ds.ReferencedImageSequence = [Dataset(), Dataset()]
    for number, item in enumerate(ds.ReferencedImageSequence):
        item.ReferencedSOPClassUID = ds.SOPClassUID
        item.ReferencedSOPInstanceUID = f"1.2.3.{4 + number}"
    ds.PixelRepresentation, ds.SmallestImagePixelValue = 1, -5
    block = ds.private_block(0x0019, CREATOR, create=True)
    block.add_new(0x08, "LO", "secret")
    for keyword, value in more.items():
        setattr(ds, keyword, value)
    return ds


def made(
    ds: Dataset, syntax: TransferSyntax, *changes: Change, charsets: tuple[str, ...] = ()
) -> Dataset:
    """What the changes, all of them allowed, make of a data set in this encoding."""
    for change in changes:
        check(change)
    data = encode(ds, syntax)
    spliced = made_bytes(data, syntax, TagChanges(changes, charsets))
    meta = encode_file_meta(
        sop_class_uid="1.2", sop_instance_uid="1.2.3", transfer_syntax=syntax.uid
    )
    return pydicom.dcmread(io.BytesIO(meta + spliced))


def made_bytes(data: bytes, syntax: TransferSyntax, wanted: TagChanges) -> bytes:
    """As ``made``, in bytes."""
    wished = edits(wanted, read(data, [(0, len(data))], syntax))
    return b"".join(splice(data, 0, len(data), syntax, wished))
