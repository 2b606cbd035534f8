"""The DICOM JSON Model: every file as pydicom reads it, and each rule of PS3.18 Annex F."""

import base64
import json
import math
import struct
from pathlib import Path
from typing import Any

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from gateway.dataset.elements import Limits
from gateway.dataset.heads import MalformedDataSet
from gateway.dataset.json_model import JsonModel, json_object, to_json
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
    UNDEFINED,
    data_set,
    element,
    encode,
    every_file,
    head,
    item,
    nested,
    sequence,
)

NOT_COMPARED = frozenset(
    (
        *CUT,
        NO_DATA_SET,
        NOT_FOR_PYDICOM,
        "DICOMDIR-nooffset",  # its last item is cut off
        "fo-dicom__GH364.dcm",  # pydicom stumbles over what follows its Pixel Data
    )
)
PIXELS = (0x7FE00008, 0x7FE00009, 0x7FE00010)


def model(data: bytes, syntax: TransferSyntax = ELE, **more: Any) -> dict[str, Any]:
    """The JSON of a data set, parsed strictly: no literal that JSON does not have."""
    text = to_json(data, 0, len(data), syntax, **more)
    parsed: dict[str, Any] = json.loads(text, parse_constant=_no_constant)
    return parsed


def _no_constant(name: str) -> float:
    raise AssertionError(f"{name} is no JSON")


@pytest.mark.parametrize("path", every_file(NOT_COMPARED))
@pytest.mark.filterwarnings("ignore")
def test_every_file_is_the_data_set_that_pydicom_reads(path: Path) -> None:
    data, syntax, _ = data_set(path)
    text = to_json(data, 0, len(data), syntax)
    reference = pydicom.dcmread(path, force=True)
    assert differences(json.loads(text), reference, syntax) == []


@pytest.mark.parametrize("path", every_file(NOT_COMPARED))
def test_what_is_remembered_changes_nothing(path: Path) -> None:
    data, syntax, _ = data_set(path)
    remembering = JsonModel()
    first, second, third = (
        json_object(remembering.attributes(data, 0, len(data), syntax, str)) for _ in range(3)
    )
    watching = json_object(remembering.attributes(data, 0, len(data), syntax, str, found={}))
    assert first == second == third == watching
    assert first == to_json(memoryview(data), 0, len(data), syntax, bulk=str)


def differences(ours: dict[str, Any], theirs: Dataset, syntax: TransferSyntax) -> list[Any]:
    """Where a JSON object and pydicom's data set do not say the same."""
    found = []
    expected = {f"{one.tag:08X}": one for one in theirs if one.tag.element}
    for tag in sorted({*ours, *expected} - {"00080005"}):
        if tag not in ours or tag not in expected:
            found.append((tag, "is missing"))
        elif not equal(ours[tag], expected[tag], syntax):
            found.append((tag, ours[tag], expected[tag]))
    return found


def equal(mine: dict[str, Any], theirs: pydicom.DataElement, syntax: TransferSyntax) -> bool:
    vr, value = mine["vr"], theirs.value
    if vr == "SQ":
        items = mine.get("Value", [])
        pairs = zip(items, value, strict=False)
        return len(items) == len(value) and not any(differences(*two, syntax) for two in pairs)
    if theirs.tag in PIXELS:
        return mine == {"vr": vr}
    if vr in ("OB", "OD", "OF", "OL", "OW", "UN"):
        return inline(mine) == raw(theirs, value, syntax)
    if theirs.VR == "US or SS" and isinstance(value, bytes):  # pydicom could not decide
        return mine["Value"] == list(struct.unpack(f"<{len(value) // 2}H", value))
    values = list(value) if theirs.VM > 1 else [value] if theirs.VM else []
    return [plain(vr, one) for one in mine.get("Value", [])] == [normal(vr, one) for one in values]


def inline(mine: dict[str, Any]) -> bytes:
    return base64.b64decode(mine.get("InlineBinary", ""))


def raw(theirs: pydicom.DataElement, value: Any, syntax: TransferSyntax) -> bytes:
    """The bytes that pydicom has; in big endian it leaves those of OW as they stand."""
    if isinstance(value, str):  # a UN of which pydicom thinks that it knows the VR
        return value.encode().ljust(len(value) + len(value) % 2, b"\0")
    if not isinstance(value, bytes):
        return b"\xfe\xff\xdd\xe0\0\0\0\0" if isinstance(value, pydicom.Sequence) else b""
    if theirs.VR == "OW" and not syntax.little_endian:
        return struct.pack(f">{len(value) // 2}H", *struct.unpack(f"<{len(value) // 2}H", value))
    return value


def plain(vr: str, one: Any) -> Any:
    """One of our values: comparable."""
    if isinstance(one, dict):
        one = "=".join(one.get(each, "") for each in ("Alphabetic", "Ideographic", "Phonetic"))
    return normal(vr, one)


def normal(vr: str, one: Any) -> Any:
    """A value without padding; numbers as numbers, however they are written."""
    if vr == "AT":
        return int(one, 16) if isinstance(one, str) else int(one)
    if vr in ("IS", "DS") and not isinstance(one, str):
        return float(one)
    if vr == "PN":
        return str(one).rstrip("= ")
    return (str(one).strip(" \0") or None) if isinstance(one, str) else one


def test_a_value_of_each_kind_is_written_as_the_standard_says() -> None:
    data = b"".join(
        (
            element(0x00080000, "UL", b"\4\0\0\0"),
            element(0x00080008, "CS", b"ORIGINAL\\\\AXIAL "),
            element(0x00080018, "UI", b"1.2.3\0"),
            element(0x00080060, "CS", b""),
            element(0x00080070, "LO", b"  "),
            element(0x00080301, "US", b""),
            element(0x00100010, "PN", b"Doe^Jane=\xe5=x\\\\="),
            element(0x00189327, "FD", struct.pack("<3d", 0.1, -2, 1e300)),
            element(0x00200013, "IS", b"+007 "),
            element(0x00280009, "AT", b"\x18\0\x63\x10\x18\0\x65\x10"),
            element(0x00281053, "DS", b"-1.50\\+2\\.5\\ "),
        )
    )
    assert model(data) == {
        "00080008": {"vr": "CS", "Value": ["ORIGINAL", None, "AXIAL"]},
        "00080018": {"vr": "UI", "Value": ["1.2.3"]},
        "00080060": {"vr": "CS"},
        "00080070": {"vr": "LO"},
        "00080301": {"vr": "US"},
        "00100010": {
            "vr": "PN",
            "Value": [{"Alphabetic": "Doe^Jane", "Ideographic": "å", "Phonetic": "x"}, None, {}],
        },
        "00189327": {"vr": "FD", "Value": [0.1, -2.0, 1e300]},
        "00200013": {"vr": "IS", "Value": [7]},
        "00280009": {"vr": "AT", "Value": ["00181063", "00181065"]},
        "00281053": {"vr": "DS", "Value": [-1.5, 2, 0.5, None]},
    }


def test_attributes_stand_in_the_order_of_their_tags() -> None:
    data = element(0x00100020, "LO", b"A ") + element(0x00080060, "CS", b"CT")
    text = to_json(data, 0, len(data), ELE, changes={0x00080018: NewValue("UI", b"1.2")})
    assert list(json.loads(text)) == ["00080018", "00080060", "00100020"]


@pytest.mark.parametrize(
    ("vr", "value", "written"),
    [
        ("FD", struct.pack("<3d", math.nan, math.inf, -math.inf), '"NaN","Infinity","-Infinity"'),
        ("FL", struct.pack("<2f", 0.1, 3), "0.10000000149011612,3.0"),
        ("DS", b"1.50", "1.50"),
        ("DS", b" 1e5 ", "1e5"),
        ("DS", b"1.", "1.0"),
        ("DS", b"00.5", "0.5"),
        ("DS", b"1e999 ", '"1e999"'),
        ("DS", b"NaN ", '"NaN"'),
        ("DS", b"1,5 ", '"1,5"'),
        ("IS", b"1.0 ", '"1.0"'),
        ("IS", b"\xd9\xa3", '"\u00d9\u00a3"'),
        ("IS", b"99999999999999999999", '"99999999999999999999"'),
        ("UV", b"\xff" * 8, '"18446744073709551615"'),
        ("SV", b"\xff" * 8, "-1"),
        ("UL", b"\xff\xff\xff\xff\1", "4294967295"),
        ("LO", b'\1\x1f"\\/ ', '"\\u0001\\u001f\\"","/"'),
        ("ST", b"a\\b\r\n", '"a\\\\b\\r\\n"'),
        ("LT", b"  a  ", '"  a"'),
        ("UR", b"http://x/a\\b ", '"http://x/a\\\\b"'),
        ("AE", b" A ", '"A"'),
    ],
)
def test_what_json_has_no_number_for_is_a_string(vr: str, value: bytes, written: str) -> None:
    data = element(0x00091001, vr, value) if vr not in ("UV", "SV", "UR") else _long(vr, value)
    name, start = ("00091001", f'{{"00091001":{{"vr":"{vr}","Value":[')
    assert to_json(data, 0, len(data), ELE).decode() == f"{start}{written}]}}}}", name


def _long(vr: str, value: bytes) -> bytes:
    return element(0x00091001, "UN", value).replace(b"UN", vr.encode(), 1)


@pytest.mark.parametrize(
    ("term", "raw", "text"),
    [
        ("ISO_IR 100", "Müller".encode("latin-1"), ["Müller"]),
        ("ISO_IR 192", "Ж\\é".encode(), ["Ж", "é"]),
        ("GB18030", "王\\小".encode("gb18030"), ["王", "小"]),
        ("GBK", "誠".encode("gbk"), ["誠"]),  # its second byte is 0x5C
        ("ISO_IR 13", "ソ".encode("shift_jis"), ["ソ"]),  # and so is this one's
        ("\\ISO 2022 IR 87", b"a\x1b$B;3ED\x1b(B\\b", ["a山田", "b"]),
        ("\\ISO 2022 IR 149", b"\x1b$)C\xb1\xe8\\x", ["김", "x"]),
        ("ISO_IR 100", b"\x80\xff", ["\x80ÿ"]),
        ("ISO_IR 192", b"\xff\xfe", ["ÿþ"]),
    ],
)
def test_text_of_any_character_set_becomes_utf_8(term: str, raw: bytes, text: list[str]) -> None:
    data = element(0x00080005, "CS", term.encode().ljust(len(term) + len(term) % 2))
    data += element(0x00104000, "LO", raw)
    found = model(data)
    assert found["00104000"]["Value"] == text
    assert found["00080005"] == {"vr": "CS", "Value": ["ISO_IR 192"]}


def test_an_item_has_its_own_character_set_and_its_parents_after_it() -> None:
    inner = element(0x00080005, "CS", b"ISO_IR 192") + element(0x00080104, "LO", "é".encode())
    data = element(0x00080005, "CS", b"ISO_IR 100")
    data += sequence(0x00081032, item(inner), item(element(0x00080104, "LO", b"\xe9 ")))
    data += element(0x00104000, "LT", b"\xe9 ")
    found = model(data)
    names = [one["00080104"]["Value"] for one in found["00081032"]["Value"]]
    assert names == [["é"], ["é"]]
    assert found["00104000"]["Value"] == ["é"]


@pytest.mark.parametrize("undefined", [False, True])
@pytest.mark.parametrize("syntax", NATIVE)
def test_sequences_hold_objects_and_empty_ones(syntax: TransferSyntax, undefined: bool) -> None:
    content = element(0x00080100, "SH", b"X ", syntax)
    data = sequence(
        0x00081032,
        item(content, undefined=undefined, syntax=syntax),
        item(b"", undefined=undefined, syntax=syntax),
        undefined=undefined,
        syntax=syntax,
    )
    data += sequence(0x00081115, undefined=undefined, syntax=syntax)
    inside = {"00080100": {"vr": "SH", "Value": ["X"]}}
    expected = {"00081032": {"vr": "SQ", "Value": [inside, {}]}, "00081115": {"vr": "SQ"}}
    assert model(data, syntax) == expected


@pytest.mark.parametrize("syntax", NATIVE)
def test_binary_values_are_little_endian_and_long_ones_bulk_data(syntax: TransferSyntax) -> None:
    dataset = Dataset()
    dataset.add_new(0x00081032, "SQ", [Dataset()])
    dataset[0x00081032].value[0].add_new(0x00282000, "OB", b"\1\2" * 600)
    dataset.add_new(0x00282000, "OB", b"\1\2\3\4")
    dataset.add_new(0x00281201, "OW", b"\1\2\3\4")
    dataset.add_new(0x00660016, "OF", struct.pack("<300f", *range(300)))
    dataset.add_new(0x7FE00010, "OW", b"\0\0")
    found = model(encode(dataset, syntax), syntax, bulk=lambda path: f"b/{path}")
    assert found == {
        "00081032": {
            "vr": "SQ",
            "Value": [{"00282000": {"vr": "OB", "BulkDataURI": "b/00081032/1/00282000"}}],
        },
        "00282000": {"vr": "OB", "InlineBinary": "AQIDBA=="},
        "00281201": {"vr": "OW", "InlineBinary": "AQIDBA=="},
        "00660016": {"vr": "OF", "BulkDataURI": "b/00660016"},
        "7FE00010": {"vr": "OW", "BulkDataURI": "b/7FE00010"},
    }


def test_encapsulated_pixels_and_long_text_are_bulk_data() -> None:
    data = element(0x00420010, "ST", b"t ") + element(0x00420011, "UT", b"x" * 300_000)
    data += head(0x7FE00010, "OB", UNDEFINED) + head(0xFFFEE000, "", 0)
    data += head(0xFFFEE000, "", 2) + b"\1\2" + head(0xFFFEE0DD, "", 0)
    found = model(data, bulk=str)
    assert found["00420011"] == {"vr": "UT", "BulkDataURI": "00420011"}
    assert found["7FE00010"] == {"vr": "OB", "BulkDataURI": "7FE00010"}


def test_bulk_data_uris_are_those_of_the_instance_at_hand() -> None:
    data = element(0x00080060, "CS", b"CT") + sequence(
        0x00081032, item(element(0x00282000, "OB", b"x" * 2000))
    )
    remembering = JsonModel()
    for name in ("a", "b", "a"):
        found = remembering.attributes(data, 0, len(data), ELE, f"{name}/{{}}".format)
        assert f'"{name}/00081032/1/00282000"' in found[0x00081032]


def test_un_is_given_the_vr_that_the_dictionaries_know_where_its_value_fits() -> None:
    inner = element(0x00080100, "SH", b"X ", ILE)
    data = b"".join(
        (
            element(0x00080060, "UN", b"CT"),
            element(0x00080201, "UN", b"\1\2"),
            sequence(0x00081032, item(inner, syntax=ILE), vr="UN"),
            element(0x00190010, "LO", b"SIEMENS MR HEADER "),
            element(0x0019100A, "UN", b"\5\0"),
            element(0x0019100B, "UN", b"\1\2\3\4"),
            element(0x00191099, "UN", b"??"),
            element(0x00280010, "UN", b"\1\0\2"),
        )
    )
    found = {tag: (one["vr"], one.get("Value")) for tag, one in model(data).items()}
    assert found == {
        "00080060": ("CS", ["CT"]),
        "00080201": ("UN", None),
        "00081032": ("SQ", [{"00080100": {"vr": "SH", "Value": ["X"]}}]),
        "00190010": ("LO", ["SIEMENS MR HEADER"]),
        "0019100A": ("US", [5]),
        "0019100B": ("UN", None),
        "00191099": ("UN", None),
        "00280010": ("UN", None),
    }


def test_pixel_representation_decides_wherever_it_stands() -> None:
    signed = element(0x00280103, "US", b"\1\0", ILE)
    smallest = element(0x00280106, "SS", b"\xff\xff", ILE)
    inside = sequence(0x00283010, item(element(0x00283002, "SS", b"\0\1", ILE)), syntax=ILE)
    assert model(signed + smallest, ILE)["00280106"] == {"vr": "SS", "Value": [-1]}
    assert model(smallest + signed, ILE)["00280106"] == {"vr": "SS", "Value": [-1]}
    assert model(smallest, ILE)["00280106"] == {"vr": "US", "Value": [65535]}
    assert model(signed + inside, ILE)["00283010"]["Value"][0]["00283002"]["vr"] == "SS"


def test_what_depends_on_other_elements_is_never_remembered() -> None:
    remembering = JsonModel()
    texts = []
    for sign in (b"\0\0", b"\1\0"):
        data = element(0x00280103, "US", sign, ILE) + element(0x00280106, "SS", b"\xff\xff", ILE)
        texts.append(remembering.attributes(data, 0, len(data), ILE)[0x00280106])
    assert texts == [
        '"00280106":{"vr":"US","Value":[65535]}',
        '"00280106":{"vr":"SS","Value":[-1]}',
    ]


def test_only_what_is_wanted_is_given_and_the_rest_not_looked_at() -> None:
    data = element(0x00080060, "CS", b"CT") + element(0x00100020, "LO", b"1 ") + b"\xff\xfe broken"
    assert list(model(data, only=[0x00080060, 0x00080061])) == ["00080060"]


def test_what_stands_before_damage_is_given_where_it_is_asked_for() -> None:
    data = element(0x00080060, "CS", b"CT") + head(0x00100020, "LO", 50)
    with pytest.raises(MalformedDataSet, match=r"\(0010,0020\)"):
        JsonModel().attributes(data, 0, len(data), ELE)
    damage: list[MalformedDataSet] = []
    found = JsonModel().attributes(data, 0, len(data), ELE, damage=damage)
    assert (list(found), len(damage)) == ([0x00080060], 1)


@pytest.mark.parametrize("undefined", [False, True])
def test_sequences_too_deep_are_refused(undefined: bool) -> None:
    data = nested(30, undefined=undefined)
    with pytest.raises(MalformedDataSet, match="sequences within each other"):
        JsonModel(limits=Limits(depth=20)).attributes(data, 0, len(data), ELE)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.binary(max_size=6), st.sampled_from(NATIVE))
def test_damaged_bytes_give_json_or_a_clear_refusal(
    at: int, put: bytes, syntax: TransferSyntax
) -> None:
    sound = encode(_sample(), syntax)
    at %= len(sound)
    data = sound[:at] + put + sound[at + len(put) :]
    remembering = JsonModel()
    remembering.attributes(sound, 0, len(sound), syntax)
    try:
        found = json_object(remembering.attributes(data, 0, len(data), syntax))
    except MalformedDataSet:
        return
    assert json.loads(found) == model(data, syntax)


def _sample() -> Dataset:
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.PatientName = "Müller^Jörg"
    dataset.ImageType = ["ORIGINAL", "PRIMARY"]
    dataset.ReferencedSeriesSequence = [Dataset(), Dataset()]
    dataset.ReferencedSeriesSequence[0].SeriesInstanceUID = "1.2.3"
    dataset.add_new(0x00090010, "LO", "SOMEBODY")
    dataset.add_new(0x00091001, "UN", b"\1\2\3")
    dataset.PixelRepresentation = 1
    dataset.add_new(0x00280106, "SS", -5)
    dataset.WindowCenter = [40, 50]
    return dataset


def test_big_endian_numbers_and_tags_are_read_in_their_order() -> None:
    data = element(0x00280009, "AT", b"\0\x18\x10\x63", EBE) + element(
        0x00280010, "US", b"\1\0", EBE
    )
    assert [one["Value"] for one in model(data, EBE).values()] == [["00181063"], [256]]
