"""Mapped files: what was read of them does not stay in the process's memory."""

import mmap
from collections.abc import Iterator
from pathlib import Path
from struct import pack

import pytest

from gateway.dataset.elements import PIXEL_DATA, UNDEFINED, Element, fragments
from gateway.dataset.mapped import LET_GO, let_go, read_through

_FRAGMENT = 48 << 10


@pytest.fixture
def mapped(tmp_path: Path) -> Iterator[mmap.mmap]:
    """Pixel Data of twice as many bytes of fragments as are held."""
    fragment = pack("<HHI", 0xFFFE, 0xE000, _FRAGMENT) + bytes(_FRAGMENT)
    path = tmp_path / "fragments"
    path.write_bytes(fragment * (2 * LET_GO // _FRAGMENT))
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        yield data


def _held() -> int:
    """Bytes of files that are mapped and in this process's memory."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("RssFile:"))
    return int(line.split()[1]) << 10


def test_the_memory_of_what_was_read_is_given_back(mapped: mmap.mmap) -> None:
    before = _held()
    assert sum(mapped[:: mmap.PAGESIZE]) >= 0
    assert _held() - before > LET_GO
    assert let_go(mapped, 0, len(mapped)) == len(mapped) // mmap.PAGESIZE * mmap.PAGESIZE
    assert _held() - before < LET_GO // 8


def test_little_is_not_worth_it(mapped: mmap.mmap) -> None:
    assert let_go(mapped, 4096, 4096 + LET_GO) == 4096


def test_what_is_no_mapped_file_is_left_alone() -> None:
    assert let_go(b"", 0, LET_GO + mmap.PAGESIZE) == LET_GO + mmap.PAGESIZE


def test_a_walk_over_fragments_does_not_hold_them_all(mapped: mmap.mmap) -> None:
    before = _held()
    element = Element(PIXEL_DATA, "OB", 0, 0, UNDEFINED, len(mapped))
    assert len(fragments(mapped, element)) == 2 * LET_GO // _FRAGMENT
    assert _held() - before < 1.25 * LET_GO


def test_a_value_is_read_through_without_holding_it_all(mapped: mmap.mmap) -> None:
    before, held, seen = _held(), [], []
    for piece in read_through(memoryview(mapped)[8:]):
        seen.append(sum(piece[:: mmap.PAGESIZE]))
        held.append(_held() - before)
    assert sum(seen) == sum(mapped[8 :: mmap.PAGESIZE])
    assert LET_GO / 2 < max(held) < 1.25 * LET_GO


def test_a_small_value_is_one_piece() -> None:
    assert [bytes(piece) for piece in read_through(memoryview(b"abc"))] == [b"abc"]
