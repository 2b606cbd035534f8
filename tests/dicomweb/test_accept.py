"""What real clients write in Accept, and what is chosen for them."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dicomweb.accept import EVERYTHING, MediaRange, best_of, parse_accept
from gateway.dicomweb.media_types import DICOM_JSON, DICOM_XML, JSON

OCTETS = "application/octet-stream"
MULTI = "multipart/related"
SYNTAX = "1.2.840.10008.1.2.4.90"

Row = tuple[str, str, str]


def rows(*values: str, query: str | None = None) -> list[Row]:
    return [
        (found.type, found.part, found.transfer_syntax) for found in parse_accept(values, query)
    ]


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("*/*", [("*/*", "", "")]),
        ("*", [("*/*", "", "")]),
        ("", [("*/*", "", "")]),
        (" , ;, ", [("*/*", "", "")]),
        (f"{MULTI}; type={OCTETS}; transfer-syntax=*", [(MULTI, OCTETS, "*")]),
        (f'{MULTI}; type="{OCTETS}"; transfer-syntax="*"', [(MULTI, OCTETS, "*")]),
        (f'{MULTI};type="{OCTETS}";transfer-syntax={SYNTAX}', [(MULTI, OCTETS, SYNTAX)]),
        (f'{MULTI} ; TYPE = "{OCTETS}" ;Transfer-Syntax={SYNTAX}', [(MULTI, OCTETS, SYNTAX)]),
        ('multipart/related; type="*/*"', [(MULTI, "*/*", "")]),
        ("multipart/related; type=*", [(MULTI, "*/*", "")]),
        (MULTI, [(MULTI, "", "")]),
        (f"{MULTI}; type='application/dicom'", [(MULTI, "application/dicom", "")]),
        (f'{MULTI}; type="application/dicom', [(MULTI, "application/dicom", "")]),
        (
            "application/dicom+json, multipart/related; type=image/x-jls;q=0.5,image/*;q=0.7",
            [("application/dicom+json", "", ""), ("image/*", "", ""), (MULTI, "image/jls", "")],
        ),
        ('image/png; x="a, b; c", image/gif', [("image/png", "", ""), ("image/gif", "", "")]),
        ("image/png;q=abc, image/gif;q=0.9", [("image/png", "", ""), ("image/gif", "", "")]),
        ("image/png;q=0, image/gif;q=-2", [("image/png", "", ""), ("image/gif", "", "")]),
    ],
)
def test_what_clients_write(header: str, expected: list[Row]) -> None:
    assert rows(header) == expected


def test_nothing_said_is_anything() -> None:
    assert parse_accept([]) == (EVERYTHING,)


def test_the_eight_alternatives_of_a_microscopy_viewer_keep_their_order() -> None:
    pairs = [("jls", 80), ("jls", 81), ("jp2", 90), ("jp2", 91), ("jpx", 92), ("jpx", 93)]
    uids = [(f"image/{name}", f"1.2.840.10008.1.2.4.{number}") for name, number in pairs]
    uids += [(OCTETS, "*"), ("image/jpeg", "1.2.840.10008.1.2.4.50")]
    header = ", ".join(f'{MULTI}; type="{part}"; transfer-syntax={uid}' for part, uid in uids)
    assert rows(header) == [(MULTI, part, uid) for part, uid in uids]


def test_many_headers_are_one_list() -> None:
    assert rows("image/png;q=0.1", "image/gif") == [("image/gif", "", ""), ("image/png", "", "")]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("image/jpeg", [("image/jpeg", "", "")]),
        ("application/dicom json", [("application/dicom+json", "", "")]),
        (f'{MULTI}; type="{OCTETS}"; transfer-syntax=*', [(MULTI, OCTETS, "*")]),
        ("", [("text/html", "", "")]),
        (" , ", [("text/html", "", "")]),
        (None, [("text/html", "", "")]),
    ],
)
def test_the_query_parameter_beats_the_header(query: str | None, expected: list[Row]) -> None:
    assert rows("text/html", query=query) == expected


@pytest.mark.parametrize(
    ("header", "offers", "best"),
    [
        ("*/*", [DICOM_JSON, JSON, DICOM_XML], DICOM_JSON),
        ("application/json", [DICOM_JSON, JSON], JSON),
        ("application/*", [DICOM_JSON, JSON], DICOM_JSON),
        ("application/json, application/dicom+json", [DICOM_JSON, JSON], JSON),
        ("application/json;q=0.5, application/dicom+json", [DICOM_JSON, JSON], DICOM_JSON),
        ("*/*, application/dicom+json;q=0", [DICOM_JSON, JSON], JSON),
        ("*/*;q=0.1, application/json", [DICOM_JSON, JSON], JSON),
        ("application/json;q=0.1, */*", [JSON, DICOM_XML], DICOM_XML),
        ("text/html", [DICOM_JSON], None),
        ("application/dicom+json;q=0", [DICOM_JSON], None),
        ("image/webp,image/*,*/*;q=0.8", ["image/jpeg", "image/png"], "image/jpeg"),
        ("", [DICOM_JSON], DICOM_JSON),
        ("*/*", [], None),
    ],
)
def test_the_best_of_what_is_offered(header: str, offers: Sequence[str], best: str | None) -> None:
    assert best_of(parse_accept([header]), offers) == best


def test_wildcards_cover_what_they_should() -> None:
    assert MediaRange("image/*").covers("image/jpeg")
    assert not MediaRange("image/*").covers("imagex/jpeg")
    assert not MediaRange("image/*").covers_part("image/jpeg")
    assert MediaRange(MULTI, "image/*").covers_part("image/jls")
    assert MediaRange(MULTI).covers_part("image/jls")
    assert MediaRange("video/h265").covers("video/H265")


@given(st.text(max_size=200), st.one_of(st.none(), st.text(max_size=50)))
def test_any_text_is_read(header: str, query: str | None) -> None:
    found = parse_accept([header], query)
    assert found
    assert all(0.0 <= one.q <= 1.0 for one in found)
    assert [one.q for one in found] == sorted((one.q for one in found), reverse=True)


@given(st.text(alphabet='a/=";, \\', max_size=60))
def test_quotes_and_separators_in_any_order_are_read(header: str) -> None:
    assert parse_accept([header])
