"""JPEG-LS of less than 8 bits: the standard's thresholds, and those of old encoders."""

from base64 import b64decode
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from gateway.failures import PermanentFailure
from gateway.model import Checks, Rendition
from gateway.transcode import worker
from gateway.transcode.backends import imagecodecs as codecs
from gateway.transcode.backends import jpeg_ls
from gateway.transcode.form import Backend, Coding, FrameFormat
from gateway.transcode.instance import Transcoded, transcode
from gateway.transcode.presets import OLD, decode_either, with_old_presets
from tests.transcode.objects import EXPLICIT_LE, JPEG_LS, encapsulated, header

OLD_CHARLS = {
    (6, 0): (
        "/9j/9wALBgAQABABAREA/9oACAEBAAAAAIwDAAMuIjbpYAmUlKbpcBBACKADR/NgSQIgAAANaKUpEfRCuIZx"
        "hxi9jb9R9FKmxm7i4xuuzQoXGFFzXnw6uATQixyb7qe3/3Sac++2eM/nfJpceRfcxKIKoka9EUMUT3n3pjQi"
        "RT7Lpbc+hnybzo54x+pg7/01qnilifv3RVzdmCH1SfuNb6ZoTTHeya7VFfpNOLgjXPfv5JpsfbTA/9kA"
    ),
    (7, 0): (
        "/9j/9wALBwAQABABAREA/9oACAEBAAAAAIwDAAMuIjZKXnIjFo3fmZiAQQAiiigANHDQGEMjBLlO1sazOt6X"
        "4EP/LeMJV8X8+vcAAAMutZio6KfaPVbcxXwaQuA3WNfwBlR+3M3IMefX/1uZOQz3/AK0/togtVwEK8/+n7tq"
        "FFwFWwBlN0n9himGe/SJ/UwSiWOvIAVWL/WYRAWnv++n5jUy5cBlMAO59fu3bLPWXBGvHbhljr/qAP/Z"
    ),
    (7, 2): (
        "/9j/9wALBwAQABABAREA/9oACAEBAAIAALzDKcl5J5okUookRER5OABGkgBRIiRKV9xRH1IiKovL2cASSJeL"
        "/3qSKJSEc5RRTipIlau+/UVWk1tZSkiVy50O/1ItUoxKTKXIq9djsoSlIVjq1LEsomdW/xkhsUJMUan0rvY/"
        "aea0z7kpUP/ZAA=="
    ),
}
"""Written by dcmcjpls of DCMTK 3.6.7."""


TWO_MEANINGS = b64decode("/9j/9wALBwAEAAgBAREA/9oACAEBAAAAAAAAA/Ec9EaROxjSmnWthRr/2Q==")
"""Of 4 rows and 8 columns, 7 bits, by the same encoder: CharLS 2 decodes it either way."""


def instance(path: Path, bits: int, rows: int, columns: int, *frames: bytes) -> Path:
    ds = header(
        rows, columns, BitsAllocated=8, BitsStored=bits, HighBit=bits - 1, PixelRepresentation=0
    )
    ds.NumberOfFrames = len(frames)
    return encapsulated(path, ds, JPEG_LS, frames)


def result(source: Path) -> tuple[Dataset, Transcoded]:
    out = source.with_name("out.dcm")
    done = transcode(source, EXPLICIT_LE, out)
    return pydicom.dcmread(out), done


def picture(bits: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    y, x = np.mgrid[:16, :16]
    return ((x * x * 3 + y * 7 + x * y) % (1 << bits)).astype("u1")


@pytest.mark.parametrize(("bits", "near"), OLD_CHARLS)
@pytest.mark.parametrize("backend", [codecs, jpeg_ls])
def test_what_an_old_encoder_wrote_is_decoded_by_every_decoder_and_recorded(
    bits: int, near: int, backend: Backend
) -> None:
    form = FrameFormat(
        JPEG_LS, 16, 16, coding=Coding.JPEG_LS, precision=bits, bits_allocated=8, bits_stored=bits
    )
    notes: list[str] = []
    stream = b64decode(OLD_CHARLS[bits, near])
    got = decode_either(stream, lambda one: backend.decode(one, form), notes)
    assert np.abs(got.astype(int) - picture(bits)).max() == near
    assert notes == [OLD]


def test_the_record_names_the_old_thresholds_once(tmp_path: Path) -> None:
    stream = b64decode(OLD_CHARLS[6, 0])
    out, done = result(instance(tmp_path / "in.dcm", 6, 16, 16, stream, stream))
    assert out.PixelData == 2 * picture(6).tobytes()
    assert done.notes == (OLD,)


def test_the_record_of_ranges_names_them_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "WORTH_SPLITTING", 0)
    source = instance(tmp_path / "in.dcm", 6, 16, 16, *[b64decode(OLD_CHARLS[6, 0])] * 9)
    split = worker.transcode_or_split(
        source, EXPLICIT_LE, tmp_path / "out.dcm", Rendition(), 0, Checks()
    )
    assert isinstance(split, worker.Split)
    heard = [worker.decode_range(split.part(at, at + 3), at, 60) for at in (0, 3, 6)]
    assert worker.concluded(split, heard, ("", "")).notes == (OLD,)


def test_a_damaged_stream_is_refused_with_either_thresholds(tmp_path: Path) -> None:
    stream = b64decode(OLD_CHARLS[6, 0])
    with pytest.raises(PermanentFailure, match="could not decode frame 1"):
        result(instance(tmp_path / "in.dcm", 6, 16, 16, stream[:60] + stream[70:]))


def test_a_stream_with_two_meanings_is_refused(tmp_path: Path) -> None:
    """Two pictures, both of which use up the data: a guess would be wrong without a sign."""
    older = with_old_presets(TWO_MEANINGS)
    assert not np.array_equal(
        imagecodecs.jpegls_decode(TWO_MEANINGS),
        imagecodecs.jpegls_decode(older),
    )
    with pytest.raises(PermanentFailure, match="does not say which"):
        result(instance(tmp_path / "in.dcm", 7, 4, 8, TWO_MEANINGS))


@pytest.mark.parametrize(("bits", "near"), [(8, 0), (12, 2), (5, 0), (2, 0), (2, 3)])
def test_there_is_one_meaning_where_the_thresholds_are_the_same(bits: int, near: int) -> None:
    stream = bytearray(b64decode(OLD_CHARLS[7, 2]))
    stream[6], stream[stream.index(b"\xff\xda") + 7] = bits, near
    assert with_old_presets(bytes(stream)) == b""


def test_thresholds_never_exceed_the_greatest_sample() -> None:
    stream = bytearray(b64decode(OLD_CHARLS[7, 2]))
    stream[6], stream[stream.index(b"\xff\xda") + 7] = 4, 1
    older = with_old_presets(bytes(stream))
    at = older.index(b"\xff\xf8") + 5
    values = [int.from_bytes(older[at + i : at + i + 2]) for i in range(0, 10, 2)]
    assert values == [15, 5, 8, 11, 64]


def test_thresholds_that_stand_in_the_stream_are_kept() -> None:
    assert with_old_presets(with_old_presets(b64decode(OLD_CHARLS[6, 0]))) == b""
