"""Values as text: numbers, padding, every character set pydicom has a file for."""

import struct
from pathlib import Path

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.charset import python_encoding

from gateway.dataset.text import text_of
from tests.dataset.samples import BUNDLED, data_set, values_in

VRS = "AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US UC UR UT UN OB OW SQ SV UV"


@pytest.mark.parametrize(
    ("vr", "value", "text"),
    [
        ("US", b"\1\0\2\0", "1\\2"),
        ("SS", b"\xff\xff", "-1"),
        ("UL", b"\xff\xff\xff\xff", "4294967295"),
        ("SL", b"\xff\xff\xff\xff", "-1"),
        ("UV", b"\xff" * 8, "18446744073709551615"),
        ("SV", b"\xff" * 8, "-1"),
        ("FL", struct.pack("<2f", 0.1, 3), "0.100000001\\3"),
        ("FD", struct.pack("<2d", 0.1, 3), "0.1\\3"),
        ("AT", b"\x08\0\x60\0\x20\0\x0d\0", "00080060\\0020000D"),
        ("AT", b"\x08\0\x60\0\x20\0", "00080060"),
        ("US", b"\1\0\2", "1"),
        ("US", b"", ""),
        ("CS", b"ORIGINAL \\PRIMARY ", "ORIGINAL\\PRIMARY"),
        ("LO", b"  both sides  ", "both sides"),
        ("ST", b"  left kept  ", "  left kept"),
        ("UT", b"a \\ b", "a \\ b"),
        ("UI", b"1.2.3\0", "1.2.3"),
        ("UI", b"1.2 \0 ", "1.2"),
        ("UN", b"text ", "text"),
        ("UN", b"\1\2", ""),
        ("OB", b"text", ""),
        ("SQ", b"text", ""),
    ],
)
def test_values_become_text(vr: str, value: bytes, text: str) -> None:
    assert text_of(vr, value) == text


def test_big_endian_numbers_become_text() -> None:
    assert text_of("US", b"\0\1", little=False) == "1"
    assert text_of("AT", b"\0\x08\0\x60", little=False) == "00080060"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.0, 1e300, 2.5])
def test_any_float_becomes_text_that_is_the_number(value: float) -> None:
    for vr, code in (("FD", "<d"), ("FL", "<f")):
        if abs(value) == 1e300 and vr == "FL":
            continue
        text = text_of(vr, struct.pack(code, value))
        assert struct.pack(code, float(text)) == struct.pack(code, value)


CHARSET_FILES = [
    path
    for path in sorted((BUNDLED / "charset_files").glob("chr*.dcm"))
    if not path.name.startswith("chrSQ")
]


@pytest.mark.parametrize("path", CHARSET_FILES, ids=lambda path: path.name)
def test_names_in_every_character_set_are_those_pydicom_reads(path: Path) -> None:
    data, syntax, _ = data_set(path)
    values = values_in(data, syntax)
    charsets = values.get(0x00080005, ("CS", b""))[1]
    theirs = pydicom.dcmread(path)
    mine = text_of("PN", values[0x00100010][1], charsets=charsets)
    assert mine.rstrip("=") == str(theirs.PatientName)
    assert not mine.isascii() or str(theirs.PatientName).isascii()


@pytest.mark.parametrize(
    "term", ["ISO_IR 999", "\\\\", "\xff", "", "ISO_IR 192", "ISO 2022 IR 87"]
)
def test_a_bad_character_set_is_read_as_latin_1(term: str) -> None:
    assert text_of("PN", b"M\xfcller", charsets=term.encode("latin-1")) == "Müller"


@given(
    vr=st.sampled_from(VRS.split()),
    value=st.binary(max_size=60)
    | st.binary(max_size=20).map(lambda part: part + b"\x1b$B" + part),
    charsets=st.lists(st.sampled_from([*python_encoding, "nonsense"]), max_size=3)
    .map("\\".join)
    .map(str.encode)
    | st.binary(max_size=20),
    little=st.booleans(),
)
def test_no_bytes_are_an_error(vr: str, value: bytes, charsets: bytes, little: bool) -> None:
    assert isinstance(text_of(vr, value, little, charsets), str)
