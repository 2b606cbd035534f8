"""JSON and XML bodies become the model, or are refused with what is wrong."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.dataset.parse_model import LONGEST, InvalidMetadata, parse_json, parse_xml
from gateway.dataset.xml_model import NAMESPACE
from tests.dataset.test_encode_model import encoded


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "not JSON"),
        (b"[", "not JSON"),
        (b"\xff", "not UTF-8 at offset 0"),
        (b"5", "object 1 of the JSON array"),
        (b"[{},[]]", "object 2 of the JSON array"),
        (b"[" * 200_000, "nested too deep"),
        (b'{"a":' * 200_000, "nested too deep"),
        (b'[{"00080060":{},"00080060":{}}]', "'00080060' stands twice"),
        (b"[" + b"9" * 10_000 + b"]", "not JSON"),
        (b" " * (LONGEST + 1), "at most"),
        (b"[" + b"{}," * 1_500_000 + b"{}]", "more than 2500000 values"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_json_is_refused(body: bytes, text: str) -> None:
    with pytest.raises(InvalidMetadata, match=text):
        parse_json(body)


def test_an_array_and_a_single_object_are_taken() -> None:
    assert parse_json(b'\xef\xbb\xbf[{"a":1},{}]') == [{"a": 1}, {}]
    assert parse_json(b"{}") == [{}]
    assert parse_json(b"[]") == []


def xml(inside: str, before: str = "") -> bytes:
    text = f'<?xml version="1.0"?>{before}<NativeDicomModel xmlns="{NAMESPACE}">{inside}'
    return f"{text}</NativeDicomModel>".encode()


LAUGHS = (
    '<!DOCTYPE lolz [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">'
    '<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">]>'
)


ATTRIBUTE = '<DicomAttribute tag="00100020" vr="LO">{}</DicomAttribute>'


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "not XML"),
        (b"<a/>", "<a> stands in <the document>"),
        (xml(ATTRIBUTE.format("<Value>&c;</Value>"), LAUGHS), "document type declaration"),
        (xml("", '<!DOCTYPE x SYSTEM "file:///etc/passwd">'), "document type declaration"),
        (xml(ATTRIBUTE.format("<Value>&c;</Value>")), "not XML: undefined entity"),
        (xml("<Value/>"), "<Value> stands in <NativeDicomModel>"),
        (xml(ATTRIBUTE.format("<Item><Item/></Item>")), "<Item> stands in <Item>"),
        (xml(ATTRIBUTE.format('<Value number="0"/>')), "number '0'"),
        (xml(ATTRIBUTE.format('<Value number="9999999"/>')), "number '9999999'"),
        (xml(ATTRIBUTE.format('<Value number="500000"/>')), "1 values with numbers up to 500000"),
        (xml(ATTRIBUTE.format('<Value number="1"/><Value number="1"/>')), "number '1'"),
        (xml(ATTRIBUTE.format("") * 2), "'00100020' stands twice"),
        (xml(ATTRIBUTE.format('<BulkData uri="a"/><BulkData uri="b"/>')), "BulkDataURI stands"),
        (
            xml((ATTRIBUTE[:-17].format("") + "<Item>") * 5000),
            "nested too deep",
        ),
        (b'<?xml version="1.0" encoding="nonsense"?><a/>', "not XML|cannot be read"),
        (xml(ATTRIBUTE.format("<Value>") + "\xff"), "not XML"),
        (b" " * (LONGEST + 1), "at most"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_native_model_is_refused(body: bytes, text: str) -> None:
    with pytest.raises(InvalidMetadata, match=text):
        parse_xml(body)


def test_values_stand_at_their_numbers_and_whitespace_is_kept() -> None:
    body = xml(
        "\n "
        + ATTRIBUTE.format('<Value number="3">  c</Value>\n<Value number="1">a &lt; b</Value>')
        + '<DicomAttribute tag="7FE00010" vr="OW"><BulkData uuid="12-34"/></DicomAttribute>'
        + '<DicomAttribute tag="00282000" vr="OB"><InlineBinary>AQ\n ID</InlineBinary>'
        + "</DicomAttribute>"
    )
    assert parse_xml(body) == {
        "00100020": {"vr": "LO", "Value": ["a < b", None, "  c"]},
        "7FE00010": {"vr": "OW", "BulkDataURI": "12-34"},
        "00282000": {"vr": "OB", "InlineBinary": "AQID"},
    }


def test_private_attributes_get_the_block_of_their_creator_or_a_free_one() -> None:
    private = (
        '<DicomAttribute tag="0009{}" vr="LO"{}><Value number="1">{}</Value></DicomAttribute>'
    )
    body = xml(
        private.format("0001", ' privateCreator="NEW"', "x")
        + private.format("0010", "", "TAKEN")
        + private.format("0012", "", "KNOWN")
        + private.format("0001", ' privateCreator="KNOWN"', "y")
        + private.format("1299", ' privateCreator="KNOWN"', "z")
    )
    found = {tag: one["Value"] for tag, one in sorted(parse_xml(body).items())}
    assert found == {
        "00090010": ["TAKEN"],
        "00090011": ["NEW"],
        "00090012": ["KNOWN"],
        "00091101": ["x"],
        "00091201": ["y"],
        "00091299": ["z"],
    }


def test_xml_without_the_namespace_and_in_another_encoding_is_read() -> None:
    text = '<?xml version="1.0" encoding="ISO-8859-1"?><NativeDicomModel>'
    text += ATTRIBUTE.format("<Value>é</Value>") + "</NativeDicomModel>"
    assert parse_xml(text.encode("latin-1")) == {"00100020": {"vr": "LO", "Value": ["é"]}}


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10_000), st.binary(max_size=5))
def test_any_damage_to_xml_is_read_or_refused(at: int, put: bytes) -> None:
    sound = xml(ATTRIBUTE.format('<Value number="1">x</Value>') * 1)
    at %= len(sound)
    try:
        encoded(parse_xml(sound[:at] + put + sound[at + len(put) :]))
    except InvalidMetadata:
        return
