"""The header as text: as pydicom reads it, whatever the encoding, and no further than needed."""

import os
import zlib
from pathlib import Path

import pydicom
import pytest
from pydicom.datadict import keyword_for_tag
from pydicom.multival import MultiValue

from gateway.dataset.elements import Limits, MalformedDataSet
from gateway.dataset.header import header_of, read_header, texts
from gateway.dataset.part10 import encode_file_meta
from gateway.transfer_syntax import DEFLATED, EXPLICIT_LE, IMPLICIT_LE, TransferSyntax
from tests.dataset.samples import (
    EBE,
    ELE,
    ILE,
    NO_DATA_SET,
    NOT_FOR_PYDICOM,
    bundled,
    data_set,
    element,
    every_file,
    head,
    item,
    sequence,
)

TAGS = {
    tag: keyword_for_tag(tag)
    for tag in (
        *(0x00020010, 0x00080005, 0x00080008, 0x00080016, 0x00080018, 0x00080020, 0x00080050),
        *(0x00080060, 0x00080070, 0x00080090, 0x00081030, 0x0008103E, 0x00081140, 0x00100010),
        *(0x00100020, 0x00100030, 0x00180015, 0x00180050, 0x0020000D, 0x0020000E, 0x00200010),
        *(0x00200011, 0x00200032, 0x00280010, 0x00280030, 0x00280100, 0x00280106),
    )
}


def instance(data: bytes, transfer_syntax: str = EXPLICIT_LE) -> bytes:
    meta = encode_file_meta(
        sop_class_uid="1.2", sop_instance_uid="1.2.3", transfer_syntax=transfer_syntax
    )
    return meta + data


def deflated(data: bytes, bits: int = -15) -> bytes:
    packer = zlib.compressobj(wbits=bits)
    return packer.compress(data) + packer.flush()


def as_text(value: object) -> str:
    if isinstance(value, (MultiValue, list)):
        return "\\".join(str(one).strip() for one in value)
    return "" if value is None or isinstance(value, pydicom.Sequence) else str(value).strip(" ")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", every_file(frozenset({NO_DATA_SET, NOT_FOR_PYDICOM})))
def test_the_header_of_every_file_is_what_pydicom_reads(path: Path) -> None:
    theirs = pydicom.dcmread(path, force=True)
    mine = read_header(path, TAGS)
    wanted = {}
    for tag, keyword in TAGS.items():
        part = theirs.file_meta if tag < 0x00030000 else theirs
        if tag in part:
            wanted[keyword] = as_text(part[tag].value)
    assert {**mine, "PatientName": mine.get("PatientName", "").rstrip("=")} == {
        **wanted,
        "PatientName": wanted.get("PatientName", ""),
    }


@pytest.mark.parametrize("syntax", [ELE, ILE, EBE], ids=lambda syntax: syntax.name)
def test_numbers_are_read_in_every_encoding(syntax: TransferSyntax) -> None:
    order = "little" if syntax.little_endian else "big"

    def number(tag: int, vr: str, value: int) -> bytes:
        return element(tag, vr, (value & 0xFFFF).to_bytes(2, order), syntax)

    data = number(0x00280010, "US", 512) + number(0x00280103, "US", 1)
    data += number(0x00280106, "SS", -5)
    wanted = {0x00280010: "Rows", 0x00280106: "SmallestImagePixelValue", 0x00280004: "Absent"}
    found, passed = texts(data, 0, len(data), syntax, wanted)
    assert found == {"Rows": "512", "SmallestImagePixelValue": "-5"}
    assert not passed


def test_numbers_in_un_are_little_endian() -> None:
    data = element(0x00280010, "UN", b"\0\2", EBE)
    assert texts(data, 0, len(data), EBE, {0x00280010: "Rows"})[0] == {"Rows": "512"}


def test_the_walk_ends_beyond_the_highest_wanted_tag() -> None:
    data = instance(element(0x00080060, "CS", b"CT") + element(0x00080070, "LO", b"") + b"broken")
    assert header_of(data, {0x00080060: "Modality"}) == {"Modality": "CT"}
    with pytest.raises(MalformedDataSet):
        header_of(data, {0x00080080: "InstitutionName"})


def test_sequences_are_stepped_over() -> None:
    data = sequence(0x00081140, item(element(0x00080060, "CS", b"MR")), undefined=True)
    data = instance(data + element(0x00100020, "LO", b"1 "))
    wanted = {0x00080060: "Modality", 0x00081140: "Sequence", 0x00100020: "PatientID"}
    assert header_of(data, wanted) == {"Sequence": "", "PatientID": "1"}


def test_a_long_value_is_cut_at_the_limit() -> None:
    data = instance(element(0x00104000, "LT", b"A" * 60_000))
    found = header_of(data, {0x00104000: "PatientComments"}, Limits(value=100))
    assert found == {"PatientComments": "A" * 100}


@pytest.mark.parametrize("length", [1 << 30, 0xFFFFFFFF])
def test_what_follows_the_highest_wanted_tag_may_be_cut(length: int) -> None:
    data = instance(element(0x00080060, "CS", b"CT") + head(0x7FE00010, "OW", length))
    assert header_of(data, {0x00080060: "Modality"}) == {"Modality": "CT"}


def test_what_is_cut_inside_a_sequence_before_the_highest_wanted_tag_is_refused() -> None:
    inner = item(head(0x7FE00010, "OW", 1 << 30), undefined=True)
    data = instance(sequence(0x00081140, inner, undefined=True) + element(0x00100020, "LO", b"1 "))
    with pytest.raises(MalformedDataSet, match=r"\(7FE0,0010\) at offset"):
        header_of(data, {0x00100020: "PatientID"})


@pytest.mark.parametrize("bits", [-15, 15])
def test_a_deflated_header_is_read_and_no_more_than_needed(bits: int) -> None:
    data = element(0x00080060, "CS", b"CT") + element(0x00100020, "LO", b"1234")
    packed = deflated(data + element(0x7FE00010, "OW", os.urandom(400_000)), bits)
    cut = instance(packed[:200_000], DEFLATED)
    assert header_of(cut, {0x00100020: "PatientID"}) == {"PatientID": "1234"}
    with pytest.raises(MalformedDataSet, match="is cut off"):
        header_of(cut, {0xFFFCFFFC: "DataSetTrailingPadding"})


def test_a_deflated_header_that_spans_several_pieces_is_read() -> None:
    data = b"".join(
        element(0x00091000 + number, "LT", b"%05d" % number * 2000) for number in range(60)
    )
    data = instance(deflated(data + element(0x00100020, "LO", b"1234")), DEFLATED)
    assert header_of(data, {0x00100020: "PatientID"}) == {"PatientID": "1234"}


def test_a_deflated_header_longer_than_the_limit_is_refused() -> None:
    data = element(0x00091010, "OB", os.urandom(1 << 20)) + element(0x00100020, "LO", b"1234")
    data = instance(deflated(data), DEFLATED)
    assert header_of(data, {0x00100020: "PatientID"}) == {"PatientID": "1234"}
    with pytest.raises(MalformedDataSet, match="header is longer than 1000000 bytes"):
        header_of(data, {0x00100020: "PatientID"}, Limits(header=1_000_000))


def test_an_unknown_transfer_syntax_is_taken_for_explicit_little_endian() -> None:
    data = instance(element(0x00080060, "CS", b"CT"), "1.2.840.99999.1")
    assert header_of(data, {0x00080060: "Modality"}) == {"Modality": "CT"}


def test_group_2_is_read_where_it_is_wanted() -> None:
    data = instance(element(0x00080060, "CS", b"CT", ILE), IMPLICIT_LE)
    wanted = {0x00020010: "TransferSyntaxUID", 0x00080060: "Modality"}
    assert header_of(data, wanted) == {"TransferSyntaxUID": IMPLICIT_LE, "Modality": "CT"}


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.dcm").touch()
    with pytest.raises(MalformedDataSet, match="the file is empty"):
        read_header(tmp_path / "empty.dcm", TAGS)


def test_the_file_is_closed_whatever_happens(tmp_path: Path) -> None:
    file = tmp_path / "cut.dcm"
    file.write_bytes(instance(head(0x00080060, "CS", 9)))
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    with pytest.raises(MalformedDataSet):
        read_header(file, TAGS)
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_a_deflated_file_reads_as_its_plain_twin() -> None:
    path = bundled("image_dfl.dcm")
    data, syntax, _ = data_set(path)
    plain, _ = texts(data, 0, len(data), syntax, TAGS)
    assert read_header(path, TAGS) == plain | {"TransferSyntaxUID": DEFLATED}
