"""Which decoder serves an instance when one fails; frames that contradict their header."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gateway.failures import PermanentFailure
from gateway.transcode.backends import imagecodecs as imagecodecs_backend
from gateway.transcode.decoders import ROWS
from gateway.transcode.form import Coding, FrameFormat
from gateway.transcode.instance import transcode
from tests.transcode.objects import (
    EXPLICIT_LE,
    JPEG_LS,
    encapsulated,
    header,
)
from tests.transcode.test_instance import jls, noise, refused, result


def test_a_frame_of_other_dimensions_fails_the_instance(tmp_path: Path) -> None:
    streams = [jls(noise(8, 8)), jls(noise(8, 9))]
    ds = header(8, 8, NumberOfFrames=2)
    source = encapsulated(tmp_path / "in.dcm", ds, JPEG_LS, streams)
    refused(source, "frame 2: the codestream has 8 rows, 9 columns")


def test_a_header_that_lies_about_rows_fails_the_instance(tmp_path: Path) -> None:
    source = encapsulated(tmp_path / "in.dcm", header(9, 8), JPEG_LS, [jls(noise(8, 8))])
    refused(source, "8 rows, 8 columns, 1 components; the header says 9, 8, 1")


def test_a_codestream_that_was_cut_fails_the_instance(tmp_path: Path) -> None:
    stream = jls(noise(32, 32))
    half = stream[: len(stream) // 4 * 2]
    source = encapsulated(tmp_path / "in.dcm", header(32, 32), JPEG_LS, [half])
    refused(source, "no end marker")


class Stubborn:
    """A decoder that fails from its n-th frame on, or returns a frame of another size."""

    requires = ""

    def __init__(self, name: str, frames: int = 0, wrong: bool = False) -> None:
        self.name, self.frames, self.wrong, self.done = name, frames, wrong, 0

    def version(self) -> str:
        return "1"

    def supports(self, form: FrameFormat) -> bool:
        return True

    def decode(self, frame: Any, form: FrameFormat) -> np.ndarray:
        self.done += 1
        if self.done > self.frames:
            if self.wrong:
                return np.zeros((form.rows - 1, form.columns), "<u2")
            raise OSError("no such table\n  in the stream")
        return np.full((form.rows, form.columns), 7, "<u2")


def test_frames_of_two_decoders_never_mix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = noise(4, 8, 8)
    first, second = Stubborn("first", frames=2), Stubborn("second", frames=1, wrong=True)
    row = (first, second, imagecodecs_backend)
    monkeypatch.setitem(ROWS, Coding.JPEG_LS, row)
    ds = header(8, 8, NumberOfFrames=4)
    out = result(encapsulated(tmp_path / "in.dcm", ds, JPEG_LS, [jls(image) for image in images]))
    assert out.PixelData == images.tobytes()
    assert (first.done, second.done, out.done.decoder) == (3, 2, "imagecodecs")
    assert out.done.notes[0] == (
        "first could not decode frame 3: OSError no such table in the stream"
    )
    assert "second could not decode frame 2" in out.done.notes[1]


class Panic(BaseException):
    """As Rust's panics come through PyO3."""


def test_a_panic_of_a_rust_library_is_a_decoder_that_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def panics(frame: Any, form: FrameFormat) -> np.ndarray:
        raise Panic("slice index out of range")

    first = Stubborn("first")
    monkeypatch.setattr(first, "decode", panics)
    monkeypatch.setitem(ROWS, Coding.JPEG_LS, (first, imagecodecs_backend))
    source = encapsulated(tmp_path / "in.dcm", header(8, 8), JPEG_LS, [jls(noise(8, 8))])
    assert result(source).done.decoder == "imagecodecs"


def test_when_no_decoder_is_left_all_of_them_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ROWS, Coding.JPEG_LS, (Stubborn("first"), Stubborn("second")))
    source = encapsulated(tmp_path / "in.dcm", header(8, 8), JPEG_LS, [jls(noise(8, 8))])
    refused(source, "first could not decode frame 1.*second could not decode frame 1")


def test_the_second_attempt_begins_with_the_second_decoder(tmp_path: Path) -> None:
    image = noise(8, 8)
    source = encapsulated(tmp_path / "in.dcm", header(8, 8), JPEG_LS, [jls(image)])
    out = result(source, attempt=1)
    assert (out.done.decoder, out.PixelData) == ("pyjpegls", image.tobytes())
    with pytest.raises(PermanentFailure, match="no other decoder for JPEG-LS"):
        transcode(source, EXPLICIT_LE, tmp_path / "x.dcm", attempt=9)
