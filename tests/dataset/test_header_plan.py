"""Attributes inside sequences and private blocks are read as those beside them."""

from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence

from gateway.config.subjects import find_subject
from gateway.dataset.header import header_of, read_header
from gateway.dataset.wanted import plan_of

SYNTAXES = {
    "implicit-le": "1.2.840.10008.1.2",
    "explicit-le": "1.2.840.10008.1.2.1",
    "explicit-be": "1.2.840.10008.1.2.2",
    "deflated": "1.2.840.10008.1.2.1.99",
}
PATHS = (
    "RequestAttributesSequence.ScheduledProcedureStepID",
    "RequestAttributesSequence.ScheduledProtocolCodeSequence.CodeValue",
    "RequestAttributesSequence",
    "Modality",
    "(0019,xx08,ACME 1.0)",
    "(0019,xx08,OTHER)",
    "(0019,xx10,ACME 1.0).CodeValue",
    "RequestAttributesSequence.(0009,xx01,ACME 1.0)",
    "ReferencedStudySequence.ReferencedSOPInstanceUID",
)
WANTED = {
    "RequestAttributesSequence.ScheduledProcedureStepID": "S1\\Ü2",
    "RequestAttributesSequence.ScheduledProtocolCodeSequence.CodeValue": "A\\B",
    "RequestAttributesSequence": "2",
    "Modality": "CT",
    "(0019,xx08,ACME 1.0)": "in the second block",
    "(0019,xx08,OTHER)": "in the first",
    "(0019,xx10,ACME 1.0).CodeValue": "P",
    "RequestAttributesSequence.(0009,xx01,ACME 1.0)": "inside",
}


def _plan(*keys: str) -> dict[int, object]:
    subjects = [find_subject(key) for key in keys]
    return dict(plan_of((each.steps, each.source, each.kind == "sequence") for each in subjects))


def _code(value: str) -> Dataset:
    item = Dataset()
    item.CodeValue = value
    return item


def _object() -> Dataset:
    data = Dataset()
    data.SpecificCharacterSet = "ISO_IR 100"
    data.Modality = "CT"
    first, second = Dataset(), Dataset()
    first.ScheduledProcedureStepID = "S1"
    first.ScheduledProtocolCodeSequence = Sequence([_code("A"), _code("B")])
    second.ScheduledProcedureStepID = "Ü2"
    second.private_block(0x0009, "ACME 1.0", create=True).add_new(1, "LO", "inside")
    data.RequestAttributesSequence = Sequence([first, second])
    data.ReferencedStudySequence = Sequence([])
    data.private_block(0x0019, "OTHER", create=True).add_new(8, "LO", "in the first")
    block = data.private_block(0x0019, "ACME 1.0", create=True)
    block.add_new(8, "LO", "in the second block")
    block.add_new(0x10, "SQ", Sequence([_code("P")]))
    data.SOPClassUID, data.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", "1.2.3"
    data.PixelData = b"\0" * 64
    data["PixelData"].VR = "OW"
    return data


def _encoded(syntax: str, *, undefined: bool) -> bytes:
    data = _object()
    if undefined:
        for element in data:
            if element.VR == "SQ":
                element.is_undefined_length = True
                for item in element.value:
                    item.is_undefined_length_sequence_item = True
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = SYNTAXES[syntax]
    out = BytesIO()
    pydicom.dcmwrite(out, data, enforce_file_format=True)
    return out.getvalue()


@pytest.mark.parametrize("undefined", [False, True], ids=["defined", "undefined"])
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_paths_and_private_elements_are_read_in_every_encoding(
    syntax: str, undefined: bool, tmp_path: Path
) -> None:
    file = tmp_path / "x.dcm"
    file.write_bytes(_encoded(syntax, undefined=undefined))
    found = read_header(file, _plan(*PATHS))
    assert found == WANTED


def test_a_damaged_sequence_hides_its_items_and_nothing_else() -> None:
    data = _encoded("explicit-le", undefined=False)
    at = data.index(b"\xfe\xff\x00\xe0")
    damaged = data[:at] + b"\xfe\xff\xff\xe0" + data[at + 4 :]
    found = header_of(damaged, _plan(*PATHS))
    assert found["Modality"] == "CT"
    assert found["(0019,xx08,ACME 1.0)"] == "in the second block"
    assert found["RequestAttributesSequence"] == "2"
    assert "(0019,xx10,ACME 1.0).CodeValue" not in found


def test_a_private_element_of_another_creator_is_not_read() -> None:
    found = header_of(_encoded("explicit-le", undefined=False), _plan("(0019,xx08,NOBODY)"))
    assert found == {}
