"""Pixel Data that is not as its transfer syntax says becomes what it is."""

from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray

from gateway.failures import PermanentFailure
from gateway.transcode.frames import MAX_FRAMES
from gateway.transcode.instance import transcode
from gateway.transcode.located import Mislabelled, located
from tests.serve import objects
from tests.transcode.objects import (
    EXPLICIT_LE,
    IMPLICIT_LE,
    J2K_LOSSLESS,
    JPEG_BASELINE,
    JPEG_LOSSLESS,
    JPEG_LS,
    RLE,
    encapsulated,
    header,
    rle_of,
    save,
)

MPEG_2 = "1.2.840.10008.1.2.4.100"
Pictures = NDArray[np.uint16]


def two_planes(picture: Pictures) -> bytes:
    """The most significant bytes first (PS3.5 G.2)."""
    return rle_of([(picture >> 8).astype("u1").tobytes(), picture.astype("u1").tobytes()])


CODINGS: dict[str, Callable[[Pictures], bytes]] = {
    JPEG_LOSSLESS: imagecodecs.ljpeg_encode,
    JPEG_LS: imagecodecs.jpegls_encode,
    J2K_LOSSLESS: lambda one: imagecodecs.jpeg2k_encode(one, level=0, codecformat="j2k"),
    RLE: two_planes,
}


@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize("label", [EXPLICIT_LE, IMPLICIT_LE])
@pytest.mark.parametrize("coding", CODINGS)
def test_fragments_under_a_native_label_are_decoded(
    tmp_path: Path, coding: str, label: str, frames: int
) -> None:
    pictures = objects.pictures(frames)
    ds = header(objects.ROWS, objects.COLUMNS, NumberOfFrames=frames)
    file = encapsulated(tmp_path / "a", ds, coding, [CODINGS[coding](one) for one in pictures])
    file = objects.under(label, file) if label == EXPLICIT_LE else objects.implicit(file)
    done = transcode(file, EXPLICIT_LE, tmp_path / "out")
    assert pydicom.dcmread(tmp_path / "out").PixelData == pictures.tobytes()
    name = "explicit-le" if label == EXPLICIT_LE else "implicit-le"
    assert done.notes[0] == f"Pixel Data labelled {name} is encapsulated: decoded as such"


@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize("target", [EXPLICIT_LE, IMPLICIT_LE])
@pytest.mark.parametrize("label", [JPEG_BASELINE, *CODINGS])
def test_one_value_of_samples_under_an_encapsulated_label_stays_as_it_is(
    tmp_path: Path, label: str, target: str, frames: int
) -> None:
    pictures = objects.pictures(frames)
    file = objects.under(label, objects.native(tmp_path / "a", pictures))
    done = transcode(file, target, tmp_path / "out")
    assert pydicom.dcmread(tmp_path / "out").PixelData == pictures.tobytes()
    assert "holds uncompressed samples: taken as such" in done.notes[0]
    with pytest.raises(Mislabelled, match="is not encapsulated"):
        located(file)


@pytest.mark.parametrize("coding", CODINGS)
def test_a_codestream_that_stands_in_no_fragment_is_decoded(tmp_path: Path, coding: str) -> None:
    (picture,) = pictures = objects.pictures(1)
    ds = header(objects.ROWS, objects.COLUMNS)
    stream = CODINGS[coding](picture)
    ds.PixelData = stream + b"\0" * (len(stream) & 1)
    ds["PixelData"].VR = "OB"
    file = objects.under(coding, save(tmp_path / "a", ds, EXPLICIT_LE))
    transcode(file, EXPLICIT_LE, tmp_path / "out")
    assert pydicom.dcmread(tmp_path / "out").PixelData == pictures.tobytes()


def test_more_frames_of_one_value_than_are_decoded_are_not_even_listed(tmp_path: Path) -> None:
    ds = header(1, 1, NumberOfFrames=MAX_FRAMES + 1)
    ds.PixelData = b"\0\0" * (MAX_FRAMES + 1)
    ds["PixelData"].VR = "OB"
    file = objects.under(MPEG_2, save(tmp_path / "a", ds, EXPLICIT_LE))
    assert [len(spans) for spans in located(file).spans] == [1]


def test_what_is_neither_is_refused_with_its_label(tmp_path: Path) -> None:
    file = objects.under(EXPLICIT_LE, objects.undecodable(tmp_path / "a"))
    with pytest.raises(PermanentFailure, match="labelled explicit-le starts like no JPEG"):
        transcode(file, EXPLICIT_LE, tmp_path / "out")
