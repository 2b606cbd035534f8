"""Media types: read tolerantly, written strictly, and one for each transfer syntax."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dicomweb.media_types import MediaType, of_frames, parse_media_type, part_type
from gateway.transfer_syntax import KNOWN

_4 = "1.2.840.10008.1.2.4."


@pytest.mark.parametrize(
    ("text", "type_", "parameters"),
    [
        ("application/dicom", "application/dicom", {}),
        (
            "Application/DICOM; Transfer-Syntax=1.2",
            "application/dicom",
            {"transfer-syntax": "1.2"},
        ),
        ('a/b; x="c;d"; y="e\\"f"', "a/b", {"x": "c;d", "y": 'e"f'}),
        ("a/b; x=1; x=2", "a/b", {"x": "1"}),
        ("a/b;; x", "a/b", {}),
        ('a/b; x="open; y=2', "a/b", {"x": "open", "y": "2"}),
        ("", "", {}),
    ],
)
def test_a_content_type_is_read(text: str, type_: str, parameters: dict[str, str]) -> None:
    found = parse_media_type(text)
    assert (found.type, dict(found.parameters)) == (type_, parameters)


@given(st.dictionaries(st.from_regex(r"[a-z-]{1,8}", fullmatch=True), st.text('aZ1 ;,="\\/*.-')))
def test_what_is_written_is_read_again(parameters: dict[str, str]) -> None:
    written = MediaType("multipart/related", parameters)
    assert parse_media_type(str(written)) == written


@pytest.mark.parametrize(
    ("syntax", "media_type"),
    [
        ("1.2.840.10008.1.2.1", "application/octet-stream"),
        ("1.2.840.10008.1.2", "application/octet-stream"),
        ("1.2.840.10008.1.2.1.98", "application/octet-stream"),
        ("1.2.840.10008.1.2.8.1", "application/octet-stream"),
        ("1.2.840.10008.1.2.5", "image/dicom-rle"),
        (_4 + "50", "image/jpeg"),
        (_4 + "57", "image/jpeg"),
        (_4 + "70", "image/jpeg"),
        (_4 + "80", "image/jls"),
        (_4 + "91", "image/jp2"),
        (_4 + "93", "image/jpx"),
        (_4 + "202", "image/jphc"),
        (_4 + "110", "image/jxl"),
        (_4 + "100", "video/mpeg"),
        (_4 + "102.1", "video/mp4"),
        (_4 + "108", "video/H265"),
    ],
)
def test_the_media_type_of_stored_frames(syntax: str, media_type: str) -> None:
    assert of_frames(syntax) == media_type


def test_only_uncompressed_frames_are_octets() -> None:
    octets = {syntax.name for syntax in KNOWN if of_frames(syntax.uid).endswith("octet-stream")}
    assert octets == {
        "implicit-le",
        "explicit-le",
        "explicit-be",
        "deflated",
        "encapsulated-uncompressed",
        "deflated-frames",
    }


def test_a_part_names_its_transfer_syntax() -> None:
    assert part_type("image/jls", _4 + "80") == "image/jls; transfer-syntax=1.2.840.10008.1.2.4.80"
