"""Rewriting: what pydicom would have written, changes in their place, UN and VRs by the rules."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from gateway.dataset.byte_order import swapped, swapped_pieces
from gateway.dataset.elements import PIXEL_DATA, UNDEFINED, MalformedDataSet, elements
from gateway.dataset.rewrite import NewValue, rewrite
from gateway.failures import PermanentFailure
from gateway.transfer_syntax import TransferSyntax
from tests.dataset.samples import (
    EBE,
    ELE,
    ILE,
    NATIVE,
    bundled,
    data_set,
    element,
    encode,
    head,
    item,
    nested,
    recoded,
    sequence,
    values_in,
)

PAIRS = [
    pytest.param(source, target, id=f"{source.name} to {target.name}")
    for source, target in itertools.product(NATIVE, NATIVE)
]
OTHERS = [each for each in PAIRS if each.values[0] is not each.values[1]]
TO_OTHERS = pytest.mark.parametrize("target", [ILE, EBE], ids=["implicit", "big"])

_text = st.text(st.characters(min_codepoint=32, max_codepoint=126, exclude_characters="\\"))
_words = st.integers(0, 30).flatmap(lambda n: st.binary(min_size=8 * n, max_size=8 * n))
_values = {
    "SpecificCharacterSet": st.just("ISO_IR 100"),
    "PatientID": _text.map(lambda text: text[:64].strip()),
    "PatientComments": _text,
    "ImageType": st.lists(st.sampled_from(["ORIGINAL", "PRIMARY", "AXIAL"]), max_size=4),
    "Rows": st.integers(0, 65535),
    "PixelRepresentation": st.sampled_from([0, 1]),
    "RedPaletteColorLookupTableData": _words,
    "SimpleFrameList": st.lists(st.integers(0, 2**32 - 1), max_size=3),
    "ReferencePixelX0": st.integers(-(2**31), 2**31 - 1),
    "RecommendedDisplayFrameRateInFloat": st.floats(width=32, allow_nan=False),
    "PixelSpacing": st.lists(st.integers(1, 9), min_size=2, max_size=2),
    "FrameIncrementPointer": st.lists(st.sampled_from([0x00181063, 0x00181065]), max_size=2),
    "SlabThickness": st.floats(allow_nan=False),
    "PixelDataProviderURL": st.sampled_from(["http://pacs.example/1", "http://pacs.example/12"]),
    "DoubleFloatPixelData": _words,
    "FloatPixelData": _words,
    "ExtendedOffsetTable": _words,
    "LongCodeValue": _text.map(str.strip),
    "EncapsulatedDocument": _words,
}
_SEQUENCES = ["ReferencedImageSequence", "SourceImageSequence", "IconImageSequence"]


@st.composite
def data_sets(draw: st.DrawFn, levels: int = 3) -> Dataset:
    """Any of the elements above, in sequences of defined and undefined length up to a depth."""
    dataset = Dataset()
    for keyword in draw(st.lists(st.sampled_from(sorted(_values)), unique=True, max_size=6)):
        setattr(dataset, keyword, draw(_values[keyword]))
    if levels:
        for keyword in draw(st.lists(st.sampled_from(_SEQUENCES), unique=True, max_size=2)):
            items = draw(st.lists(data_sets(levels - 1), max_size=3))
            for one in items:
                one.is_undefined_length_sequence_item = draw(st.booleans())
            setattr(dataset, keyword, Sequence(items))
            dataset[keyword].is_undefined_length = draw(st.booleans())
    return dataset


@given(dataset=data_sets())
def test_the_bytes_are_those_pydicom_writes(dataset: Dataset) -> None:
    written = {syntax.uid: encode(dataset, syntax) for syntax in NATIVE}
    for source, target in itertools.product(NATIVE, NATIVE):
        assert recoded(written[source.uid], source, target) == written[target.uid]


@given(dataset=data_sets(), data=st.data())
def test_changes_stand_where_pydicom_would_put_them(dataset: Dataset, data: st.DataObject) -> None:
    source, target = (data.draw(st.sampled_from(NATIVE)) for _ in range(2))
    before = encode(dataset, source)
    texts = {
        0x00020102: "LO",
        0x00100020: "LO",
        0x00080008: "CS",
        0x00880200: "SQ",
        0x7FE00010: "OW",
    }
    changes: dict[int, NewValue | None] = {}
    for tag in data.draw(st.lists(st.sampled_from(sorted(texts)), unique=True)):
        if data.draw(st.booleans()) or texts[tag] == "SQ":
            dataset.pop(tag, None)
            changes[tag] = None
        else:
            dataset.add_new(tag, texts[tag], b"AB" if texts[tag] == "OW" else "AB")
            changes[tag] = NewValue(texts[tag], b"AB")
    assert recoded(before, source, target, changes) == encode(dataset, target)


PATIENT_ID = element(0x00100020, "LO", b"1234")


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_odd_new_values_are_padded_by_their_vr(
    source: TransferSyntax, target: TransferSyntax
) -> None:
    changes = {0x00080018: NewValue("UI", b"1.2"), 0x00100020: NewValue("LO", b"123")}
    found = values_in(recoded(b"", source, target, changes), target)
    assert [value for _, value in found.values()] == [b"1.2\0", b"123 "]


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_new_numbers_are_given_in_little_endian(
    source: TransferSyntax, target: TransferSyntax
) -> None:
    out = recoded(b"", source, target, {0x00280010: NewValue("US", b"\0\2")})
    assert out == element(0x00280010, "US", b"\2\0" if target is EBE else b"\0\2", target)


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_a_new_sequence_is_given_in_explicit_little_endian(
    source: TransferSyntax, target: TransferSyntax
) -> None:
    rows = element(0x00280010, "US", b"\0\2")
    out = recoded(b"", source, target, {0x00880200: NewValue("SQ", item(rows))})
    inner = recoded(rows, ELE, target)
    assert out == sequence(0x00880200, item(inner, syntax=target), syntax=target)


def test_elements_out_of_order_are_changed_once() -> None:
    data = PATIENT_ID + element(0x00080060, "CS", b"CT") + PATIENT_ID
    for target in NATIVE:
        out = recoded(data, ELE, target, {0x00100020: NewValue("LO", b"99")})
        tags = [each.tag for each in elements(out, 0, len(out), target)]
        assert tags == [0x00100020, 0x00080060]


def test_group_lengths_stay_in_a_copy_but_for_changed_groups() -> None:
    lengths = [element(group << 16, "UL", b"\x0c\0\0\0") for group in (0x08, 0x10, 0x28)]
    modality, rows = element(0x00080060, "CS", b"CT"), element(0x00280010, "US", b"\0\2")
    data = lengths[0] + modality + lengths[1] + PATIENT_ID + lengths[2] + rows
    assert recoded(data, ELE, ELE) == data
    out = recoded(data, ELE, ELE, {0x00100020: None, 0x00280004: NewValue("CS", b"RGB ")})
    assert out == lengths[0] + modality + element(0x00280004, "CS", b"RGB ") + rows


@TO_OTHERS
def test_group_lengths_are_left_out_of_another_encoding(target: TransferSyntax) -> None:
    length = element(0x00100000, "UL", b"\x0c\0\0\0")
    inside = sequence(0x00081140, item(length + PATIENT_ID))
    out = recoded(inside + length + PATIENT_ID, ELE, target)
    assert out == recoded(sequence(0x00081140, item(PATIENT_ID)) + PATIENT_ID, ELE, target)


def test_long_values_are_views_of_the_source() -> None:
    data = element(0x7FE00010, "OW", bytes(1 << 20))
    for target in (ELE, ILE):
        pieces = rewrite(data, 0, len(data), ELE, target, {})
        assert any(isinstance(piece, memoryview) and piece.obj is data for piece in pieces)


def test_zeros_after_the_last_element_are_left_out() -> None:
    assert recoded(PATIENT_ID + bytes(9), ELE, ELE) == PATIENT_ID


def test_elements_that_lack_their_vr_are_given_one() -> None:
    data = element(0x00100020, "LO", b"1234", ILE) + element(0x00280010, "US", b"\0\2", ILE)
    assert recoded(data, ELE, ELE) == PATIENT_ID + element(0x00280010, "US", b"\0\2")


UN_SEQUENCE = item(element(0x00280010, "US", b"\0\2", ILE), undefined=True, syntax=ILE)


def test_un_keeps_its_bytes_in_every_encoding() -> None:
    """PS3.5 6.2.2: its value is Implicit VR Little Endian whatever stands around it."""
    for content in (b"anything", item(PATIENT_ID)):
        out = recoded(element(0x00091010, "UN", content), ELE, EBE)
        assert out == element(0x00091010, "UN", content, EBE)
    undefined = sequence(0x00091010, UN_SEQUENCE, undefined=True, vr="UN")
    out = recoded(undefined, ELE, EBE)
    assert out == sequence(0x00091010, UN_SEQUENCE, undefined=True, vr="UN", syntax=EBE)
    assert recoded(out, EBE, ELE) == undefined
    assert recoded(undefined, ELE, ILE) == sequence(
        0x00091010, UN_SEQUENCE, undefined=True, syntax=ILE
    )


@TO_OTHERS
def test_un_that_holds_explicit_items_becomes_a_sequence(target: TransferSyntax) -> None:
    rows = element(0x00280010, "US", b"\0\2")
    data = sequence(0x00091010, item(rows, undefined=True), undefined=True, vr="UN")
    plain = sequence(0x00091010, item(rows, undefined=True), undefined=True)
    assert recoded(data, ELE, target) == recoded(plain, ELE, target)


def vrs(data: bytes, target: TransferSyntax = ELE) -> list[str]:
    return [vr for vr, _ in values_in(recoded(data, ILE, target), target).values()]


def implicit(*pairs: tuple[int, bytes]) -> bytes:
    return b"".join(element(tag, "", value, ILE) for tag, value in pairs)


@pytest.mark.parametrize(("signed", "vr"), [(0, "US"), (1, "SS")])
def test_us_or_ss_is_decided_by_pixel_representation(signed: int, vr: str) -> None:
    padding = 0x00280120, b"\0\xf8"
    sign = 0x00280103, bytes([signed, 0])
    assert vrs(implicit(sign, padding)) == ["US", vr]
    early = 0x00189810, b"\0\xf8"
    assert vrs(implicit(early, sign)) == [vr, "US"]
    data = implicit(sign) + sequence(
        0x00409096, item(implicit((0x00409216, b"\0\xf8")), syntax=ILE), syntax=ILE
    )
    inner = recoded(data, ILE, ELE)[-10:]
    assert inner == element(0x00409216, vr, b"\0\xf8")


@pytest.mark.parametrize(
    ("bits", "vr"), [(b"\x01\0", "OB"), (b"\x08\0", "OB"), (b"\x10\0", "OW"), (b"", "OW")]
)
def test_native_pixel_data_is_ob_up_to_eight_bits(bits: bytes, vr: str) -> None:
    data = implicit((0x00280100, bits), (PIXEL_DATA, b"abcd"))
    assert vrs(data) == ["US", vr]
    assert vrs(data, EBE) == ["US", vr]
    out = recoded(data, ILE, EBE)
    assert out.endswith(b"abcd" if vr == "OB" else b"badc")


@pytest.mark.parametrize(("bits", "vr"), [(b"\x08\0", "OB"), (b"\x10\0", "OW")])
def test_waveform_data_follows_its_bits_allocated(bits: bytes, vr: str) -> None:
    data = implicit((0x54001004, bits), (0x5400100A, b"\0\0"), (0x54001010, b"abcd"))
    assert vrs(data) == ["US", vr, vr]


def test_other_ambiguous_vrs_are_words() -> None:
    assert vrs(implicit((0x60003000, b"ab"), (0x50003000, b"ab"))) == ["OW", "OW"]
    assert vrs(implicit((0x00283006, b"ab"), (0x00281200, b"abcd"))) == ["US", "OW"]


def test_private_elements_have_the_vr_their_creator_gives_them() -> None:
    creator = 0x00290010, b"SIEMENS CSA HEADER"
    data = implicit(creator, (0x00291008, b"IMAGE NUM 4 "), (0x00291010, b"SV10"))
    assert vrs(data) == ["LO", "CS", "OB"]
    assert vrs(implicit((0x00291008, b"IMAGE NUM 4 "))) == ["UN"]
    other = implicit((0x00290010, b"NOBODY KNOWS"), (0x00291008, b"ab"))
    assert vrs(other) == ["LO", "UN"]


def test_a_head_without_a_vr_is_read_by_its_creator_where_all_others_lose_theirs() -> None:
    creator, inside = (0x00710010, "LO", b"AGFA-AG_HPState "), (0x00080060, "CS", b"CT")
    bare = sequence(0x00711018, item(element(*inside)), syntax=ILE)
    expected = element(*creator, ILE)
    expected += sequence(0x00711018, item(element(*inside, ILE)), syntax=ILE)
    assert recoded(element(*creator) + bare, ELE, ILE) == expected


def test_a_private_creator_counts_in_its_own_data_set_only() -> None:
    data = implicit((0x00290010, b"SIEMENS CSA HEADER"))
    data += sequence(0x00409096, item(implicit((0x00291008, b"ab")), syntax=ILE), syntax=ILE)
    assert element(0x00291008, "UN", b"ab") in recoded(data, ILE, ELE)


def test_unknown_elements_become_un_and_sequences_if_they_are() -> None:
    not_items, unknown = (0x00081199, b"ab"), (0x0019FF99, b"ab")
    assert vrs(implicit(not_items, unknown)) == ["UN", "UN"]
    data = sequence(0x0019FF99, UN_SEQUENCE, undefined=True, syntax=ILE)
    assert vrs(data) == ["SQ"]


@pytest.mark.parametrize(("size", "vr"), [(0xFFFE, "DS"), (0xFFFF, "UN"), (0x10000, "UN")])
def test_a_value_too_long_for_its_vr_becomes_un(size: int, vr: str) -> None:
    """PS3.5 6.2.2 Note 1."""
    out = recoded(implicit((0x30060050, b"1" * size)), ILE, ELE)
    assert out == element(0x30060050, vr, b"1" * size)


def test_numbers_that_become_un_are_little_endian() -> None:
    numbers = b"\1\0" * 0x8000
    unknown = element(0x00280010, "UN", numbers, EBE)
    assert recoded(implicit((0x00280010, numbers)), ILE, EBE) == unknown


def test_an_unknown_vr_becomes_un() -> None:
    assert recoded(element(0x00091001, "ZZ", b"abcd"), ELE, EBE) == (
        element(0x00091001, "UN", b"abcd", EBE)
    )


@TO_OTHERS
def test_encapsulated_pixel_data_is_refused_where_it_cannot_stand(target: TransferSyntax) -> None:
    pixels = head(PIXEL_DATA, "OB", UNDEFINED) + item(b"") + item(b"ab")
    pixels += head(0xFFFEE0DD, "", 0)
    icon = sequence(0x00880200, item(pixels))
    for data in (pixels, icon):
        with pytest.raises(PermanentFailure, match=r"\(7FE0,0010\) at offset \d+ is encapsulated"):
            recoded(data, ELE, target)
        assert recoded(data, ELE, ELE) == data


@TO_OTHERS
@pytest.mark.parametrize("undefined", [True, False])
def test_twenty_thousand_levels_are_refused(target: TransferSyntax, undefined: bool) -> None:
    data = nested(20_000, undefined=undefined)
    with pytest.raises(MalformedDataSet, match="more than 64 sequences within each other"):
        recoded(data, ELE, target)
    allowed = nested(64, undefined=undefined)
    assert recoded(recoded(allowed, ELE, target), target, ELE) == allowed


@TO_OTHERS
@pytest.mark.parametrize(
    "data",
    [
        sequence(0x00081140, b"no item here"),
        sequence(0x00081140, item(head(0x00100020, "LO", 9) + b"1234")),
        sequence(0x00081140, head(0xFFFEE000, "", 9) + b"1234"),
        sequence(0x00081140, item(b"") + b"\1\2"),
    ],
)
def test_broken_sequences_are_refused(data: bytes, target: TransferSyntax) -> None:
    with pytest.raises(MalformedDataSet):
        recoded(data, ELE, target)


def test_more_items_than_allowed_are_refused() -> None:
    data = sequence(0x00081140, *[item(b"")] * 3)
    with pytest.raises(MalformedDataSet, match="more than 2 items"):
        recoded(data, ELE, ILE, items=2)


@given(value=st.binary(max_size=100), width=st.sampled_from([1, 2, 4, 8]))
def test_swapping_twice_is_nothing(value: bytes, width: int) -> None:
    once = swapped(value, width)
    assert swapped(once, width) == value
    assert b"".join(swapped_pieces(memoryview(value), width, step=16)) == once
    whole = len(value) // width * width
    wanted = [value[at : at + width][::-1] for at in range(0, whole, width)]
    assert once == b"".join(wanted) + value[whole:]


def test_big_endian_pixels_are_those_of_the_little_endian_twin() -> None:
    big = data_set(bundled("MR_small_bigendian.dcm")).data
    little = data_set(bundled("MR_small.dcm")).data
    wanted = values_in(little, ELE)[PIXEL_DATA]
    assert values_in(recoded(big, EBE, ELE), ELE)[PIXEL_DATA] == wanted
