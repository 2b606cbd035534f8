"""File Meta Information: what is written pydicom and DCMTK read, what is read may be damaged."""

import io
import shutil
import subprocess
import uuid
from pathlib import Path

import pydicom
import pytest

from gateway.dataset.elements import MalformedDataSet
from gateway.dataset.part10 import (
    FileMeta,
    encode_file_meta,
    end_of_file_meta,
    meta_elements,
    read_file_meta,
)
from gateway.failures import PermanentFailure
from gateway.model import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION
from gateway.transfer_syntax import BY_UID, EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE, JPEG_LS
from tests.dataset.samples import (
    EBE,
    ELE,
    ILE,
    NO_DATA_SET,
    NOT_FOR_PYDICOM,
    bundled,
    element,
    every_file,
    head,
    item,
)

CT = "1.2.840.10008.5.1.4.1.1.2"


def uids(syntax: object = ELE) -> bytes:
    return element(0x00080016, "UI", CT.encode() + b"\0", syntax) + element(
        0x00080018, "UI", b"1.2.34", syntax
    )


def meta(**changed: str) -> bytes:
    known = {"sop_class_uid": CT, "sop_instance_uid": "1.2.34", "transfer_syntax": EXPLICIT_LE}
    return encode_file_meta(**known | changed)


@pytest.mark.parametrize("instance", ["1.2.34", "1.2.345"])
@pytest.mark.parametrize("source_ae", ["", "MODALITY", "CT1"])
def test_what_is_written_pydicom_reads_without_a_complaint(instance: str, source_ae: str) -> None:
    data = meta(sop_instance_uid=instance, source_ae=source_ae)
    read = pydicom.dcmread(io.BytesIO(data + uids())).file_meta
    wanted = {
        "MediaStorageSOPClassUID": CT,
        "MediaStorageSOPInstanceUID": instance,
        "TransferSyntaxUID": EXPLICIT_LE,
        "ImplementationClassUID": IMPLEMENTATION_CLASS_UID,
        "ImplementationVersionName": IMPLEMENTATION_VERSION,
        "FileMetaInformationVersion": b"\0\1",
        "FileMetaInformationGroupLength": len(data) - 144,
    }
    if source_ae:
        wanted["SourceApplicationEntityTitle"] = source_ae
    assert {each.keyword: each.value for each in read} == wanted
    assert data[:132] == bytes(128) + b"DICM"
    assert len(data) % 2 == 0


def test_what_is_written_is_what_is_read() -> None:
    data = meta(transfer_syntax=JPEG_LS, source_ae="CT1")
    assert read_file_meta(data + uids()) == (CT, "1.2.34", JPEG_LS, "CT1", len(data))
    assert isinstance(read_file_meta(data + uids()), FileMeta)
    assert end_of_file_meta(data + uids()) == len(data)


def test_the_implementation_is_named_as_the_standard_asks() -> None:
    root, number = IMPLEMENTATION_CLASS_UID.rsplit(".", 1)
    assert root == "2.25"
    assert uuid.UUID(int=int(number)).version == 4
    assert len(IMPLEMENTATION_VERSION) <= 16


@pytest.mark.interop
@pytest.mark.skipif(not shutil.which("dcmftest"), reason="DCMTK's dcmftest is not installed")
def test_dcmtk_takes_it_for_a_dicom_file(tmp_path: Path) -> None:
    file = tmp_path / "one.dcm"
    file.write_bytes(meta(source_ae="CT1") + uids())
    answer = subprocess.run(["dcmftest", file], capture_output=True, text=True, check=False)
    assert answer.stdout.startswith("yes:")


@pytest.mark.parametrize(
    "wrong", [{"sop_instance_uid": "1.2.\xe9"}, {"sop_class_uid": "1" * 65536}]
)
def test_what_cannot_be_a_uid_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(PermanentFailure, match="no ASCII text of a fitting length"):
        meta(**wrong)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "path", every_file(frozenset({NO_DATA_SET, NOT_FOR_PYDICOM, "meta_missing_tsyntax.dcm"}))
)
def test_every_file_says_what_pydicom_finds(path: Path) -> None:
    theirs = pydicom.dcmread(path, force=True, stop_before_pixels=True)
    mine = read_file_meta(path.read_bytes())
    stated = theirs.file_meta.get("TransferSyntaxUID")
    if stated:
        assert mine.transfer_syntax == stated
    else:
        implicit, little = theirs.original_encoding
        syntax = BY_UID[mine.transfer_syntax]
        assert (syntax.explicit, syntax.little_endian) == (not implicit, little)
    wanted = theirs.file_meta.get("MediaStorageSOPInstanceUID") or theirs.get("SOPInstanceUID")
    assert mine.sop_instance_uid == (wanted or "")


def test_a_file_without_preamble_is_read() -> None:
    data = meta()[132:]
    assert read_file_meta(data + uids()) == (CT, "1.2.34", EXPLICIT_LE, "", len(data))


@pytest.mark.parametrize("syntax", [ELE, ILE])
def test_dicm_in_a_value_where_a_preamble_would_end_is_none(syntax: object) -> None:
    before = uids(syntax)
    at = len(before) + len(head(0x00081010, "SH", 0, syntax))
    before = uids(syntax) + element(0x00080070, "LO", b"X" * (128 - at - 8), syntax)
    data = before + element(0x00081010, "SH", b"DICMA1", syntax)
    assert data[128:132] == b"DICM"
    assert read_file_meta(data) == FileMeta(CT, "1.2.34", syntax.uid, "", 0)
    assert list(meta_elements(data)) == []


@pytest.mark.parametrize(
    ("syntax", "uid"), [(ELE, EXPLICIT_LE), (ILE, IMPLICIT_LE), (EBE, EXPLICIT_BE)]
)
@pytest.mark.parametrize("before", [b"", bytes(128) + b"DICM"])
def test_without_file_meta_the_encoding_is_told_from_the_bytes(
    syntax: object, uid: str, before: bytes
) -> None:
    data = before + element(0x00080005, "CS", b"ISO_IR 100", syntax) + uids(syntax)
    assert read_file_meta(data) == (CT, "1.2.34", uid, "", len(before))


@pytest.mark.parametrize("stated", [EXPLICIT_LE, IMPLICIT_LE, EXPLICIT_BE])
@pytest.mark.parametrize(
    ("syntax", "uid"), [(ELE, EXPLICIT_LE), (ILE, IMPLICIT_LE), (EBE, EXPLICIT_BE)]
)
def test_a_native_label_yields_to_the_bytes(stated: str, syntax: object, uid: str) -> None:
    assert read_file_meta(meta(transfer_syntax=stated) + uids(syntax)).transfer_syntax == uid


def test_an_unknown_vr_does_not_make_an_explicit_file_implicit() -> None:
    data = element(0x00080005, "??", b"ISO_IR 100") + uids() + bytes(1 << 23)
    assert read_file_meta(meta() + data).transfer_syntax == EXPLICIT_LE


def test_a_compressed_label_stands() -> None:
    assert read_file_meta(meta(transfer_syntax=JPEG_LS) + uids(ILE)).transfer_syntax == JPEG_LS


@pytest.mark.parametrize("length", [None, 0, 1, 14, 100_000, 0xFFFFFFFF])
def test_a_missing_or_wrong_group_length_does_not_matter(length: int | None) -> None:
    data = bytearray(meta(source_ae="CT1"))
    if length is None:
        del data[132:144]
    else:
        data[140:144] = length.to_bytes(4, "little")
    assert read_file_meta(data + uids()) == (CT, "1.2.34", EXPLICIT_LE, "CT1", len(data))


def test_a_deflated_data_set_that_begins_like_group_2_is_none() -> None:
    data = meta(transfer_syntax="1.2.840.10008.1.2.1.99")
    assert read_file_meta(data + b"\2\0\xff\xff\xff\xff\xff\xff\xff").dataset_offset == len(data)


def test_group_2_in_implicit_vr_is_read() -> None:
    data = bytes(128) + b"DICM" + element(0x00020010, "UI", b"1.2.840.10008.1.2\0", ILE)
    assert read_file_meta(data + uids(ILE)) == (CT, "1.2.34", IMPLICIT_LE, "", len(data))


def test_uids_that_file_meta_lacks_are_those_of_the_data_set() -> None:
    data = bytes(128) + b"DICM" + element(0x00020010, "UI", b"1.2.840.10008.1.2.1\0")
    assert read_file_meta(data + uids()) == (CT, "1.2.34", EXPLICIT_LE, "", len(data))
    data += element(0x00020003, "UI", b"1.9\0")
    assert read_file_meta(data + uids())[:2] == (CT, "1.9")


def test_a_missing_transfer_syntax_is_told_from_the_bytes() -> None:
    assert read_file_meta(bundled("meta_missing_tsyntax.dcm").read_bytes()) == (
        ("", "", IMPLICIT_LE, "", 202)
    )


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"DICM",
        bytes(128) + b"DICM",
        bytes(4096),
        b"GET / HTTP/1.1\r\nHost: pacs.example\r\n\r\n" * 9,
        b"\x20" + uids(),
        b"%PDF-1.7 " * 40,
    ],
)
def test_what_is_no_data_set_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedDataSet, match="no data set is recognised at offset"):
        read_file_meta(data)


@pytest.mark.parametrize(
    "data",
    [
        head(0x00020010, "UI", 200) + b"1.2",
        head(0x00020001, "OB", 0xFFFFFFFF) + item(b"") + head(0xFFFEE0DD, "", 0),
    ],
)
def test_a_lying_length_in_file_meta_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedDataSet):
        read_file_meta(bytes(128) + b"DICM" + data)


def test_all_elements_of_group_2_are_listed() -> None:
    assert [each.tag & 0xFF for each in meta_elements(meta(source_ae="CT1") + uids())] == (
        [0, 1, 2, 3, 0x10, 0x12, 0x13, 0x16]
    )
    assert list(meta_elements(uids())) == []
