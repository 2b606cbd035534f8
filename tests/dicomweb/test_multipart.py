"""Multipart bodies: every way to cut them gives the same parts, and damage has one name."""

import itertools
import re
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.dicomweb.media_types import parse_media_type
from gateway.dicomweb.multipart import (
    DEFAULT_LIMITS,
    Limits,
    MalformedMultipart,
    PartBegins,
    PartData,
    PartEnds,
    Reader,
    boundary_of,
    closing,
    new_boundary,
    part_head,
)

Parts = list[tuple[dict[str, str], bytes]]

TOKENS = [
    b"\r",
    b"\n",
    b"-",
    b"--",
    b"--b",
    b"\r\n--b",
    b"\n--bx",
    b"--b--",
    b"\r\n--",
    b"x",
    b" ",
]
CONTENT = st.lists(st.sampled_from([*TOKENS[:4], b"--b", b"\n--bx", b"\r\n--c", b"x", b"\0"])).map(
    b"".join
)


def parts_of(pieces: list[bytes], boundary: str = "b", limits: Limits = DEFAULT_LIMITS) -> Parts:
    reader, found, whole = Reader(boundary, limits), [], True
    for piece in pieces:
        for event in reader.feed(piece):
            match event:
                case PartBegins(headers):
                    assert whole
                    found.append((dict(headers), b""))
                    whole = False
                case PartData(data):
                    found[-1] = (found[-1][0], found[-1][1] + bytes(data))
                case PartEnds():
                    whole = True
    reader.close()
    assert whole
    return found


def body_of(contents: list[bytes], boundary: str = "b") -> bytes:
    body = b""
    for number, content in enumerate(contents):
        headers = {"Content-Type": "application/dicom", "Content-Location": f"/{number}"}
        body += part_head(boundary, headers, first=number == 0) + content
    return body + closing(boundary)


def cut(body: bytes, places: list[int]) -> list[bytes]:
    bounds = [0, *sorted(place % (len(body) + 1) for place in places), len(body)]
    return [body[a:b] for a, b in itertools.pairwise(bounds)]


@given(st.lists(CONTENT, max_size=4), st.lists(st.integers(0, 10_000), max_size=40))
@example([b"\r", b"\r\n", b"\n", b""], list(range(400)))
def test_what_is_written_is_read_however_it_is_cut(
    contents: list[bytes], places: list[int]
) -> None:
    # a content that holds the delimiter itself is what random boundaries exclude
    contents = [
        content for content in contents if not re.search(rb"(^|\n)--b[ \t]*\r?\n", content)
    ]
    contents = [content for content in contents if not re.search(rb"(^|\n)--b(--|$)", content)]
    found = parts_of(cut(body_of(contents), places))
    assert [content for _, content in found] == contents
    assert all(headers["content-type"] == "application/dicom" for headers, _ in found)


def outcome(pieces: list[bytes]) -> tuple[Parts, bool]:
    """The parts up to the failure, if there is one; nothing but MalformedMultipart may come."""
    reader, found = Reader("b"), []
    try:
        for piece in pieces:
            for event in reader.feed(piece):
                if isinstance(event, PartBegins):
                    found.append((dict(event.headers), b""))
                elif isinstance(event, PartData):
                    found[-1] = (found[-1][0], found[-1][1] + bytes(event.data))
        reader.close()
    except MalformedMultipart:
        return found, False
    return found, True


@given(
    st.lists(st.sampled_from([*TOKENS, b"\r\n\r\n", b"A: b\r\n", b"A: b\n\n", b":\n"])).map(
        b"".join
    ),
    st.lists(st.integers(0, 10_000), max_size=30),
)
def test_damage_has_one_name_and_one_outcome_however_it_is_cut(
    body: bytes, places: list[int]
) -> None:
    body = b"--b\r\n" + body
    assert outcome(cut(body, places)) == outcome([body])


@given(st.data())
def test_a_mutated_body_is_read_or_refused(data: st.DataObject) -> None:
    body = bytearray(body_of([b"one" * 20, b"\r\n", b"three"]))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(body) - 1))
        body[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
        if not body:
            break
    outcome([bytes(body)])


@pytest.mark.parametrize(
    ("body", "contents"),
    [
        (b"--b\r\n\r\nx\r\n--b--", [b"x"]),
        (b"--b\r\n\r\nx\r\n--b--\r\n", [b"x"]),
        (b"\r\n--b\r\n\r\nx\r\n--b--\r\n", [b"x"]),
        (b"to be ignored\r\n--b\r\n\r\nx\r\n--b--\r\nthis too", [b"x"]),
        (b"--b\n\nx\n--b\n\ny\r\n--b--\n", [b"x", b"y\r"]),
        (b"--b\n\nx\r\n--b--", [b"x\r"]),
        (b"--b \t\r\n\r\nx\r\n--b \r\n\r\ny\r\n--b--", [b"x", b"y"]),
        (b"--b\r\n\r\n--b--", [b""]),
        (b"--b\r\n\r\n\r\n--b--", [b""]),
        (b"--b\r\nA: 1\r\n\r\n--b\r\n\r\nz\r\n--b--", [b"", b"z"]),
        (b"--b\r\n\r\nx\r\n--bb\r\n\r\n--b--", [b"x\r\n--bb\r\n"]),
        (b"--b\r\n\r\nx --b--\r\n--b--", [b"x --b--"]),
        (b"--b--", []),
        (b"\r\n--b--\r\n", []),
        (b"--b\r\n\r\nx\n--b--", [b"x"]),
    ],
)
def test_what_peers_send(body: bytes, contents: list[bytes]) -> None:
    for size in (1, 2, 3, 7, len(body)):
        pieces = [body[at : at + size] for at in range(0, len(body), size)]
        assert [content for _, content in parts_of(pieces)] == contents


def test_fields_are_folded_trimmed_and_named_in_lower_case() -> None:
    body = (
        b"--b\r\nCONTENT-Type :  application/dicom;\r\n\ttransfer-syntax=*\r\nX:\r\n\r\n\r\n--b--"
    )
    ((headers, _),) = parts_of([body])
    assert headers == {"content-type": "application/dicom; transfer-syntax=*", "x": ""}


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "of 0 bytes ends before its first boundary '--b'"),
        (b"--c\r\n\r\nx\r\n--c--", "of 15 bytes ends before its first boundary '--b'"),
        (b"--b", "ends before its first boundary"),
        (b"--b\r\nA: b", "cut off at offset 9, inside part 1"),
        (b"--b\r\n\r\nx", "cut off at offset 8, inside part 1"),
        (b"--b\r\n\r\nx\r\n--b", "cut off at offset 13, inside part 1"),
        (b"--b\r\n\r\nx\r\n--b-", "cut off at offset 14, inside part 1"),
        (b"--b\r\n\r\nx\r\n--b\r\n\r\ny", "cut off at offset 18, inside part 2"),
        (b"--b\r\nno colon\r\n\r\n", "part 1 at offset 5 has a line without a colon"),
        (b"--b\r\n folded\r\n\r\n", "part 1 at offset 5 has a line without a colon"),
        (b"--b\r\nA: " + b"x" * 20_000, "part 1 at offset 5 is longer than 16384 bytes"),
        (b"--b\r\n" + b"A: x\r\n" * 4_000, "part 1 at offset 5 is longer than 16384 bytes"),
        (b"x" * 70_000, "no boundary '--b' in the first 65536 bytes"),
        (b"x" * 70_000 + b"\r\n--b--", "no boundary '--b' in the first 65536 bytes"),
    ],
)
def test_a_refusal_says_what_and_where(body: bytes, text: str) -> None:
    for pieces in ([body], [body[at : at + 100] for at in range(0, len(body), 100)]):
        with pytest.raises(MalformedMultipart, match=re.escape(text)):
            parts_of(pieces)


def test_a_header_that_trickles_in_is_looked_at_once() -> None:
    lines = b"a:b\n" * 4000
    reader, looked = Reader("b0"), 0

    class Lines(list[bytes]):
        def append(self, line: bytes) -> None:
            nonlocal looked
            looked += 1
            super().append(line)

    assert list(reader.feed(b"--b0\n")) == []
    reader._lines = Lines()
    for start in range(0, len(lines), 100):
        assert list(reader.feed(lines[start : start + 100])) == []
    (begins,) = reader.feed(b"\n")
    assert begins == PartBegins({"a": "b"})
    assert looked == 4000


def test_a_part_too_many_is_refused() -> None:
    limits = replace(DEFAULT_LIMITS, parts=2)
    assert len(parts_of([body_of([b"x"] * 2)], limits=limits)) == 2
    with pytest.raises(MalformedMultipart, match="more than 2 parts, at offset"):
        parts_of([body_of([b"x"] * 3)], limits=limits)


@pytest.mark.parametrize(
    "filler", [b"x", b"\n", b"\r", b"\r\n", b"\n--", b"--b ", b"\n--bx", b" "]
)
@pytest.mark.parametrize("before", [b"", b"--b\r\n\r\n"])
def test_what_is_held_is_bounded_whatever_comes(before: bytes, filler: bytes) -> None:
    reader = Reader("b", Limits(preamble=1 << 40))
    for piece in [before, *[filler * (65536 // len(filler))] * 20]:
        for _ in reader.feed(piece):
            pass
        held = len(reader._waiting) - reader._at
        assert held <= 1024


def test_an_escape_of_the_boundary_does_not_repeat() -> None:
    assert len({new_boundary() for _ in range(100)}) == 100
    assert boundary_of(parse_media_type(f"multipart/related; boundary={new_boundary()}"))


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ('multipart/related; type="application/dicom"; boundary="a b"', "a b"),
        ("multipart/related; boundary=a/b=c:d; type=application/dicom", "a/b=c:d"),
        ("Multipart/Related;type=application/dicom;BOUNDARY=xyz", "xyz"),
        ('multipart/related; type="application/dicom; boundary=no"; boundary=yes', "yes"),
        ("multipart/form-data; boundary='quoted'", "'quoted'"),
    ],
)
def test_the_boundary_of_a_content_type(content_type: str, boundary: str) -> None:
    assert boundary_of(parse_media_type(content_type)) == boundary


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "application/dicom",
        "multipart/related",
        "multipart/related; boundary=",
        "x; boundary=b",
        f"multipart/related; boundary={'x' * 257}",
        'multipart/related; boundary="a\tb"',
    ],
)
def test_a_content_type_without_a_boundary_is_refused(content_type: str) -> None:
    with pytest.raises(MalformedMultipart):
        boundary_of(parse_media_type(content_type))
