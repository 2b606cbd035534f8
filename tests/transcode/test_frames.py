"""How fragments are told apart into frames."""

import itertools
from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.failures import PermanentFailure
from gateway.transcode.frames import join, split_frames


def jpeg(size: int, fill: int = 1) -> bytes:
    """Bytes that start and end like a JPEG codestream, of even length."""
    return b"\xff\xd8\xff\xe0" + bytes([fill]) * (size - 6) + b"\xff\xd9"


def items(*values: bytes) -> tuple[bytes, list[tuple[int, int]]]:
    """Pixel Data made of these items (the first the offset table), and where their values are."""
    data, spans = b"", []
    for value in values:
        data += pack("<HHI", 0xFFFE, 0xE000, len(value))
        spans.append((len(data), len(value)))
        data += value
    return data, spans


def table(frames: list[list[bytes]]) -> list[int]:
    """The offsets of the frames' first items."""
    sizes = [sum(8 + len(part) for part in frame) for frame in frames]
    return [0, *itertools.accumulate(sizes)][: len(frames)]


def frames_of(
    bodies: list[bytes],
    count: int,
    offsets: bytes = b"",
    extended: tuple[bytes, bytes] | None = None,
) -> list[bytes]:
    data, spans = items(offsets, *bodies)
    return [bytes(join(data, frame)) for frame in split_frames(data, spans, count, extended)]


def test_one_frame_takes_all_fragments() -> None:
    assert frames_of([b"ab", b"cd", b"ef"], 1) == [b"abcdef"]


def test_one_fragment_per_frame_needs_no_table() -> None:
    assert frames_of([b"ab", b"cdef"], 2) == [b"ab", b"cdef"]


def test_the_basic_offset_table_groups_fragments() -> None:
    parts = [[b"ab", b"cd"], [b"ef"], [b"gh", b"ij", b"kl"]]
    offsets = pack("<3I", *table(parts))
    assert frames_of([*itertools.chain(*parts)], 3, offsets) == [b"abcd", b"ef", b"ghijkl"]


@pytest.mark.parametrize(
    "wrong", [(0, 5, 20), (4, 10, 20), (0, 20, 10), (0, 10, 1000), (0, 0, 10)]
)
def test_a_table_that_contradicts_the_fragments_is_set_aside(wrong: tuple[int, ...]) -> None:
    assert frames_of([b"ab", b"cd", b"ef"], 3, pack("<3I", *wrong)) == [b"ab", b"cd", b"ef"]


def test_the_extended_offset_table_groups_and_cuts_the_padding() -> None:
    bodies = [b"abc\0", b"de", b"fg"]
    extended = pack("<2Q", 0, 12), pack("<2Q", 3, 4)
    assert frames_of(bodies, 2, b"", extended) == [b"abc", b"defg"]


def test_an_extended_table_with_too_long_lengths_is_set_aside() -> None:
    extended = pack("<2Q", 0, 10), pack("<2Q", 2, 400)
    assert frames_of([b"ab", b"cd"], 2, b"", extended) == [b"ab", b"cd"]


def test_without_a_table_a_frame_starts_where_a_codestream_starts() -> None:
    one, two = jpeg(40), jpeg(60, 2)
    bodies = [one[:20], one[20:], two[:10], two[10:30], two[30:]]
    assert frames_of(bodies, 2) == [one, two]


def test_a_fragment_that_only_looks_like_a_start_does_not_split_a_frame() -> None:
    one = jpeg(20)[:-2] + jpeg(20)
    assert frames_of([one[:18], one[18:], jpeg(20)], 2) == [one, jpeg(20)]


def test_padding_after_the_end_marker_does_not_hide_it() -> None:
    one, two = jpeg(21)[:-2] + b"\xff\xd9\0\0\0", jpeg(30)
    assert frames_of([one[:8], one[8:], two[:8], two[8:]], 2) == [one, two]


@pytest.mark.parametrize("padding", [b"\0" * 17, b"\xff" * 40, b"\0" * 10_000, b"\0\xff" * 5_000])
def test_padding_of_any_length_does_not_hide_the_end_marker(padding: bytes) -> None:
    one, two = jpeg(20) + padding, jpeg(30)
    assert frames_of([one[:8], one[8:], two[:8], two[8:]], 2) == [one, two]
    halves = [one[:19], one[19:], padding, two[:8], two[8:]]
    assert frames_of(halves, 2) == [one + padding, two]


def test_an_end_marker_amid_a_fragment_ends_no_frame() -> None:
    """It is that of a thumbnail in an application segment, say."""
    one, two = jpeg(20) + bytes(range(1, 251)) + jpeg(20), jpeg(30)
    assert frames_of([one[:270], one[270:], two[:8], two[8:]], 2) == [one, two]


def test_an_end_marker_may_stand_in_two_fragments() -> None:
    one, two = jpeg(21)[:-2] + b"\x01\xff\xd9", jpeg(31)
    for parts in (
        [one[:-1], one[-1:], two],
        [one[:-1], b"\xd9\0", two],
        [one[:-2], one[-2:], two],
    ):
        assert frames_of([*parts[:-1], two[:9], two[9:-1], two[-1:]], 2)[1] == two


@pytest.mark.parametrize("start", [b"\xff\x0a", b"\x00\x00\x00\x0cJXL \r\n\x87\n"])
def test_jpeg_xl_frames_start_like_the_first(start: bytes) -> None:
    one, two = start + bytes(30), start + bytes(range(50))
    bodies = [one[:10], one[10:], two[:20], two[20:34], two[34:]]
    assert frames_of(bodies, 2) == [one, two]


def test_rle_frames_start_with_a_header_like_the_first() -> None:
    header = pack("<16I", 2, 64, 80, *[0] * 13)
    one, two = header + bytes(30), header + b"\x02\0\0\0" + bytes(80)
    bodies = [one[:70], one[70:], two[:68], two[68:], two[:64], two[64:]]
    assert frames_of(bodies, 3) == [one, two, two]


def test_fragments_without_content_are_no_frames() -> None:
    assert frames_of([b"ab", b"", b"cd", b""], 2) == [b"ab", b"cd"]


@pytest.mark.parametrize(("bodies", "count"), [([b"ab", b"cd"], 3), ([jpeg(8), b"x", b"y"], 2)])
def test_another_count_than_number_of_frames_is_refused(bodies: list[bytes], count: int) -> None:
    with pytest.raises(PermanentFailure, match=f"Number of Frames says {count}"):
        frames_of(bodies, count)


@pytest.mark.parametrize("count", [0, -1, 2**31 - 1])
def test_impossible_numbers_of_frames_are_refused(count: int) -> None:
    with pytest.raises(PermanentFailure, match=f"Number of Frames is {count}"):
        frames_of([b"ab"], count)


def test_empty_pixel_data_is_refused() -> None:
    with pytest.raises(PermanentFailure, match="no fragment with content"):
        frames_of([], 1)


@given(
    st.lists(
        st.lists(st.binary(min_size=2, max_size=6).filter(lambda b: len(b) % 2 == 0), min_size=1),
        min_size=1,
        max_size=6,
    )
)
def test_any_fragmenting_gives_the_frames_back_by_the_table(parts: list[list[bytes]]) -> None:
    offsets = pack(f"<{len(parts)}I", *table(parts))
    assert frames_of([*itertools.chain(*parts)], len(parts), offsets) == [
        b"".join(part) for part in parts
    ]
