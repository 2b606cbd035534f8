"""Damaged bytes: a prefix of a file, or any change in it, is understood or refused, no third."""

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dataset.elements import (
    PIXEL_DATA,
    UNDEFINED,
    MalformedDataSet,
    elements,
    fragments,
    items,
)
from gateway.dataset.header import header_of
from gateway.dataset.part10 import encode_file_meta, read_file_meta
from gateway.failures import PermanentFailure
from gateway.transfer_syntax import BY_UID, TransferSyntax
from tests.dataset.samples import (
    EBE,
    ELE,
    ILE,
    NATIVE,
    DataSet,
    bundled,
    data_set,
    element,
    head,
    item,
    recoded,
    sequence,
)

WANTED = {0x00020010: "TransferSyntaxUID", 0x00100010: "PatientName", 0x00280010: "Rows"}


def _built(syntax: TransferSyntax) -> bytes:
    rows = element(0x00280010, "US", b"\0\2", syntax)
    deep = sequence(
        0x00081140, item(rows, undefined=True, syntax=syntax), undefined=True, syntax=syntax
    )
    return (
        element(0x00080005, "CS", b"ISO_IR 100", syntax)
        + sequence(
            0x00081115,
            item(deep + rows, syntax=syntax),
            item(deep, undefined=True, syntax=syntax),
            undefined=True,
            syntax=syntax,
        )
        + sequence(
            0x00091010,
            item(element(0x00100020, "LO", b"1234", ILE), undefined=True),
            undefined=True,
            vr="UN",
            syntax=syntax,
        )
        + element(0x00100010, "PN", b"A^B ", syntax)
        + element(0x00282000, "OB", b"icc!" * 3, syntax)
    )


_PIXELS = head(PIXEL_DATA, "OB", UNDEFINED) + item(b"\0\0\0\0") + item(b"abcdef") + item(b"gh")

SAMPLES = {
    "explicit": DataSet(_built(ELE), ELE, ELE.uid),
    "implicit": DataSet(_built(ILE), ILE, ILE.uid),
    "big": DataSet(_built(EBE), EBE, EBE.uid),
    "encapsulated": DataSet(_built(ELE) + _PIXELS + head(0xFFFEE0DD, "", 0), ELE, ELE.uid),
    "private": data_set(bundled("nested_priv_SQ.dcm")),
    "un": data_set(bundled("UN_sequence.dcm")),
    "report": data_set(bundled("reportsi.dcm")),
    "rle": data_set(bundled("SC_rgb_rle.dcm")),
}


def everything(data: bytes, syntax: TransferSyntax) -> list[tuple[int, int]]:
    """(tag, offset) of all elements, nested and fragments looked at, until one is refused."""
    found = []
    try:
        for each in elements(data, 0, len(data), syntax):
            found.append((each.tag, each.start))
            assert each.start < each.value <= each.end <= len(data)
            if each.tag == PIXEL_DATA and each.length == UNDEFINED:
                places = fragments(data, each)
                assert all(at + length <= each.end for at, length in places)
            elif each.vr in ("SQ", "UN") or each.length == UNDEFINED:
                for one in items(data, each, syntax):
                    assert each.value <= one.value <= one.stop <= one.end <= each.end
    except MalformedDataSet:
        pass
    return found


def use_up(data: bytes, syntax: TransferSyntax, meta: bytes) -> None:
    """Everything the gateway does with a received data set, failing as it is expected to."""
    everything(data, syntax)
    for target in NATIVE:
        try:
            out = recoded(data, syntax, target)
        except PermanentFailure:
            continue
        list(elements(out, 0, len(out), target))
    for whole in (meta + data, data):
        try:
            header_of(whole, WANTED)
        except MalformedDataSet:
            continue


@pytest.mark.parametrize("name", SAMPLES)
def test_a_prefix_has_a_prefix_of_the_elements(name: str) -> None:
    data, syntax, _ = SAMPLES[name]
    whole = everything(data, syntax)
    for cut in range(len(data)):
        found = everything(data[:cut], syntax)
        assert found == whole[: len(found)]
        assert all(start < cut for _, start in found)


@pytest.mark.parametrize("name", SAMPLES)
def test_a_prefix_is_refused_or_rewritten(name: str) -> None:
    data, syntax, _ = SAMPLES[name]
    for cut in range(0, len(data), 1 + len(data) // 400):
        use_up(data[:cut], syntax, b"")


@pytest.mark.parametrize("name", ["SC_rgb_rle.dcm", "image_dfl.dcm", "no_meta_group_length.dcm"])
def test_a_prefix_of_a_file_is_read_or_refused(name: str) -> None:
    data = bundled(name).read_bytes()
    whole = header_of(data, WANTED)
    for cut in range(0, len(data), 1 + len(data) // 1000):
        try:
            assert read_file_meta(data[:cut]).dataset_offset <= cut
            found = header_of(data[:cut], WANTED)
        except MalformedDataSet:
            continue
        assert found.items() <= whole.items()


_lengths = st.sampled_from(
    [0, 1, 2, 7, 8, 0xFFFE, 0xFFFF, 1 << 16, 1 << 31, 0xFFFFFFFE, UNDEFINED]
)
_patches = st.one_of(
    st.binary(min_size=1, max_size=8),
    _lengths.map(lambda length: struct.pack("<I", length)),
    st.sampled_from([b"\xfe\xff\x00\xe0", b"\xfe\xff\x0d\xe0", b"\xfe\xff\xdd\xe0"]),
    st.sampled_from([b"SQ", b"UN", b"OB", b"UT", b"??", b"ZZ", b"\0\0", b"AT", b"UL"]),
)


@pytest.mark.parametrize("name", SAMPLES)
@given(patches=st.lists(st.tuples(st.integers(0, 1 << 16), _patches), min_size=1, max_size=4))
def test_any_change_is_read_or_refused(name: str, patches: list[tuple[int, bytes]]) -> None:
    data, syntax, label = SAMPLES[name]
    changed = bytearray(data)
    for place, patch in patches:
        at = place % len(data)
        changed[at : at + len(patch)] = patch
    meta = encode_file_meta(sop_class_uid="1.2", sop_instance_uid="1.2.3", transfer_syntax=label)
    use_up(bytes(changed), syntax, meta)


@given(data=st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for syntax in NATIVE:
        use_up(data, syntax, bytes(128) + b"DICM")


@pytest.mark.parametrize(
    "path", [bundled("CT_small.dcm"), bundled("JPGExtended.dcm")], ids=lambda path: path.name
)
def test_a_real_file_cut_anywhere_is_refused_where_it_matters(path: Path) -> None:
    data, syntax, _ = data_set(path)
    assert BY_UID[syntax.uid] is syntax
    for cut in range(1, len(data), 97):
        found = everything(data[:cut], syntax)
        complete = [each for each in elements(data, 0, len(data), syntax) if each.end <= cut]
        assert len(found) in (len(complete), len(complete) + 1)
