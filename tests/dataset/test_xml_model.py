"""The Native DICOM Model: what a parser reads is what the JSON says, and what DCMTK writes."""

import json
import shutil
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from gateway.dataset.json_model import to_json
from gateway.dataset.xml_model import NAMESPACE, to_xml
from gateway.transfer_syntax import EXPLICIT_LE
from tests.dataset.samples import ELE, bundled, data_set, element, every_file, item, sequence
from tests.dataset.test_json_model import NOT_COMPARED

N = f"{{{NAMESPACE}}}"
GROUPS = ("Alphabetic", "Ideographic", "Phonetic")
COMPONENTS = ("FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix")


def xml_of(data: bytes, **more: Any) -> ET.Element:
    return ET.fromstring(to_xml(to_json(data, 0, len(data), ELE, **more)))  # noqa: S314 - our own


@pytest.mark.parametrize("path", every_file(NOT_COMPARED))
def test_every_file_says_in_xml_what_it_says_in_json(path: Path) -> None:
    data, syntax, _ = data_set(path)
    text = to_json(data, 0, len(data), syntax, bulk=str)
    root = ET.fromstring(to_xml(text))  # noqa: S314 - our own
    assert read_back(root) == told(json.loads(text, parse_float=str, parse_int=str))


def read_back(node: ET.Element) -> list[Any]:
    """(element number or tag, VR, content) of each attribute, as a reader of the XML has them."""
    return [
        (one.attrib["tag"][4:], one.attrib["vr"], _content(one), "privateCreator" in one.attrib)
        for one in node
    ]


def _content(node: ET.Element) -> list[Any]:
    found: list[Any] = []
    for child in node:
        number = int(child.get("number", 0))
        match child.tag.removeprefix(N):
            case "Item":
                found.append((number, read_back(child)))
            case "PersonName":
                groups = {each.tag.removeprefix(N): _name(each) for each in child}
                found.append((number, "=".join(groups.get(each, "") for each in GROUPS)))
            case "BulkData":
                found.append(child.attrib["uri"])
            case _:
                found.append((number, child.text or ""))
    return found


def _name(group: ET.Element) -> str:
    parts = {each.tag.removeprefix(N): each.text for each in group}
    return "^".join(parts.get(each) or "" for each in COMPONENTS).rstrip("^")


def told(model: dict[str, Any]) -> list[Any]:
    """The same of the JSON."""
    found = []
    for tag, one in model.items():
        creator = private(tag, model)
        number = f"00{tag[6:]}" if creator else tag[4:]
        found.append((number, one["vr"], _values(one), creator))
    return found


def private(tag: str, model: dict[str, Any]) -> bool:
    values = model.get(f"{tag[:4]}00{tag[4:6]}", {}).get("Value", [None])
    odd = int(tag[3], 16) % 2 == 1 and tag[4:6] != "00"
    return odd and isinstance(values[0], str)


def _values(one: dict[str, Any]) -> list[Any]:
    if "BulkDataURI" in one:
        return [one["BulkDataURI"]]
    if "InlineBinary" in one:
        return [(0, one["InlineBinary"])]
    values = list(enumerate(one.get("Value", []), 1))
    if one["vr"] == "SQ":
        return [(number, told(value)) for number, value in values]
    if one["vr"] == "PN":
        names = [(number, value or {}) for number, value in values]
        return [
            (number, "=".join(name.get(each, "").rstrip("^") for each in GROUPS))
            for number, name in names
        ]
    return [(number, value) for number, value in values if value is not None]


def test_attributes_bear_keywords_and_private_ones_their_creator() -> None:
    data = b"".join(
        (
            element(0x00080060, "CS", b"CT"),
            element(0x00090011, "LO", b'SOME "BODY" '),
            element(0x00091101, "LO", b"x "),
            element(0x00091201, "LO", b"y "),
            sequence(0x00081115, item(element(0x00080018, "UI", b"1.2\0"))),
        )
    )
    root = xml_of(data)
    assert [one.attrib for one in root] == [
        {"tag": "00080060", "vr": "CS", "keyword": "Modality"},
        {"tag": "00081115", "vr": "SQ", "keyword": "ReferencedSeriesSequence"},
        {"tag": "00090011", "vr": "LO"},
        {"tag": "00090001", "vr": "LO", "privateCreator": 'SOME "BODY"'},
        {"tag": "00091201", "vr": "LO"},
    ]
    inner = root.find(f"{N}DicomAttribute/{N}Item/{N}DicomAttribute/{N}Value")
    assert inner is not None
    assert inner.text == "1.2"


def test_a_person_name_is_taken_apart_into_its_components() -> None:
    data = element(0x00100010, "PN", "Yamada^Tarou^^Dr^=山田^太郎==x".encode())
    data = element(0x00080005, "CS", b"ISO_IR 192") + data + b" " * (len(data) % 2)
    (name,) = xml_of(data).iter(f"{N}PersonName")
    found = {
        group.tag.removeprefix(N): [(one.tag.removeprefix(N), one.text) for one in group]
        for group in name
    }
    assert found == {
        "Alphabetic": [("FamilyName", "Yamada"), ("GivenName", "Tarou"), ("NamePrefix", "Dr")],
        "Ideographic": [("FamilyName", "山田"), ("GivenName", "太郎")],
        "Phonetic": [("FamilyName", "=x")],
    }


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"a<b>&\"'", "a<b>&\"'"),
        (b"one\r\ntwo\tthree", "one\r\ntwo\tthree"),
        (b"\0\1\x0b\x1b]", "\N{REPLACEMENT CHARACTER}" * 3 + "\N{REPLACEMENT CHARACTER}]"),
        (b"]]>", "]]>"),
        (b"  kept", "  kept"),
    ],
)
def test_any_text_comes_through_the_parser_or_is_replaced(raw: bytes, text: str) -> None:
    data = element(0x00104000, "LT", raw)
    (value,) = xml_of(data).iter(f"{N}Value")
    assert value.text == text


@pytest.mark.interop
@pytest.mark.skipif(shutil.which("dcm2xml") is None, reason="DCMTK's dcm2xml is not here")
@pytest.mark.parametrize("name", ["CT_small.dcm", "reportsi.dcm", "rtplan.dcm", "MR_small.dcm"])
def test_dcmtk_writes_the_same_tags_values_and_creators(name: str) -> None:
    path = bundled(name)
    data, syntax, label = data_set(path)
    assert label in (EXPLICIT_LE, syntax.uid)
    ours = ET.fromstring(to_xml(to_json(data, 0, len(data), syntax, bulk=str)))  # noqa: S314
    command = ["dcm2xml", "--native-format", "+Xn", str(path)]
    written = subprocess.run(command, capture_output=True, check=True, timeout=60).stdout
    theirs = ET.fromstring(written)  # noqa: S314 - DCMTK's
    assert list(facts(ours)) == list(facts(theirs))


def facts(root: ET.Element) -> Any:
    """What both must say alike: DCMTK rounds floats, and has bulk data where we have it inline."""
    for one in root.iter(f"{N}DicomAttribute"):
        if one.attrib["vr"] in ("FL", "FD", "OB", "OW", "UN", "DS", "IS", "PN"):
            yield one.attrib["tag"], one.get("privateCreator"), ()
        elif one.attrib["tag"] != "00080005":
            values = tuple(each.text for each in one if each.tag == f"{N}Value")
            yield one.attrib["tag"], one.get("privateCreator"), values
