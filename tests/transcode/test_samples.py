"""From what a decoder returns to native samples."""

import numpy as np
import pytest

from gateway.transcode.form import Coding, FrameFormat
from gateway.transcode.samples import (
    Finish,
    conform,
    finished,
    look_up,
    pack,
    spread_422,
    to_rgb,
)

FORM = FrameFormat("", 1, 4, coding=Coding.JPEG_2000, precision=12, bits_stored=12)
LOSSY = FORM._replace(lossy=True, bits_stored=10)


def row(*values: int, kind: str = "<u2") -> np.ndarray:
    return np.array([values]).astype(kind)


def test_samples_that_fit_are_not_copied() -> None:
    samples = row(0, 1, 2, 4095)
    assert conform(samples, FORM) is samples


def test_narrow_samples_are_widened_to_bits_allocated() -> None:
    out = conform(row(0, 1, 2, 255, kind="u1"), FORM._replace(precision=8))
    assert out.tobytes() == row(0, 1, 2, 255).tobytes()


def test_unsigned_codestreams_under_a_signed_header_are_sign_extended_from_bits_stored() -> None:
    out = conform(row(0, 1, 2048, 4095), FORM._replace(signed=True))
    assert out.view("<i2").tolist() == [[0, 1, -2048, -1]]


def test_signed_codestreams_keep_their_sign_in_the_container() -> None:
    form = FORM._replace(signed=True, codestream_signed=True, precision=8, bits_stored=8)
    assert conform(row(-1, -128, 0, 127, kind="i1"), form).view("<i2").tolist() == [
        [-1, -128, 0, 127]
    ]


def test_overlays_in_the_high_bits_are_kept() -> None:
    form = FORM._replace(signed=True, high_bits=True)
    samples = row(0x1FFF, 0, 0, 0x8000)
    assert conform(samples, form).tobytes() == samples.tobytes()


def test_lossy_overshoot_is_clamped_and_never_masked() -> None:
    assert conform(row(1024, 1023, 4095, 0), LOSSY).tolist() == [[1023, 1023, 1023, 0]]


def test_lossy_overshoot_of_signed_samples_is_clamped_at_both_ends() -> None:
    form = LOSSY._replace(signed=True)
    out = conform(row(511, 700, 0xFFF, 0xC00), form)
    assert out.view("<i2").tolist() == [[511, 511, -1, -512]]


def test_unsigned_bits_above_bits_stored_are_zero_where_nothing_lives_in_them() -> None:
    form = FORM._replace(bits_stored=10)
    assert conform(row(0xC01, 1023, 0, 1024), form).tolist() == [[1, 1023, 0, 0]]
    kept = form._replace(high_bits=True)
    assert conform(row(0xC01, 1023, 0, 1024), kept).tolist() == [[0xC01, 1023, 0, 1024]]


@pytest.mark.parametrize("shape", [(1, 3), (2, 4), (4, 1), (1, 4, 3)])
def test_another_number_of_samples_is_an_error(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="the header says 1 rows, 4 columns"):
        conform(np.zeros(shape, "u2"), FORM)


def test_big_endian_words_are_swapped_at_the_width_of_the_container() -> None:
    assert finished(row(0x0102, kind="<u2"), Finish(swap=2)).tobytes() == b"\1\2"
    assert finished(row(0x01020304, kind="<u4"), Finish(swap=4)).tobytes() == b"\1\2\3\4"
    assert finished(row(1, 2, kind="u1"), Finish(swap=1)).tobytes() == b"\1\2"


def test_planes_are_separated() -> None:
    samples = np.arange(12, dtype="u1").reshape(2, 2, 3)
    out = finished(samples, Finish(planar=True))
    assert out.tobytes() == bytes((0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11))


@pytest.mark.parametrize(
    ("ybr", "rgb"),
    [
        ((0, 128, 128), (0, 0, 0)),
        ((255, 128, 128), (255, 255, 255)),
        ((76, 85, 255), (254, 0, 0)),
        ((150, 44, 21), (0, 255, 1)),
        ((29, 255, 107), (0, 0, 254)),
        ((255, 255, 255), (255, 121, 255)),
    ],
)
def test_ybr_full_becomes_rgb_rounded_and_clipped(
    ybr: tuple[int, ...], rgb: tuple[int, ...]
) -> None:
    assert to_rgb(np.array([[ybr]], "u1")).tolist() == [[list(rgb)]]


def test_sixteen_bit_ybr_full_has_its_middle_at_32768() -> None:
    grey = np.array([[[1234, 32768, 32768]]], "<u2")
    assert to_rgb(grey).tolist() == [[[1234, 1234, 1234]]]


def test_ybr_full_takes_its_range_from_bits_stored() -> None:
    grey = np.array([[[1000, 2048, 2048]]], "<u2")
    assert to_rgb(grey, 12).tolist() == [[[1000, 1000, 1000]]]
    assert to_rgb(np.array([[[4095, 4095, 2048]]], "<u2"), 12).tolist() == [[[4095, 3391, 4095]]]


@pytest.mark.parametrize(
    ("ybr", "rgb"),
    [
        ((16, 128, 128), (0, 0, 0)),
        ((235, 128, 128), (255, 255, 255)),
        ((81, 90, 240), (254, 0, 0)),
        ((255, 128, 128), (255, 255, 255)),
        ((0, 128, 128), (0, 0, 0)),
    ],
)
def test_ybr_partial_has_the_range_of_video(ybr: tuple[int, ...], rgb: tuple[int, ...]) -> None:
    assert to_rgb(np.array([[ybr]], "u1"), partial=True).tolist() == [[list(rgb)]]


def test_what_stands_above_bits_stored_is_no_part_of_a_colour() -> None:
    grey = np.array([[[0xF000 | 1000, 2048, 2048]]], "<u2")
    assert to_rgb(grey, 12).tolist() == [[[1000, 1000, 1000]]]
    assert to_rgb(grey.view("<i2"), 12).tolist() == [[[1000, 1000, 1000]]]


def test_ybr_full_422_shares_its_chroma_between_two_pixels() -> None:
    out = spread_422(bytes((10, 20, 1, 2, 30, 40, 3, 4)), 2, 2)
    assert out.tolist() == [[[10, 1, 2], [20, 1, 2]], [[30, 3, 4], [40, 3, 4]]]


def test_values_outside_the_palette_take_its_ends() -> None:
    table = np.array([[1, 2, 3], [4, 5, 6]], "u1")
    out = look_up(row(0, 10, 11, 99), table, 10)
    assert out.tolist() == [[[1, 2, 3], [1, 2, 3], [4, 5, 6], [4, 5, 6]]]


def test_signed_values_find_their_place_in_a_palette() -> None:
    table = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9]], "u1")
    for kind in ("<u2", "<i2"):
        out = look_up(row(-1, 0, -128, 0x7FF).astype(kind), table, -1, signed=True)
        assert out.tolist() == [[[1, 2, 3], [4, 5, 6], [1, 2, 3], [7, 8, 9]]]


def test_what_stands_above_bits_stored_is_no_part_of_a_palettes_index() -> None:
    table = np.array([[1, 2, 3], [4, 5, 6]], "u1")
    out = look_up(row(0xF001, 0x1000), table, 0, 12)
    assert out.tolist() == [[[4, 5, 6], [1, 2, 3]]]
    out = look_up(row(0x0FFF, 0x1000), table, -1, 12, signed=True)
    assert out.tolist() == [[[1, 2, 3], [4, 5, 6]]]


def test_single_bits_are_packed_across_frames_without_padding() -> None:
    first, carry = pack(np.array([[1, 0, 1]]), np.empty(0, bool))
    assert (first, len(carry)) == (b"", 3)
    second, carry = pack(np.array([[1, 1, 0, 0, 0, 1, 1]]), carry)
    assert (second, carry.tolist()) == (b"\x1d", [True, True])
