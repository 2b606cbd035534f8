"""What is told by the layout of another data set is what a scan of this one finds."""

import random
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.failures import PermanentFailure
from gateway.transcode import layout
from gateway.transcode.source import _scan
from gateway.transfer_syntax import BY_UID, EXPLICIT_LE

SYNTAX = BY_UID[EXPLICIT_LE]
ITEM = b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
ITEM_END = b"\xfe\xff\x0d\xe0\0\0\0\0"
SEQUENCE_END = b"\xfe\xff\xdd\xe0\0\0\0\0"


def element(tag: int, vr: str, value: bytes) -> bytes:
    head = (tag >> 16).to_bytes(2, "little") + (tag & 0xFFFF).to_bytes(2, "little") + vr.encode()
    if vr in ("OB", "OW", "UN"):
        return head + b"\0\0" + len(value).to_bytes(4, "little") + value
    return head + len(value).to_bytes(2, "little") + value


def sequence(tag: int, content: bytes) -> bytes:
    head = element(tag, "UN", b"")[:4] + b"SQ\0\0\xff\xff\xff\xff"
    return head + ITEM + content + ITEM_END + SEQUENCE_END


def data_set(
    name: bytes = b"ONE ", rows: int = 4, inner: bytes = b"1.2\0", vr: str = "PN"
) -> bytes:
    return b"".join(
        (
            element(0x00080018, "UI", b"1.2.3.4\0"),
            sequence(0x00081140, element(0x00081155, "UI", inner)),
            element(0x00100010, vr, name),
            element(0x00280010, "US", rows.to_bytes(2, "little")),
            element(0x00280011, "US", b"\x04\0"),
            element(0x00431029, "OB", b"\xe0\x7f\x10\0" * 4),
            element(0x7FE00010, "OW", bytes(32)),
        )
    )


@pytest.fixture(autouse=True)
def nothing_is_known() -> Iterator[None]:
    layout._kept.clear()
    layout._met.clear()
    yield
    layout._kept.clear()
    layout._met.clear()


def scanned(data: bytes) -> Any:
    try:
        return _scan(data, 0, SYNTAX)
    except PermanentFailure as failure:
        return str(failure)


def test_a_layout_is_known_when_it_was_met_twice() -> None:
    data = data_set()
    first = scanned(data)
    assert layout.recall(data, 0) is None
    assert scanned(data) == first
    assert layout.recall(data, 0) is not None
    assert scanned(data) == first


def test_other_values_of_the_same_lengths_have_the_same_layout() -> None:
    expected = scanned(data_set(b"TWO ", 9))
    scanned(data_set())
    scanned(data_set())
    assert layout.recall(data_set(b"TWO ", 9), 0) is not None
    assert scanned(data_set(b"TWO ", 9)) == expected


@pytest.mark.parametrize(
    "other",
    [data_set(b"LONGER"), data_set(inner=b"1.2.3\0"), data_set(inner=b"1.3\0"), data_set(vr="LO")],
)
def test_other_heads_and_other_sequences_of_undefined_length_are_scanned(other: bytes) -> None:
    expected = scanned(other)
    layout._met.clear()
    for _ in range(3):
        scanned(data_set())
    assert layout.recall(data_set(), 0) is not None
    assert layout.recall(other, 0) is None
    assert scanned(other) == expected


def test_a_head_that_is_read_by_what_stands_behind_it_is_not_remembered() -> None:
    for odd in (data_set(vr="  "), data_set(vr="ZZ"), data_set(inner=b"    ")):
        for _ in range(3):
            scanned(odd)
        assert layout.recall(odd, 0) is None


def test_a_head_that_is_read_by_the_length_of_the_file_is_not_remembered() -> None:
    odd = sequence(0x00081140, element(0x00081150, "ZZ", b"") + element(0x00080001, "SH", b"AB"))
    short, long = (odd + element(0x7FE00010, "OW", bytes(size)) for size in (100, 70_000))
    expected = scanned(long)
    for _ in range(3):
        scanned(short)
    assert scanned(long) == expected


def test_whatever_is_changed_a_data_set_is_read_as_if_no_layout_were_known() -> None:
    chance = random.Random(5)  # noqa: S311 - which bytes are changed
    original = data_set()
    for _ in range(3):
        scanned(original)
    known, recalled = list(layout._kept), 0
    for _ in range(3000):
        data = bytearray(original)
        for _ in range(chance.choice((1, 1, 2, 4))):
            data[chance.randrange(len(data))] = chance.choice((0, 1, 4, 8, 0x20, 0x28, 0xFF))
        cut = bytes(data[: chance.choice((len(data), chance.randrange(len(data))))])
        recalled += layout.recall(cut, 0) is not None
        told = scanned(cut)
        layout._kept.clear()
        layout._met.clear()
        assert told == scanned(cut)
        layout._kept[:] = known
    assert recalled > 100


def test_no_more_layouts_are_kept_than_are_looked_through_quickly() -> None:
    for length in range(0, 2 * layout._MOST + 20, 2):
        for _ in range(2):
            scanned(data_set(bytes(length)))
    assert len(layout._kept) == layout._MOST
