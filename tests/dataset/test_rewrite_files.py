"""Rewriting: to pydicom the same data set in every encoding, the same bytes in the same."""

import io
import itertools
import re
import shutil
import subprocess
from pathlib import Path

import pydicom
import pytest
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset

from gateway.dataset.byte_order import WIDTHS, swapped
from gateway.dataset.elements import PIXEL_DATA
from gateway.dataset.part10 import encode_file_meta
from gateway.dataset.rewrite import NewValue
from gateway.transfer_syntax import TransferSyntax
from tests.dataset.samples import (
    CUT,
    EBE,
    ELE,
    ILE,
    NATIVE,
    NO_DATA_SET,
    NOT_FOR_PYDICOM,
    bundled,
    data_set,
    every_file,
    recoded,
    values_in,
)

UNREADABLE = frozenset((*CUT, NO_DATA_SET, NOT_FOR_PYDICOM))
LYING_ITEM = "DICOMDIR-nooffset"
UNLABELLED = "ruby-dicom__no-header_explicit-two-pass-.dcm"
OWN_TO_THE_ENCODING = rb' (vr|privateCreator|uuid)="[^"]*"'
UN_MISREAD = ("UN_sequence.dcm", "pydicom__UN_sequence.dcm")


def name_of(value: object) -> str | None:
    return value.name if isinstance(value, TransferSyntax) else None


def read(data: bytes, syntax: TransferSyntax) -> Dataset:
    meta = encode_file_meta(
        sop_class_uid="1.2", sop_instance_uid="1.2.3", transfer_syntax=syntax.uid
    )
    return pydicom.dcmread(io.BytesIO(meta + data))


def raw(one: object, big: bool) -> object:
    """An element's value as little endian bytes where pydicom has not decoded it."""
    if not isinstance(one, RawDataElement):
        return one
    return swapped(one.value or b"", WIDTHS.get(one.VR, 1)) if big else one.value or b""


def differences(
    ours: Dataset, theirs: Dataset, big: tuple[bool, bool], path: str = ""
) -> list[str]:
    """Where two data sets differ in more than group lengths, stray items and VRs."""
    mine, wanted = (
        {tag: one for tag, one in each.items() if tag.elem and tag.group != 0xFFFE}
        for each in (ours, theirs)
    )
    found = [f"{path}{tag}: there or not" for tag in mine.keys() ^ wanted.keys()]
    for tag in mine.keys() & wanted.keys():
        one, two = raw(mine[tag], big[0]), raw(wanted[tag], big[1])
        if not (isinstance(one, bytes) and one == two):
            found += _decoded(ours, theirs, tag, big, f"{path}{tag}")
    return found


def _decoded(
    ours: Dataset, theirs: Dataset, tag: int, big: tuple[bool, bool], path: str
) -> list[str]:
    one, two = ours[tag], theirs[tag]
    if one.VR == two.VR == "SQ":
        pairs = itertools.zip_longest(one.value, two.value, fillvalue=Dataset())
        return [text for a, b in pairs for text in differences(a, b, big, f"{path} ")]
    if one.VR in ("OW", "OF", "OD", "OL") and one.VR == two.VR:
        width = WIDTHS[one.VR] if big[0] != big[1] else 1
        same = swapped(one.value or b"", width) == (two.value or b"")
        return [] if same else [f"{path}: other {one.VR}"]
    if one.value == two.value or (not one.value and not two.value):
        return []
    return [f"{path}: {one.VR} {two.VR} {str(one.value)[:20]} {str(two.value)[:20]}"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("target", NATIVE, ids=name_of)
@pytest.mark.parametrize("path", every_file(UNREADABLE | {LYING_ITEM, UNLABELLED}))
def test_every_file_reads_the_same_in_every_encoding(path: Path, target: TransferSyntax) -> None:
    data, source, _ = data_set(path)
    theirs = pydicom.dcmread(path, force=True)
    changes: dict[int, NewValue | None] = {}
    if source.encapsulated:
        changes = {PIXEL_DATA: None}
        theirs.pop(PIXEL_DATA, None)
    out = recoded(data, source, target, changes)
    if target is EBE and path.name in UN_MISREAD:
        pytest.xfail("pydicom reads UN of undefined length as big endian, against PS3.5 6.2.2")
    big = (target is EBE, not source.little_endian)
    assert differences(read(out, target), theirs, big) == []


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", every_file(UNREADABLE | {LYING_ITEM, UNLABELLED}))
def test_there_and_back_again_gives_the_same_bytes(path: Path) -> None:
    """Once what the first pass mends is mended: group lengths, delimiters in defined lengths."""
    data, source, _ = data_set(path)
    there = recoded(data, source, ELE, {PIXEL_DATA: None})
    for _ in range(2):
        there = recoded(recoded(there, ELE, ILE), ILE, ELE)
    there = recoded(there, ELE, ILE)
    for target in (EBE, ELE):
        out = recoded(there, ILE, target)
        assert recoded(out, target, target) == out
        assert recoded(out, target, ILE) == there


@pytest.mark.parametrize("path", every_file(UNREADABLE))
def test_the_same_encoding_is_a_copy(path: Path) -> None:
    data, source, _ = data_set(path)
    plain = next(
        each
        for each in NATIVE
        if each.explicit == source.explicit and each.little_endian == source.little_endian
    )
    out = recoded(data, source, plain)
    if path.name.endswith("SC_rgb_jpeg.dcm"):  # an implicit data set labelled explicit
        assert [vr for vr, _ in values_in(out, ELE).values() if not vr] == []
    else:
        assert data.startswith(out)
        assert not any(data[len(out) :])


@pytest.mark.interop
@pytest.mark.skipif(not shutil.which("dcm2xml"), reason="DCMTK's dcm2xml is not installed")
@pytest.mark.parametrize("target", [ILE, EBE], ids=name_of)
@pytest.mark.parametrize("name", ["UN_sequence.dcm", "reportsi.dcm", "rtplan.dcm", "CT_small.dcm"])
def test_dcmtk_reads_the_same_values(name: str, target: TransferSyntax, tmp_path: Path) -> None:
    """UN of undefined length among them, which pydicom misreads in big endian."""
    data, source, _ = data_set(bundled(name))
    told = []
    for syntax in (source, target):
        file = tmp_path / syntax.name
        meta = encode_file_meta(
            sop_class_uid="1.2", sop_instance_uid="1.2.3", transfer_syntax=syntax.uid
        )
        file.write_bytes(meta + recoded(data, source, syntax, {PIXEL_DATA: None}))
        command = ["dcm2xml", "--native-format", "-q", file]
        answer = subprocess.run(command, capture_output=True, check=True).stdout
        told.append(re.sub(OWN_TO_THE_ENCODING, b"", answer))
    assert told[0].count(b"<DicomAttribute") >= 6
    assert told[0] == told[1]
