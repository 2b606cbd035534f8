"""Component transforms by arrays (15444-2 Annex J): undone exactly, or refused with the reason."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
from openjpeg.utils import decode as openjpeg_decode

from gateway.failures import PermanentFailure
from gateway.transcode import part2
from gateway.transcode.codestream import read_codestream
from gateway.transcode.form import Coding
from gateway.transcode.instance import transcode
from tests.transcode.multi_component import segments, spliced, with_arrays
from tests.transcode.objects import EXPLICIT_LE, encapsulated, header

PART2_LOSSLESS, PART2 = "1.2.840.10008.1.2.4.92", "1.2.840.10008.1.2.4.93"
DECODERS: list[Callable[[bytes], np.ndarray]] = [
    imagecodecs.jpeg2k_decode,
    lambda plain: openjpeg_decode(BytesIO(plain), 0),
]


def frames(count: int, *, signed: bool = False, bits: int = 12) -> np.ndarray:
    """Like slices: each a little different from the one before; both extremes are there."""
    y, x = np.mgrid[:40, :33]
    top = (1 << bits) - 1
    stack = [(x * 17 + y * 11 + index * 40) % (top - 80) + index for index in range(count)]
    image = np.stack(stack, -1)
    image[3:9, 4:20], image[20:25, 5:20] = top, 0
    return (image - (top + 1) // 2).astype("<i2") if signed else image.astype("<u2")


def sums(count: int) -> np.ndarray:
    """Each frame is the one before plus a difference."""
    return np.tril(np.ones((count, count)))


def hadamard(count: int) -> np.ndarray:
    matrix = np.array([[1.0]])
    while len(matrix) < count:
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    return matrix / np.sqrt(count)


@pytest.mark.parametrize("decode", DECODERS)
@pytest.mark.parametrize("element", ["i2", "i4", "f4", "f8"])
@pytest.mark.parametrize("signed", [False, True])
def test_differences_between_components_are_undone_exactly(
    signed: bool, element: str, decode: Callable[[bytes], np.ndarray]
) -> None:
    image = frames(6, signed=signed)
    stream = with_arrays(image, 12, sums(6), element=element)
    assert (part2.undo(stream, decode) == image).all()


@pytest.mark.parametrize("decode", DECODERS)
@pytest.mark.parametrize("signed", [False, True])
def test_what_exceeds_the_images_range_before_the_transform_is_not_clipped(
    signed: bool, decode: Callable[[bytes], np.ndarray]
) -> None:
    """The first of eight rotated components has almost three times the range of the image."""
    image = frames(8, signed=signed)
    middle = [] if signed else [2048] * 8
    stream = with_arrays(image, 12, hadamard(8), middle, reversible_wavelet=False)
    assert np.abs(part2.undo(stream, decode).astype(int) - image).max() <= 5


def test_collections_of_a_stage_have_components_of_their_own() -> None:
    image = frames(6)
    stream = with_arrays(image, 12, sums(3), groups=((0, 2, 4), (5, 3, 1)))
    assert (part2.undo(stream, imagecodecs.jpeg2k_decode) == image).all()


def test_depth_and_sign_of_the_image_are_those_of_cbd() -> None:
    found = read_codestream(with_arrays(frames(4), 12, sums(4)))
    assert found is not None
    assert (found.coding, found.precision, found.signed) == (Coding.JPEG_2000_ARRAYS, 12, False)
    assert not found.transform


@pytest.mark.parametrize(("syntax", "reversible"), [(PART2_LOSSLESS, True), (PART2, False)])
def test_frames_that_predict_each_other_come_out_as_frames(
    syntax: str, reversible: bool, tmp_path: Path
) -> None:
    image = frames(5)
    stream = with_arrays(image, 12, sums(5), reversible_wavelet=reversible)
    ds = header(40, 33, NumberOfFrames=5, BitsStored=12, HighBit=11)
    source = encapsulated(tmp_path / "in.dcm", ds, syntax, [stream])
    transcode(source, EXPLICIT_LE, tmp_path / "out.dcm")
    out = pydicom.dcmread(tmp_path / "out.dcm").pixel_array
    assert np.abs(out.astype(int) - image.transpose(2, 0, 1)).max() <= (0 if reversible else 8)


def test_colours_may_be_transformed_by_an_array(tmp_path: Path) -> None:
    image = (frames(3) >> 4).astype("u1")
    stream = with_arrays(image, 8, sums(3))
    ds = header(
        40,
        33,
        SamplesPerPixel=3,
        PhotometricInterpretation="RGB",
        BitsAllocated=8,
        BitsStored=8,
        HighBit=7,
    )
    transcode(
        encapsulated(tmp_path / "in.dcm", ds, PART2_LOSSLESS, [stream]),
        EXPLICIT_LE,
        out := tmp_path / "out.dcm",
    )
    assert (pydicom.dcmread(out).pixel_array == image).all()


def plain(image: np.ndarray) -> bytes:
    return bytes(
        imagecodecs.jpeg2k_encode(image.astype("<i2"), level=0, codecformat="j2k", mct=False)
    )


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"flags": 1}, "a reversible component transform by arrays"),
        ({"collection": 3}, "by dependencies or by wavelets"),
    ],
)
def test_other_kinds_of_component_transform_are_refused(changes: dict[str, int], why: str) -> None:
    image = frames(3, signed=True)
    inserted = segments(image, 12, sums(3), (), "f4", [range(3)], **changes)
    with pytest.raises(PermanentFailure, match=why):
        read_codestream(spliced(plain(image), inserted))


def test_an_array_of_another_size_is_refused() -> None:
    image = frames(3, signed=True)
    stream = spliced(plain(image), segments(image, 12, sums(2), (), "f4", [range(3)]))
    with pytest.raises(PermanentFailure, match="missing or of another size"):
        part2.undo(stream, imagecodecs.jpeg2k_decode)


def test_components_that_are_not_there_are_refused() -> None:
    image = frames(3, signed=True)
    stream = spliced(plain(image), segments(image, 12, sums(3), (), "f4", [(0, 1, 7)]))
    with pytest.raises(PermanentFailure, match="components that are not there"):
        part2.undo(stream, imagecodecs.jpeg2k_decode)


def test_components_at_the_end_of_their_range_are_refused() -> None:
    image = frames(3, signed=True)
    stream = spliced(plain(image), segments(image, 12, sums(3), (), "f4", [range(3)]))
    with pytest.raises(PermanentFailure, match="beyond the range"):
        part2.undo(stream, lambda _: np.full((40, 33, 3), (1 << 23) - 1))
