"""Where decoders disagree there is one rule each; and what is refused before any of them runs."""

import os
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from gateway.failures import PermanentFailure
from gateway.model import Rendition
from gateway.transcode import pool as pool_module
from gateway.transcode.decoders import BACKENDS
from gateway.transcode.instance import Transcoded, transcode
from gateway.transcode.pool import TranscodePool
from gateway.transcode.samples import CLAMPED, CLEARED
from gateway.transcode.stored_frames import MAX_FRAME
from gateway.transfer_syntax import HTJ2K_LOSSLESS
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
)

HTJ2K = "1.2.840.10008.1.2.4.203"
JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"
GREY = (np.mgrid[:16, :24].sum(0) * 6).astype("u1")
WORDS = GREY.astype("<u2") * 16
BYTES = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}


def result(source: Path, **more: object) -> tuple[Dataset, Transcoded]:
    out = source.with_name("out.dcm")
    done = transcode(source, EXPLICIT_LE, out, **more)  # type: ignore[arg-type]
    return pydicom.dcmread(out), done


def test_a_stray_byte_before_the_end_marker_does_no_harm(tmp_path: Path) -> None:
    """As in WG04's MR1_JLSL, which two of six decoders refuse."""
    stream = bytes(imagecodecs.jpegls_encode(WORDS))
    stray = stream[:-2] + b"\0" + stream[-2:]
    out, _ = result(encapsulated(tmp_path / "in.dcm", header(16, 24), JPEG_LS, [stray]))
    assert out.PixelData == WORDS.tobytes()


def test_a_jp2_wrapper_is_taken_off_and_recorded(tmp_path: Path) -> None:
    stream = bytes(imagecodecs.jpeg2k_encode(WORDS, level=0, codecformat="jp2"))
    source = encapsulated(tmp_path / "in.dcm", header(16, 24), J2K_LOSSLESS, [stream])
    out, done = result(source)
    assert out.PixelData == WORDS.tobytes()
    assert done.notes == ("the codestream stands in a JP2 wrapper",)


@pytest.mark.parametrize("label", [JPEG_LOSSLESS, JPEG_LS, J2K_LOSSLESS, RLE])
def test_baseline_jpeg_under_another_label_is_decoded_as_what_it_is(
    label: str, tmp_path: Path
) -> None:
    stream = bytes(imagecodecs.jpeg8_encode(GREY, level=90))
    source = encapsulated(tmp_path / "in.dcm", header(16, 24, **BYTES), label, [stream])
    out, done = result(source)
    assert out.PixelData == imagecodecs.jpeg8_decode(stream).tobytes()
    assert out.LossyImageCompression == "01"
    assert done.decoder == "imagecodecs"


@pytest.mark.parametrize("label", [JPEG_BASELINE, JPEG_LOSSLESS])
def test_rows_that_stand_behind_the_scan_are_taken_from_there(label: str, tmp_path: Path) -> None:
    """ISO/IEC 10918-1 B.2.5: the frame header says 0 lines, DNL how many there are."""
    lossless = label == JPEG_LOSSLESS
    whole = bytes(imagecodecs.jpeg8_encode(GREY, level=90, lossless=lossless))
    at = whole.index(b"\xff\xc3" if lossless else b"\xff\xc0") + 5
    assert whole[at : at + 2] == b"\0\x10"
    stream = whole[:at] + b"\0\0" + whole[at + 2 : -2] + b"\xff\xdc\0\4\0\x10\xff\xd9"
    ds = header(16, 24, NumberOfFrames=2, **BYTES)
    source = encapsulated(tmp_path / "in.dcm", ds, label, [stream, stream])
    out, done = result(source)
    assert out.PixelData == 2 * imagecodecs.jpeg8_decode(whole).tobytes()
    assert done.notes == ("the rows were taken from behind the first scan (DNL)",)


@pytest.mark.parametrize("target", [EXPLICIT_LE, IMPLICIT_LE])
def test_white_that_overshoots_bits_stored_stays_white(target: str, tmp_path: Path) -> None:
    """As in WG04's RG3_JPLY: 12-bit JPEG of 10 bits stored; masked, 1024 would become 0."""
    image = np.where(np.mgrid[:16, :24][1] % 5 < 3, 1023, 0).astype("<u2")
    stream = bytes(imagecodecs.jpeg8_encode(image, level=40, bitspersample=12))
    decoded = imagecodecs.jpeg8_decode(stream)
    assert decoded.max() > 1023
    ds = header(16, 24, BitsStored=10, HighBit=9)
    out = tmp_path / "out.dcm"
    transcode(
        encapsulated(tmp_path / "in.dcm", ds, "1.2.840.10008.1.2.4.51", [stream]), target, out
    )
    assert out.read_bytes().endswith(np.minimum(decoded, 1023).astype("<u2").tobytes())


def test_the_record_says_what_was_clamped_and_what_was_cleared(tmp_path: Path) -> None:
    ds = header(16, 24, BitsStored=10, HighBit=9)
    white = np.where(np.mgrid[:16, :24][1] % 5 < 3, 1023, 0).astype("<u2")
    for image, noted in ((white, (CLAMPED,)), (white // 2, ())):
        stream = bytes(imagecodecs.jpeg8_encode(image, level=40, bitspersample=12))
        _, done = result(encapsulated(tmp_path / "in.dcm", ds, JPEG_EXTENDED, [stream]))
        assert done.notes == noted
    ds.NumberOfFrames = 2
    for image, noted in ((white + 1, (CLEARED,)), (white, ())):
        stream = bytes(imagecodecs.jpegls_encode(image))
        out, done = result(encapsulated(tmp_path / "in.dcm", ds, JPEG_LS, [stream, stream]))
        assert done.notes == noted
    assert out.PixelData == 2 * white.tobytes()


def test_frames_whose_colours_are_coded_in_different_ways_are_refused(tmp_path: Path) -> None:
    """What the first one says is said of all: the second would come out in false colours."""
    colour = np.stack([GREY, GREY // 2, GREY // 3], -1)
    ycbcr = bytes(imagecodecs.jpeg8_encode(colour, level=90))
    rgb = bytes(imagecodecs.jpeg8_encode(colour, level=90, colorspace="RGB", outcolorspace="RGB"))
    ds = header(16, 24, SamplesPerPixel=3, PhotometricInterpretation="YBR_FULL_422", **BYTES)
    ds.NumberOfFrames = 2
    source = encapsulated(tmp_path / "in.dcm", ds, JPEG_BASELINE, [ycbcr, rgb])
    for rendition in (Rendition(), Rendition(color="RGB")):
        with pytest.raises(PermanentFailure, match="frame 2: the samples of the frame are RGB"):
            result(source, rendition=rendition)


@pytest.mark.parametrize("said", ["00", "01"])
def test_an_irreversible_frame_behind_a_reversible_one_makes_the_instance_lossy(
    said: str, tmp_path: Path
) -> None:
    """OpenJPH through imagecodecs wraps 255 to 0 there: the first frame must not choose it."""
    image = np.where(np.mgrid[:64, :64].sum(0) % 7 < 4, 255, 3).astype("u1")
    exact = bytes(imagecodecs.htj2k_encode(image, reversible=True))
    about = bytes(imagecodecs.htj2k_encode(image, reversible=False, level=0.05))
    ds = header(64, 64, NumberOfFrames=2, LossyImageCompression=said, **BYTES)
    out, done = result(encapsulated(tmp_path / "in.dcm", ds, HTJ2K, [exact, about]))
    assert out.LossyImageCompression == "01"
    first, second = out.pixel_array.astype(int)
    assert (first == image).all()
    assert np.abs(second - image).max() < 64
    assert done.decoder == "pylibjpeg"
    source = encapsulated(tmp_path / "in.dcm", ds, HTJ2K_LOSSLESS, [exact, about])
    with pytest.raises(PermanentFailure, match="frame 2: the frame is JPEG 2000 9/7"):
        result(source)


def test_words_of_32_bits_are_whole(tmp_path: Path) -> None:
    image = (WORDS.astype("<u4") << 16) | 0x0102
    cells = np.ascontiguousarray(image.reshape(-1, 1)).view("u1").reshape(-1, 4)
    stream = rle_of([cells[:, 3 - byte].tobytes() for byte in range(4)])
    ds = header(16, 24, BitsAllocated=32, BitsStored=32, HighBit=31)
    out, _ = result(encapsulated(tmp_path / "in.dcm", ds, RLE, [stream]))
    assert out.PixelData == image.tobytes()


def test_an_icc_profile_is_kept_byte_for_byte(tmp_path: Path) -> None:
    colour = np.stack([GREY, GREY // 2, GREY // 3], -1)
    stream = bytes(imagecodecs.jpeg8_encode(colour, level=90))
    ds = header(16, 24, SamplesPerPixel=3, PhotometricInterpretation="YBR_FULL_422", **BYTES)
    ds.ICCProfile = bytes(range(256)) * 3
    source = encapsulated(tmp_path / "in.dcm", ds, JPEG_BASELINE, [stream])
    for rendition in (Rendition(), Rendition(color="RGB")):
        out, _ = result(source, rendition=rendition)
        assert out.ICCProfile == ds.ICCProfile


def claiming(rows: int, columns: int) -> bytes:
    """A small JPEG 2000 codestream that says it is a large one."""
    stream = bytearray(imagecodecs.jpeg2k_encode(WORDS, level=0, codecformat="j2k"))
    size = columns.to_bytes(4, "big") + rows.to_bytes(4, "big")
    stream[8:16] = stream[24:32] = size
    return bytes(stream)


def blank_rle(rows: int, columns: int) -> bytes:
    return rle_of([b"\x81\0"] * 2)


@pytest.mark.parametrize(
    ("syntax", "stream"), [(J2K_LOSSLESS, claiming), (RLE, blank_rle)], ids=["jpeg-2000", "rle"]
)
@pytest.mark.parametrize(
    ("rows", "columns", "said"),
    [
        (16_000, 16_000, "would expand to 512000000, more than 1000 times"),
        (20_000, 20_000, f"a frame of 800000000 bytes; at most {MAX_FRAME} are decoded"),
    ],
)
def test_a_bomb_is_refused_before_any_decoder(
    rows: int,
    columns: int,
    said: str,
    syntax: str,
    stream: Callable[[int, int], bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = encapsulated(
        tmp_path / "in.dcm", header(rows, columns), syntax, [stream(rows, columns)]
    )
    for backend in BACKENDS:
        monkeypatch.setattr(backend, "decode", lambda *_: pytest.fail("a decoder was asked"))
    with pytest.raises(PermanentFailure, match=said):
        transcode(source, EXPLICIT_LE, tmp_path / "out.dcm")


async def test_workers_are_replaced_after_so_many_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "TASKS_PER_WORKER", 2)
    pool = TranscodePool(1)
    try:
        pids = [await pool._run(os.getpid) for _ in range(5)]
    finally:
        await pool.aclose()
    assert len(set(pids)) == 3
