"""Inflating within limits: exact, streamed, and a refusal for bombs and broken streams."""

import io
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dataset.elements import Limits, MalformedDataSet
from gateway.dataset.inflate import inflate, inflated


def deflated(data: bytes, bits: int = -15) -> bytes:
    packer = zlib.compressobj(9, wbits=bits)
    return packer.compress(data) + packer.flush()


@given(
    data=st.one_of(
        st.binary(max_size=300_000), st.binary(max_size=50).map(lambda part: part * 9000)
    ),
    bits=st.sampled_from([-15, 15]),
    before=st.binary(max_size=20),
    after=st.sampled_from([b"", b"\0"]),
    step=st.sampled_from([1000, 65536, 1 << 20]),
)
def test_what_was_deflated_comes_out(
    data: bytes, bits: int, before: bytes, after: bytes, step: int
) -> None:
    source, out = before + deflated(data, bits) + after, io.BytesIO()
    assert (inflate(source, len(before), out), out.getvalue()) == (len(data), data)
    assert b"".join(inflated(source, len(before), step=step)) == data


@pytest.mark.parametrize("size", [65535, 65536, 65537, 131072, 1 << 20])
def test_sizes_around_the_step_come_out_whole(size: int) -> None:
    data = bytes(size)
    assert b"".join(inflated(deflated(data), 0)) == data


def test_a_stored_block_that_looks_like_a_zlib_head_is_raw() -> None:
    """Bits 3 to 7 of a stored block's first byte mean nothing (RFC 1951 3.2.4)."""
    stored = b"\x78\x01\x00\xfe\xff" + b"A" + deflated(b"B")
    assert int.from_bytes(stored[:2]) % 31 == 0
    assert b"".join(inflated(stored, 0)) == b"AB"


@pytest.mark.parametrize("step", [65536, 1 << 20])
def test_a_bomb_is_refused_by_its_ratio_with_little_memory(step: int) -> None:
    bomb = deflated(bytes(100 << 20))
    tracemalloc.start()
    try:
        with pytest.raises(MalformedDataSet, match="more than 1000 times its size"):
            for _ in inflated(bomb, 0, step=step):
                pass
        assert tracemalloc.get_traced_memory()[1] < 16 * step
    finally:
        tracemalloc.stop()


def test_the_first_mib_may_be_as_sparse_as_it_likes() -> None:
    assert sum(map(len, inflated(deflated(bytes(1 << 20)), 0, Limits(ratio=2)))) == 1 << 20


def test_more_than_the_absolute_limit_is_refused() -> None:
    data = deflated(bytes(range(256)) * 4096)
    assert sum(map(len, inflated(data, 0, Limits(inflated=1 << 20)))) == 1 << 20
    with pytest.raises(MalformedDataSet, match="inflates to more than 1048575 bytes"):
        list(inflated(data, 0, Limits(inflated=(1 << 20) - 1)))


@pytest.mark.parametrize("cut", [0, 1, 5, 100, -1])
def test_a_cut_stream_is_refused(cut: int) -> None:
    data = deflated(bytes(range(256)) * 9)
    with pytest.raises(MalformedDataSet, match="is cut off after"):
        list(inflated(data[:cut], 0))


def test_a_broken_stream_is_refused() -> None:
    with pytest.raises(MalformedDataSet, match="is broken near offset"):
        list(inflated(b"\xff" * 40, 0))
