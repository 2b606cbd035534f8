"""Where frames stand, and one frame decoded without the others."""

from pathlib import Path

import imagecodecs
import numpy as np
import pytest

from gateway.failures import PermanentFailure
from gateway.transcode import decode
from gateway.transcode.excerpt import decode_frame
from gateway.transcode.instance import transcode
from gateway.transcode.located import Mislabelled, NoPixels, frame, located, located_at
from gateway.transfer_syntax import ENCAPSULATED_UNCOMPRESSED
from tests.transcode.objects import (
    EXPLICIT_BE,
    EXPLICIT_LE,
    JPEG_LS,
    encapsulated,
    header,
    relabelled,
    save,
)

PICTURES = np.random.default_rng(1).integers(0, 1 << 16, (4, 5, 6), "u2")


def jpeg_ls(path: Path, frames: int = 4) -> Path:
    streams = [imagecodecs.jpegls_encode(one) for one in PICTURES]
    return encapsulated(path, header(5, 6, NumberOfFrames=frames), JPEG_LS, streams)


def test_encapsulated_frames_are_runs_of_the_file(tmp_path: Path) -> None:
    file = jpeg_ls(tmp_path / "a.dcm")
    where, data = located(file), file.read_bytes()
    assert (where.frames, where.bits) == (4, 5 * 6 * 16)
    for number in range(1, 5):
        ((start, length),) = where.run(number) or ()
        found = imagecodecs.jpegls_decode(data[start : start + length])
        assert (found == PICTURES[number - 1]).all()


def test_native_frames_are_runs_unless_they_have_to_be_turned_round(tmp_path: Path) -> None:
    ds = header(5, 6, NumberOfFrames=4)
    ds.PixelData = PICTURES.tobytes()
    ds["PixelData"].VR = "OW"
    file = save(tmp_path / "a.dcm", ds, EXPLICIT_LE)
    ((start, length),) = located(file).run(3) or ()
    assert file.read_bytes()[start : start + length] == PICTURES[2].tobytes()
    ds.PixelData = PICTURES.astype(">u2").tobytes()
    file = save(tmp_path / "b.dcm", ds, EXPLICIT_BE)
    where = located(file)
    assert where.run(3) is None
    assert frame(file, where, 3) == PICTURES[2].tobytes()


def test_a_transcode_tells_where_the_frames_of_its_result_stand(tmp_path: Path) -> None:
    out = tmp_path / "out.dcm"
    done = transcode(jpeg_ls(tmp_path / "a.dcm"), EXPLICIT_LE, out)
    assert done.native is not None
    assert located_at(done.native) == located(out)


def test_frames_that_do_not_begin_on_a_byte_are_not_told_of(tmp_path: Path) -> None:
    ds = header(3, 7, NumberOfFrames=2, BitsAllocated=1, BitsStored=1, HighBit=0)
    file = encapsulated(tmp_path / "a.dcm", ds, ENCAPSULATED_UNCOMPRESSED, [bytes(3)] * 2)
    done = transcode(file, EXPLICIT_LE, tmp_path / "out.dcm")
    assert (done.frames, done.native) == (2, None)


def test_a_number_of_frames_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PermanentFailure, match="holds 4 frames"):
        located(jpeg_ls(tmp_path / "a.dcm", frames=3))


def test_encapsulated_frames_under_a_native_label_stand_nowhere(tmp_path: Path) -> None:
    file = jpeg_ls(tmp_path / "a.dcm")
    file.write_bytes(relabelled(file.read_bytes(), EXPLICIT_LE))
    with pytest.raises(Mislabelled, match="is encapsulated"):
        located(file)


def test_without_pixels_there_is_nothing(tmp_path: Path) -> None:
    with pytest.raises(NoPixels):
        located(save(tmp_path / "a.dcm", header(0, 0), EXPLICIT_LE))


@pytest.mark.parametrize("target", [EXPLICIT_LE, EXPLICIT_BE])
def test_one_frame_is_decoded_as_it_is_among_the_others(tmp_path: Path, target: str) -> None:
    file, out = jpeg_ls(tmp_path / "a.dcm"), tmp_path / "out"
    order = ">" if target == EXPLICIT_BE else "<"
    for number in (1, 3, 4):
        passport = decode_frame(file, target, number, out)
        assert passport.decoder
        assert passport.version
        assert (passport.target, passport.frames, passport.colour) == (target, 1, "MONOCHROME2")
        assert passport.seconds > 0
        assert out.read_bytes() == PICTURES[number - 1].astype(f"{order}u2").tobytes()
    with pytest.raises(PermanentFailure, match="frame 5 does not stand by itself in 4 frames"):
        decode_frame(file, target, 5, out)


def test_a_frame_that_its_decoder_fails_on_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> object:
        raise RuntimeError("no")

    file, out = jpeg_ls(tmp_path / "a.dcm"), tmp_path / "out"
    monkeypatch.setattr(decode, "conform", failing)
    with pytest.raises(PermanentFailure, match="could not decode frame 2: RuntimeError no"):
        decode_frame(file, EXPLICIT_LE, 2, out)
    assert not out.exists()
