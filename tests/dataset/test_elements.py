"""Elements, items and fragments: against pydicom on every file, and on bytes no writer writes."""

import mmap
import time
from pathlib import Path

import pydicom
import pytest

from gateway.dataset.elements import (
    PIXEL_DATA,
    UNDEFINED,
    Element,
    Limits,
    MalformedDataSet,
    elements,
    fragments,
    item_syntax,
    items,
)
from gateway.transfer_syntax import TransferSyntax
from tests.dataset.samples import (
    CUT,
    EBE,
    ELE,
    ILE,
    NO_DATA_SET,
    NOT_FOR_PYDICOM,
    bundled,
    cut_files,
    data_set,
    element,
    every_file,
    head,
    item,
    nested,
    sequence,
)

PATIENT_ID = element(0x00100020, "LO", b"1234")
UNREADABLE = frozenset((*CUT, NO_DATA_SET, NOT_FOR_PYDICOM))
STRAY_ITEM = 0xFFFEE000  # pydicom lists the item that fo-dicom__GH364.dcm has between elements


def found(data: bytes, syntax: TransferSyntax = ELE, **limits: int) -> list[Element]:
    return list(elements(data, 0, len(data), syntax, Limits(**limits)))


def tags(data: bytes, syntax: TransferSyntax = ELE) -> list[int]:
    return [each.tag for each in found(data, syntax)]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", every_file(UNREADABLE))
def test_top_level_elements_are_those_pydicom_finds(path: Path) -> None:
    wanted = dict(pydicom.dcmread(path, force=True).items())
    data, syntax, _ = data_set(path)
    mine = {each.tag: each for each in found(data, syntax)}
    assert [tag for tag in wanted if tag != STRAY_ITEM] == list(mine)
    for tag, theirs in wanted.items():
        if isinstance(theirs, pydicom.dataelem.RawDataElement) and tag != STRAY_ITEM:
            one = mine[tag]
            assert one.length == theirs.length
            if one.length != UNDEFINED:
                assert data[one.value : one.end] == (theirs.value or b"")


@pytest.mark.parametrize(("path", "tag"), cut_files())
def test_a_cut_file_is_named_as_such(path: Path, tag: str) -> None:
    data, syntax, _ = data_set(path)
    with pytest.raises(MalformedDataSet) as failure:
        found(data, syntax)
    assert str(failure.value).startswith(f"{tag} at offset ")


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, mmap.mmap])
def test_any_buffer_will_do(kind: type) -> None:
    data, syntax, _ = data_set(bundled("CT_small.dcm"))
    if kind is mmap.mmap:
        with mmap.mmap(-1, len(data)) as mapped:
            mapped[:] = data
            assert found(mapped, syntax) == found(data, syntax)
    else:
        assert found(kind(data), syntax) == found(data, syntax)


@pytest.mark.parametrize("syntax", [ELE, ILE, EBE], ids=lambda syntax: syntax.name)
def test_offsets_and_lengths_are_those_of_the_buffer(syntax: TransferSyntax) -> None:
    before = b"\xaa" * 5
    first = element(0x00080060, "CS", b"CT", syntax)
    second = element(0x7FE00010, "OW", b"\1\0\2\0", syntax)
    data = before + first + second + b"\xbb"
    one, two = elements(data, 5, len(data) - 1, syntax)
    vrs = ("CS", "OW") if syntax.explicit else ("", "")
    assert one == (0x00080060, vrs[0], 5, 13, 2, 15)
    assert two == (0x7FE00010, vrs[1], 15, len(data) - 5, 4, len(data) - 1)


@pytest.mark.parametrize("syntax", [ELE, ILE, EBE], ids=lambda syntax: syntax.name)
@pytest.mark.parametrize("inner", [False, True])
def test_a_sequence_of_undefined_length_ends_at_its_own_delimiter(
    syntax: TransferSyntax, inner: bool
) -> None:
    patient = element(0x00100020, "LO", b"1234", syntax)
    within = sequence(0x00081140, item(patient, undefined=inner, syntax=syntax), syntax=syntax)
    outer = sequence(
        0x00081115, item(within, undefined=True, syntax=syntax), undefined=True, syntax=syntax
    )
    one, two = found(outer + patient, syntax)
    assert (one.length, one.end, two.tag) == (UNDEFINED, len(outer), 0x00100020)


def test_undefined_un_holds_implicit_items() -> None:
    """PS3.5 6.2.2 Note 4: whatever the transfer syntax is."""
    content = item(element(0x00100020, "LO", b"1234", ILE), undefined=True, syntax=ILE)
    for syntax in (ELE, EBE):
        data = sequence(0x00091010, content, undefined=True, vr="UN", syntax=syntax)
        data += element(0x00100020, "LO", b"1234", syntax)
        unknown, _ = found(data, syntax)
        (only,) = items(data, unknown, syntax)
        assert item_syntax(data, unknown, only, syntax) is ILE
        (inner,) = elements(data, only.value, only.stop, ILE)
        assert data[inner.value : inner.end] == b"1234"


def test_explicit_items_in_un_are_recognised() -> None:
    data = sequence(0x00091010, item(PATIENT_ID, undefined=True), undefined=True, vr="UN")
    (unknown,) = found(data)
    (only,) = items(data, unknown, ELE)
    assert item_syntax(data, unknown, only, ELE) is ELE


def test_big_endian_items_in_un_are_recognised() -> None:
    patient = element(0x00100020, "LO", b"1234", EBE)
    data = head(0x00091010, "UN", UNDEFINED, EBE) + item(patient, undefined=True, syntax=EBE)
    data += head(0xFFFEE0DD, "", 0, EBE)
    (unknown,) = found(data, EBE)
    (only,) = items(data, unknown, EBE)
    assert item_syntax(data, unknown, only, EBE) is EBE


def test_items_of_both_kinds_are_listed_with_their_content() -> None:
    data = sequence(0x00081140, item(PATIENT_ID), item(PATIENT_ID, undefined=True), item(b""))
    (only,) = found(data)
    listed = list(items(data, only, ELE))
    assert [data[each.value : each.stop] for each in listed] == [PATIENT_ID, PATIENT_ID, b""]
    assert [each.length == UNDEFINED for each in listed] == [False, True, False]
    assert listed[1].end == listed[1].stop + 8
    assert listed[-1].end == only.end


def test_an_element_without_vr_in_an_explicit_data_set_is_read_as_implicit() -> None:
    data = (
        PATIENT_ID + element(0x00100030, "DA", b"19700101", ILE) + element(0x100040, "CS", b"O ")
    )
    assert [(each.tag, each.vr, each.length) for each in found(data)] == [
        (0x00100020, "LO", 4),
        (0x00100030, "", 8),
        (0x00100040, "CS", 2),
    ]


def test_an_unknown_vr_has_a_two_byte_length() -> None:
    data = element(0x00091001, "ZZ", b"abcd") + element(0x00091002, "ZZ", b"") + PATIENT_ID
    assert [(each.vr, each.length) for each in found(data)] == [("ZZ", 4), ("ZZ", 0), ("LO", 4)]


@pytest.mark.parametrize("behind", [b"", PATIENT_ID + bytes(200_000)])
def test_a_vr_of_two_blanks_has_a_two_byte_length_where_the_next_head_shows_it(
    behind: bytes,
) -> None:
    blank = element(0x00090120, "ZZ", b"ab").replace(b"ZZ", b"  ")
    seen = [(each.tag, each.vr, each.length) for each in found(blank + behind)]
    assert seen == [(0x00090120, "UN", 2), (0x00100020, "LO", 4)][: 1 + bool(behind)]


def test_blanks_that_are_a_length_are_one() -> None:
    data = b"\x09\x00\x20\x01" + (0x2020).to_bytes(4, "little") + b"x" * 0x2020 + PATIENT_ID
    assert [(each.vr, each.length) for each in found(data)] == [("", 0x2020), ("LO", 4)]


def test_an_unknown_vr_has_a_four_byte_length_where_only_that_makes_sense() -> None:
    data = head(0x00091001, "ZZ", 0) + (4).to_bytes(4, "little") + b"abcd" + PATIENT_ID
    assert [(each.vr, each.length) for each in found(data)] == [("ZZ", 4), ("LO", 4)]


@pytest.mark.parametrize("zeros", [1, 7, 8, 9, 300, 200_000])
@pytest.mark.parametrize("syntax", [ELE, ILE, EBE], ids=lambda syntax: syntax.name)
def test_zeros_after_the_last_element_are_no_elements(zeros: int, syntax: TransferSyntax) -> None:
    assert tags(element(0x00100020, "LO", b"12", syntax) + bytes(zeros), syntax) == [0x00100020]


def test_odd_lengths_are_taken_as_they_are() -> None:
    assert [each.length for each in found(element(0x00100020, "LO", b"123") + PATIENT_ID)] == [
        3,
        4,
    ]


@pytest.mark.parametrize("tag", [0xFFFEE00D, 0xFFFEE0DD])
def test_a_stray_delimiter_is_passed_over(tag: int) -> None:
    assert tags(PATIENT_ID + head(tag, "", 0) + PATIENT_ID) == [0x00100020] * 2


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (PATIENT_ID + b"\1", "inside a head at offset 12"),
        (PATIENT_ID + bytes(20) + b"\1", "(0000,0000) at offset 12 is no element"),
        (head(0x00100020, "LO", 5) + b"1234", "claims 5 bytes where 4 are left"),
        (head(0x7FE00010, "OW", 0xFFFFFFFE), "claims 4294967294 bytes where 0 are left"),
        (head(0x7FE00010, "OW", 0)[:10], "(7FE0,0010) at offset 0: its head is cut off"),
        (head(0xFFFEE000, "", UNDEFINED) + PATIENT_ID, "(FFFE,E000) at offset 0 is no element"),
        (head(0x00081140, "SQ", UNDEFINED) + PATIENT_ID, "at offset 12: a sequence holds items"),
        (head(0x00081140, "SQ", UNDEFINED) + item(b""), "inside a head at offset 20"),
        (
            sequence(0x00081140, item(item(b""), undefined=True), undefined=True),
            "(FFFE,E000) at offset 20: a sequence holds items, an item elements",
        ),
        (head(0x00100020, "UT", UNDEFINED) + PATIENT_ID, "a sequence holds items"),
    ],
)
def test_what_does_not_fit_is_named_with_tag_and_offset(data: bytes, text: str) -> None:
    with pytest.raises(MalformedDataSet) as failure:
        found(data)
    assert text in str(failure.value)


@pytest.mark.parametrize("syntax", [ELE, ILE, EBE], ids=lambda syntax: syntax.name)
def test_twenty_thousand_levels_are_refused(syntax: TransferSyntax) -> None:
    data = nested(20_000, undefined=True, syntax=syntax)
    with pytest.raises(MalformedDataSet, match="more than 64 sequences within each other"):
        found(data, syntax)
    with pytest.raises(MalformedDataSet, match="more than 64 sequences within each other"):
        list(
            items(
                data,
                Element(0x00400275, "SQ", 0, 12 if syntax.explicit else 8, UNDEFINED, len(data)),
                syntax,
            )
        )


def test_as_many_levels_as_allowed_are_walked() -> None:
    assert tags(nested(64, undefined=True)) == [0x00400275]
    with pytest.raises(MalformedDataSet, match="more than 64"):
        tags(nested(65, undefined=True))


def test_more_elements_than_allowed_are_refused() -> None:
    assert len(found(PATIENT_ID * 10, elements=10)) == 10
    with pytest.raises(MalformedDataSet, match="more than 10 elements in a data set"):
        found(PATIENT_ID * 11, elements=10)


def test_more_items_than_allowed_are_refused() -> None:
    data = sequence(0x00081140, item(b""), item(b""), item(b""))
    (only,) = found(data)
    assert len(list(items(data, only, ELE, Limits(items=3)))) == 3
    with pytest.raises(MalformedDataSet, match="more than 2 items in a sequence"):
        list(items(data, only, ELE, Limits(items=2)))


def test_more_heads_than_allowed_are_refused_however_they_are_spread() -> None:
    one = sequence(0x00081140, *[item(b"")] * 10, undefined=True)  # ten items, one delimiter
    assert len(found(one * 3, heads=33)) == 3
    with pytest.raises(MalformedDataSet, match="more than 32 heads in all"):
        found(one * 3, heads=32)


def test_a_walk_ends_within_seconds_however_long_the_lie() -> None:
    data = head(0x00081140, "SQ", UNDEFINED) + item(b"") * 5_000_000
    began = time.process_time()
    with pytest.raises(MalformedDataSet, match="heads in all"):
        found(data, heads=100_000)
    assert time.process_time() - began < 10


def encapsulated(*values: bytes, end: bytes = head(0xFFFEE0DD, "", 0)) -> bytes:
    return head(PIXEL_DATA, "OB", UNDEFINED) + b"".join(item(value) for value in values) + end


def test_fragments_begin_with_the_basic_offset_table() -> None:
    data = PATIENT_ID + encapsulated(b"", b"abcd", b"ef")
    pixels = found(data)[-1]
    places = fragments(data, pixels)
    assert [data[at : at + length] for at, length in places] == [b"", b"abcd", b"ef"]
    assert pixels.end == len(data)


@pytest.mark.parametrize("end", [b"", bytes(3), bytes(64)])
def test_pixel_data_may_lack_its_delimiter_at_the_end_of_the_file(end: bytes) -> None:
    data = encapsulated(b"", b"abcd", end=end)
    (pixels,) = found(data)
    assert len(fragments(data, pixels)) == 2


def test_garbage_after_pixel_data_does_not_reach_its_fragments() -> None:
    data = encapsulated(b"", b"abcd") + b"garbage, longer than a head"
    walk = elements(data, 0, len(data), ELE)
    assert len(fragments(data, next(walk))) == 2
    with pytest.raises(MalformedDataSet):
        next(walk)


def test_a_delimiter_inside_a_fragment_is_pixels() -> None:
    data = encapsulated(b"", b"ab" + head(0xFFFEE0DD, "", 0) + b"cd")
    (pixels,) = found(data)
    assert [length for _, length in fragments(data, pixels)] == [0, 12]


def test_fragments_of_a_file_are_those_that_pydicom_finds() -> None:
    path = bundled("JPEG2000-embedded-sequence-delimiter.dcm")
    data, syntax, _ = data_set(path)
    pixels = found(data, syntax)[-1]
    (frame,) = pydicom.encaps.generate_frames(pydicom.dcmread(path).PixelData, number_of_frames=1)
    _, *rest = fragments(data, pixels)
    assert b"".join(data[at : at + length] for at, length in rest) == frame


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (encapsulated(b"", end=head(0xFFFEE000, "", 9) + b"12345678"), "claims 9 bytes where 8"),
        (encapsulated(b"", end=b"\1"), "its last fragment is cut off at offset 20"),
        (encapsulated(b"", end=PATIENT_ID), "(0010,0020) at offset 20: a sequence holds items"),
        (encapsulated(b"", end=head(0xFFFEE000, "", UNDEFINED)), "claims 4294967295 bytes"),
        (
            sequence(0x00880200, item(encapsulated(b"", end=b""), undefined=True), undefined=True),
            "(FFFE,E00D) at offset 40: a sequence holds items",
        ),
    ],
)
def test_broken_fragments_are_refused(data: bytes, text: str) -> None:
    with pytest.raises(MalformedDataSet) as failure:
        found(data)
    assert text in str(failure.value)


def test_pixel_data_without_any_item_has_no_fragments() -> None:
    data = encapsulated()
    (pixels,) = found(data)
    with pytest.raises(MalformedDataSet, match="holds no Basic Offset Table"):
        fragments(data, pixels)


def test_more_fragments_than_allowed_are_refused() -> None:
    data = encapsulated(b"", b"ab", b"cd")
    (pixels,) = found(data)
    assert len(fragments(data, pixels, Limits(fragments=3))) == 3
    with pytest.raises(MalformedDataSet, match="more than 2 fragments"):
        fragments(data, pixels, Limits(fragments=2))
    with pytest.raises(MalformedDataSet, match="more than 2 fragments"):
        found(data, fragments=2)
