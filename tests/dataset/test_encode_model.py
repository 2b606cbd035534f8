"""Data sets from JSON and XML: what went out comes back; what is wrong is named by its path."""

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.dataset.encode_model import (
    BulkData,
    FileRange,
    encode_model,
    said_syntax,
    size_of,
)
from gateway.dataset.heads import Limits
from gateway.dataset.json_model import to_json
from gateway.dataset.parse_model import InvalidMetadata, Model, parse_json, parse_xml
from gateway.dataset.xml_model import to_xml
from tests.dataset.samples import ELE, UNDEFINED, data_set, every_file, head, values_in
from tests.dataset.test_json_model import NOT_COMPARED


def encoded(model: Model, resolve: Any = lambda _: None, **limits: int) -> bytes:
    """The whole data set, file ranges read."""
    pieces = encode_model(model, resolve, Limits(**limits))
    whole = b"".join(_read(piece) if isinstance(piece, FileRange) else piece for piece in pieces)
    assert len(whole) == size_of(pieces)
    return whole


def _read(piece: FileRange) -> bytes:
    return piece.file.read_bytes()[piece.offset : piece.offset + piece.length]


def again(data: bytes, **more: Any) -> Any:
    return json.loads(to_json(data, 0, len(data), ELE, **more))


@pytest.mark.parametrize("path", every_file(NOT_COMPARED))
def test_every_file_comes_back_from_its_json_and_its_xml(path: Path) -> None:
    data, syntax, _ = data_set(path)
    text = to_json(data, 0, len(data), syntax)
    refusals = []
    for model in (parse_json(text)[0], parse_xml(to_xml(text))):
        try:
            back = again(encoded(model))
        except InvalidMetadata as refusal:
            refusals.append(str(refusal))
        else:
            assert comparable(back) == comparable(json.loads(text))
    assert all(any(each in refusal for each in FORBIDDEN) for refusal in refusals)


FORBIDDEN = ("control character", "outside ASCII", "no UID", "a tag that no data set")
"""What stored files hold and PS3.5 forbids."""


def comparable(model: Any) -> Any:
    """Without what XML cannot say: empty components at a name's end, and empty last values."""
    found = {}
    for tag, attribute in model.items():
        values = attribute.get("Value", [])
        if attribute["vr"] == "SQ":
            values = [comparable(item) for item in values]
        elif attribute["vr"] == "PN":
            values = [_without_carets(name) for name in values]
        elif attribute["vr"] == "DS":
            values = [f"{one:.10g}" if isinstance(one, int | float) else one for one in values]
        while values and values[-1] in (None, {}) and attribute["vr"] != "SQ":
            values = values[:-1]
        found[tag] = (attribute["vr"], values, attribute.get("InlineBinary"))
    return found


def _without_carets(name: dict[str, str] | None) -> dict[str, str] | None:
    groups = {each: text.rstrip("^ ") for each, text in (name or {}).items()}
    return {each: text for each, text in groups.items() if text} or None


def test_values_of_each_kind_are_encoded() -> None:
    model = parse_json(
        json.dumps(
            {
                "00080005": {"vr": "CS", "Value": ["ISO_IR 100"]},
                "00080008": {"vr": "CS", "Value": ["ORIGINAL", None, "AXIAL"]},
                "00080018": {"vr": "UI", "Value": ["1.2.3"]},
                "00080060": {"vr": "CS"},
                "00081032": {
                    "vr": "SQ",
                    "Value": [{"00080100": {"vr": "SH", "Value": ["X"]}}, {}],
                },
                "00081115": {"vr": "SQ"},
                "0009000C": {"vr": "UN", "InlineBinary": "AQID"},
                "00100010": {
                    "vr": "PN",
                    "Value": [{"Alphabetic": "Doe^J", "Phonetic": "é"}, None, "Old^Form"],
                },
                "00104000": {"vr": "LT", "Value": ["a\\b\r\nc"]},
                "0018002A": {"vr": "SQ", "Value": None},
                "00189327": {"vr": "FD", "Value": [0.1, -2, "NaN", "-Infinity"]},
                "0020000d": {"vr": "UI", "Value": ["1.2"]},
                "00200013": {"vr": "IS", "Value": [7, "+8", -0]},
                "00280009": {"vr": "AT", "Value": ["00181063"]},
                "00280010": {"vr": "US", "Value": [512]},
                "00280106": {"vr": "SS", "Value": [-5, 5]},
                "00281053": {"vr": "DS", "Value": [1.5, 0.30000000000000004, "1.50", 2]},
            }
        ).encode()
    )[0]
    found = values_in(encoded(model), ELE)
    assert found == {
        0x00080005: ("CS", b"ISO_IR 192"),
        0x00080008: ("CS", b"ORIGINAL\\\\AXIAL "),
        0x00080018: ("UI", b"1.2.3\0"),
        0x00080060: ("CS", b""),
        0x00081032: (
            "SQ",
            head(0xFFFEE000, "", 10) + head(0x00080100, "SH", 2) + b"X " + head(0xFFFEE000, "", 0),
        ),
        0x00081115: ("SQ", b""),
        0x0009000C: ("UN", b"\1\2\3\0"),
        0x00100010: ("PN", "Doe^J==é\\\\Old^Form ".encode()),
        0x00104000: ("LT", b"a\\b\r\nc"),
        0x0018002A: ("SQ", b""),
        0x00189327: ("FD", struct.pack("<4d", 0.1, -2, float("nan"), float("-inf"))),
        0x0020000D: ("UI", b"1.2\0"),
        0x00200013: ("IS", b"7\\+8\\0"),
        0x00280009: ("AT", b"\x18\0\x63\x10"),
        0x00280010: ("US", b"\0\2"),
        0x00280106: ("SS", b"\xfb\xff\5\0"),
        0x00281053: ("DS", b"1.5\\0.3\\1.50\\2"),
    }


def test_utf_8_is_declared_where_text_needs_it_and_nowhere_else() -> None:
    plain = {"00100020": {"vr": "LO", "Value": ["1"]}}
    assert 0x00080005 not in values_in(encoded(plain), ELE)
    inside = {"00081032": {"vr": "SQ", "Value": [{"00080104": {"vr": "LO", "Value": ["é"]}}]}}
    found = values_in(encoded(plain | inside), ELE)
    assert list(found) == [0x00080005, 0x00081032, 0x00100020]
    assert found[0x00080005] == ("CS", b"ISO_IR 192")


def test_what_belongs_to_the_file_is_left_out_but_can_be_asked_for() -> None:
    model = {
        "00020010": {"vr": "UI", "Value": ["1.2.840.10008.1.2.4.50"]},
        "00080000": {"vr": "UL", "Value": [4]},
        "00080060": {"Value": ["CT"]},
    }
    assert list(values_in(encoded(model), ELE)) == [0x00080060]
    assert said_syntax(model) == "1.2.840.10008.1.2.4.50"
    model["00083002"] = {"vr": "UI", "Value": ["1.2.840.10008.1.2.4.90"]}
    assert said_syntax(model) == "1.2.840.10008.1.2.4.90"
    assert list(values_in(encoded(model), ELE)) == [0x00080060]
    assert said_syntax({"00083002": {"vr": "UI", "Value": [5]}}) == ""


def test_bulk_data_stays_in_its_file(tmp_path: Path) -> None:
    file = tmp_path / "part"
    file.write_bytes(b"0123456789")
    ranges = {
        "a": BulkData((FileRange(file, 2, 5),)),
        "b": BulkData((FileRange(file, 0, 1), FileRange(file, 8, 2))),
    }
    model = {
        "00282000": {"vr": "OB", "BulkDataURI": "a"},
        "00081032": {"vr": "SQ", "Value": [{"00282000": {"vr": "OB", "BulkDataURI": ["b"]}}]},
    }
    pieces = encode_model(model, ranges.get)
    assert [piece for piece in pieces if isinstance(piece, FileRange)] == [
        FileRange(file, 0, 1),
        FileRange(file, 8, 2),
        FileRange(file, 2, 5),
    ]
    found = again(encoded(model, ranges.get))
    assert found["00282000"]["InlineBinary"] == "MjM0NTYA"
    assert found["00081032"]["Value"][0]["00282000"]["InlineBinary"] == "MDg5AA=="


def test_compressed_frames_are_encapsulated(tmp_path: Path) -> None:
    file = tmp_path / "part"
    file.write_bytes(b"frame1frame")
    frames = BulkData((FileRange(file, 0, 6), FileRange(file, 6, 5)), frames=True)
    model = {"7FE00010": {"vr": "OB", "BulkDataURI": "x"}}
    assert encoded(model, lambda _: frames) == (
        head(0x7FE00010, "OB", UNDEFINED)
        + head(0xFFFEE000, "", 0)
        + head(0xFFFEE000, "", 6)
        + b"frame1"
        + head(0xFFFEE000, "", 6)
        + b"frame\0"
        + head(0xFFFEE0DD, "", 0)
    )
    with pytest.raises(InvalidMetadata, match="00282000: compressed frames"):
        encoded({"00282000": {"vr": "OB", "BulkDataURI": "x"}}, lambda _: frames)


def test_a_long_table_becomes_words() -> None:
    found = values_in(encoded({"00283006": {"vr": "US", "Value": [7] * 40_000}}), ELE)
    assert found == {0x00283006: ("OW", b"\7\0" * 40_000)}


def _in_item(attribute: Any) -> Any:
    return {"00400275": {"vr": "SQ", "Value": [{}, {"00080050": attribute}]}}


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (_in_item({"vr": "SH", "Value": [5]}), "00400275/2/00080050: a number where text is due"),
        (_in_item({"vr": "SH", "Value": "x"}), "00400275/2/00080050: Value is no array"),
        (_in_item([]), "00400275/2/00080050: no object where an attribute"),
        (_in_item({"vr": "XX", "Value": ["x"]}), "its VR is 'XX'"),
        (_in_item({"vr": ["SH"], "Value": ["x"]}), "its VR is"),
        (_in_item({"vr": "SH", "Value": ["x"], "BulkDataURI": "y"}), "at most one"),
        (_in_item({"vr": "SH", "BulkDataURI": "y"}), "names nothing that was sent along"),
        (
            _in_item({"vr": "SH", "InlineBinary": "AAAA"}),
            "InlineBinary is the base64 text of a bin",
        ),
        (_in_item({"vr": "OB", "InlineBinary": "A*"}), "is not base64"),
        (_in_item({"vr": "OB", "InlineBinary": "é"}), "is not base64"),
        (_in_item({"vr": "OB", "Value": [1]}), "OB has InlineBinary or BulkDataURI"),
        (_in_item({"vr": "SQ", "Value": ["x"]}), "00400275/2/00080050/1/: no object"),
        (_in_item({"vr": "US", "Value": [65536]}), "a number that no US can hold"),
        (_in_item({"vr": "US", "Value": [-1]}), "a number that no US can hold"),
        (_in_item({"vr": "US", "Value": [1, None]}), "null where an integer is due"),
        (_in_item({"vr": "US", "Value": [True]}), "true or false where an integer"),
        (_in_item({"vr": "US", "Value": ["1_0"]}), "text where an integer"),
        (_in_item({"vr": "FL", "Value": [1e300]}), "a number that no FL can hold"),
        (_in_item({"vr": "FD", "Value": ["one"]}), "text where a number is due"),
        (_in_item({"vr": "DS", "Value": [{}]}), "an object where a number is due"),
        (_in_item({"vr": "CS", "Value": ["Ä"]}), "a character outside ASCII in a CS"),
        (_in_item({"vr": "LO", "Value": ["a\\b"]}), "a value with a backslash"),
        (_in_item({"vr": "LO", "Value": ["a\x1b(B"]}), r"a control character, U\+001B"),
        (_in_item({"vr": "LO", "Value": ["\ud800"]}), "half of a surrogate pair"),
        (_in_item({"vr": "LT", "Value": ["a", "b"]}), "2 values; a LT has one"),
        (_in_item({"vr": "UI", "Value": ["1.2/../3"]}), "no UID"),
        (_in_item({"vr": "AT", "Value": ["PatientName"]}), "no tag"),
        (_in_item({"vr": "PN", "Value": [{"Family": "x"}]}), "no object of Alphabetic"),
        (_in_item({"vr": "PN", "Value": [{"Alphabetic": "a=b"}]}), "'='"),
        (_in_item({"vr": "LO", "Value": ["x" * 70_000]}), "more than a LO can have"),
        ({"PatientName": {"vr": "PN"}}, "'PatientName' is no tag"),
        ({"FFFEE000": {"vr": "PN"}}, "a tag that no data set"),
        ({"00000002": {"vr": "UI"}}, "a tag that no data set"),
        ({"0020000D": {"vr": "UI"}, "0020000d": {"vr": "UI"}}, "stands twice"),
        ({"00280106": {"Value": [1]}}, "its VR is none"),
    ],
)
def test_what_is_wrong_is_named_by_its_path(model: Any, text: str) -> None:
    with pytest.raises(InvalidMetadata, match=text):
        encoded(model)


def test_depth_and_numbers_are_limited() -> None:
    model: Any = {}
    for _ in range(20):
        model = {"00081032": {"vr": "SQ", "Value": [model]}}
    with pytest.raises(InvalidMetadata, match="sequences within each other"):
        encoded(model, depth=10)
    with pytest.raises(InvalidMetadata, match="more than 3 items"):
        encoded({"00081032": {"vr": "SQ", "Value": [{}] * 4}}, items=3)
    with pytest.raises(InvalidMetadata, match="more than 1 attributes"):
        encoded({"00080060": {"vr": "CS"}, "00080061": {"vr": "CS"}}, elements=1)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inside: (
        st.lists(inside, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["vr", "Value", "InlineBinary", "BulkDataURI", "00080060", "00081032", "7FE00010"]
            )
            | st.text(max_size=3),
            inside | st.sampled_from(["SQ", "OB", "LO", "US", "PN", "IS", "FD", "AT"]),
            max_size=4,
        )
    ),
    max_leaves=20,
)


@settings(max_examples=150, deadline=None)
@given(_json)
def test_any_json_is_encoded_or_refused(model: Any) -> None:
    try:
        for each in parse_json(json.dumps(model).encode()):
            data = encoded(each)
            assert again(data) is not None
    except InvalidMetadata:
        return
