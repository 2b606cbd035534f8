"""A second opinion on every frame, and what is recorded of a transcode."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest

from gateway.failures import PermanentFailure
from gateway.model import Checks, Rendition, Verification
from gateway.transcode import decoders
from gateway.transcode.backends import imagecodecs as libraries
from gateway.transcode.form import Backend, Coding, FrameFormat
from gateway.transcode.instance import transcode
from gateway.transcode.pool import TranscodePool
from gateway.transcode.record import MOST_STDERR, readable
from gateway.transcode.verify import Comparing, Disagreement, watched
from tests.transcode import misbehaving
from tests.transcode.objects import (
    EXPLICIT_BE,
    EXPLICIT_LE,
    IMPLICIT_LE,
    JPEG_BASELINE,
    JPEG_LOSSLESS,
    JPEG_LS,
    RLE,
    encapsulated,
    header,
    save,
)

RNG = np.random.default_rng(11)
LOSSLESS, ALL = Checks(verify="lossless", digests=True), Checks(verify="all", digests=True)


def jpeg_lossless(image: np.ndarray) -> bytes:
    """JPEG Lossless, SV1; RGB where there are three samples."""
    colours = {"colorspace": "RGB", "outcolorspace": "RGB"} if image.ndim == 3 else {}
    bits = 8 * image.itemsize
    coded = imagecodecs.jpeg8_encode(
        image, lossless=True, predictor=1, bitspersample=bits, **colours
    )
    return bytes(coded)


def ct(count: int = 1) -> np.ndarray:
    return RNG.integers(0, 4096, (count, 24, 20)).astype("<u2")


def names(folder: Path) -> list[str]:
    """The files in a folder."""
    return [path.name for path in folder.iterdir()]


def lossless_object(folder: Path, images: np.ndarray) -> Path:
    ds = header(24, 20, NumberOfFrames=len(images))
    return encapsulated(
        folder / "in.dcm", ds, JPEG_LOSSLESS, [jpeg_lossless(image) for image in images]
    )


@pytest.mark.parametrize("target", [EXPLICIT_LE, IMPLICIT_LE])
def test_equal_pixels_are_recorded_with_both_names_and_the_digest(
    tmp_path: Path, target: str
) -> None:
    images = ct(3)
    done = transcode(
        lossless_object(tmp_path, images), target, tmp_path / "out.dcm", checks=LOSSLESS
    )
    version = libraries.version()
    assert (done.decoder, done.version, done.self_test) == ("imagecodecs", version, "proven")
    assert done.verification == Verification(
        "equal",
        (
            f"imagecodecs {version} (IJG with the lossless patch)",
            f"liblj92 {version} (liblj92)",
        ),
        frames=3,
    )
    assert done.native_digest == hashlib.sha256(images.tobytes()).hexdigest()
    written = pydicom.dcmread(tmp_path / "out.dcm")
    assert done.native_digest == hashlib.sha256(written.PixelData).hexdigest()


def test_nothing_is_looked_at_unless_asked_for(tmp_path: Path) -> None:
    done = transcode(lossless_object(tmp_path, ct()), EXPLICIT_LE, tmp_path / "out.dcm")
    assert (done.verification, done.stored_digest, done.native_digest) == (None, "", "")


def test_the_stored_digest_does_not_depend_on_how_frames_are_cut(tmp_path: Path) -> None:
    stream = jpeg_lossless(ct()[0])
    stream += b"\0" * (len(stream) & 1)
    whole = encapsulated(tmp_path / "a.dcm", header(24, 20), JPEG_LOSSLESS, [stream])
    ds = header(24, 20)
    ds.PixelData = pydicom.encaps.encapsulate([stream], fragments_per_frame=3)
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True
    cut = save(tmp_path / "b.dcm", ds, JPEG_LOSSLESS)
    assert whole.read_bytes() != cut.read_bytes()
    done = [
        transcode(one, EXPLICIT_LE, tmp_path / "out.dcm", checks=Checks(digests=True))
        for one in (whole, cut)
    ]
    assert {each.stored_digest for each in done} == {hashlib.sha256(stream).hexdigest()}


@pytest.mark.parametrize("target", [IMPLICIT_LE, EXPLICIT_BE])
def test_native_pixels_have_digests_and_need_no_verification(tmp_path: Path, target: str) -> None:
    image, ds = ct()[0], header(24, 20)
    ds.PixelData = image.tobytes()
    ds["PixelData"].VR = "OW"
    source = save(tmp_path / "in.dcm", ds, EXPLICIT_LE)
    done = transcode(source, target, tmp_path / "out.dcm", checks=ALL)
    out = image if target == IMPLICIT_LE else image.byteswap()
    assert (done.decoder, done.verification) == ("", None)
    assert done.stored_digest == hashlib.sha256(image.tobytes()).hexdigest()
    assert done.native_digest == hashlib.sha256(out.tobytes()).hexdigest()


@pytest.mark.parametrize("target", [EXPLICIT_LE, EXPLICIT_BE])
def test_swapped_pixels_that_are_rendered_anew_have_digests(tmp_path: Path, target: str) -> None:
    """Words of the other byte order are swapped piece by piece where they are read."""
    image = RNG.integers(0, 1 << 16, (2, 6, 4, 3)).astype(">u2")
    ds = header(6, 4, SamplesPerPixel=3, PhotometricInterpretation="YBR_FULL", NumberOfFrames=2)
    ds.PixelData = image.tobytes()
    ds["PixelData"].VR = "OW"
    source = save(tmp_path / "in.dcm", ds, EXPLICIT_BE)
    rendition = Rendition(color="RGB")
    done = transcode(source, target, tmp_path / "out", rendition=rendition, checks=LOSSLESS)
    made = pydicom.dcmread(tmp_path / "out")
    assert made.PhotometricInterpretation == "RGB"
    assert done.native_digest == hashlib.sha256(made.PixelData).hexdigest()
    assert done.stored_digest == hashlib.sha256(image.tobytes()).hexdigest()


NATIVES = {
    "copied": (EXPLICIT_LE, IMPLICIT_LE, Rendition()),
    "rendered": (EXPLICIT_LE, EXPLICIT_LE, Rendition(planar="separate")),
    "swapped": (EXPLICIT_BE, EXPLICIT_LE, Rendition()),
    "swapped and rendered": (EXPLICIT_BE, EXPLICIT_BE, Rendition(planar="separate")),
}


@pytest.mark.parametrize("allocated", [8, 16])
@pytest.mark.parametrize("how", NATIVES)
def test_the_digests_are_those_of_the_bytes_in_the_files(
    how: str, allocated: int, tmp_path: Path
) -> None:
    """Copied, swapped or rendered: as stored and as written, the pad byte of an odd length not."""
    syntax, target, rendition = NATIVES[how]
    image = RNG.integers(0, 256, (3, 5, 7, 3)).astype(">u2" if syntax == EXPLICIT_BE else "<u2")
    image = image.astype("u1") if allocated == 8 else image
    ds = header(5, 7, SamplesPerPixel=3, PhotometricInterpretation="RGB", NumberOfFrames=3)
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = allocated, allocated, allocated - 1
    ds.PixelData = image.tobytes() + b"\0" * (image.nbytes & 1)
    ds["PixelData"].VR = "OB" if allocated == 8 else "OW"
    source = save(tmp_path / "in.dcm", ds, syntax)
    checks = Checks(digests=True)
    done = transcode(source, target, tmp_path / "out", rendition=rendition, checks=checks)
    made = pydicom.dcmread(tmp_path / "out").PixelData[: image.nbytes]
    assert done.stored_digest == hashlib.sha256(image.tobytes()).hexdigest()
    assert done.native_digest == hashlib.sha256(made).hexdigest()


def test_where_one_lineage_exists_the_record_says_so(tmp_path: Path) -> None:
    stream = bytes(imagecodecs.jpegls_encode(ct()[0]))
    source = encapsulated(tmp_path / "in.dcm", header(24, 20), JPEG_LS, [stream])
    done = transcode(source, EXPLICIT_LE, tmp_path / "out.dcm", checks=LOSSLESS)
    assert done.verification is not None
    assert done.verification.state == "one lineage"
    assert done.verification.decoders == (f"imagecodecs {libraries.version()} (CharLS)",)


@pytest.mark.parametrize(("checks", "state"), [(LOSSLESS, "not asked"), (ALL, "within bound")])
def test_lossy_codestreams_are_verified_when_all_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checks: Checks, state: str
) -> None:
    """IJG's libjpeg and libjpeg-turbo agree on this one; a witness off by one is within bound."""
    image = np.add.outer(np.arange(24), np.arange(20)).astype("u1")
    monkeypatch.setitem(decoders.ROWS, Coding.JPEG_8, (libraries, Off(1)))
    ds = header(24, 20, BitsAllocated=8, BitsStored=8, HighBit=7)
    stream = bytes(imagecodecs.jpeg8_encode(image))
    source = encapsulated(tmp_path / "in.dcm", ds, JPEG_BASELINE, [stream])
    done = transcode(source, EXPLICIT_LE, tmp_path / "out.dcm", checks=checks)
    assert done.verification is not None
    assert done.verification.state == state
    assert done.verification.maximum == (1 if checks is ALL else 0)


class Off:
    """A decoder whose every sample is off by so much."""

    requires = ""
    name = "off"

    def __init__(self, by: int) -> None:
        self.by = by

    def version(self) -> str:
        return "1"

    def supports(self, form: FrameFormat) -> bool:
        return True

    def decode(self, frame: object, form: FrameFormat) -> np.ndarray:
        return libraries.decode(frame, form) + np.array(self.by, "u1")


def test_a_lossy_codestream_off_by_more_is_a_difference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(decoders.ROWS, Coding.JPEG_8, (libraries, Off(2)))
    image = np.full((24, 20, 3), 100, "u1")
    ds = header(
        24, 20, BitsAllocated=8, BitsStored=8, HighBit=7, SamplesPerPixel=3,
        PhotometricInterpretation="YBR_FULL_422",
    )  # fmt: skip
    stream = bytes(imagecodecs.jpeg8_encode(image))
    source = encapsulated(tmp_path / "in.dcm", ds, JPEG_BASELINE, [stream])
    with pytest.raises(Disagreement, match=r"by more than 1: 1440 samples in 1 of 1 frames"):
        transcode(source, EXPLICIT_LE, tmp_path / "out.dcm", checks=ALL)
    assert names(tmp_path) == ["in.dcm"]


@pytest.mark.parametrize("image", [ct()[0].astype("<i2") - 2000, ct()[0]])
def test_the_real_witnesses_see_what_we_see(tmp_path: Path, image: np.ndarray) -> None:
    """RLE by three code bases; signed and unsigned."""
    signed = int(image.dtype.kind == "i")
    ds = header(24, 20, PixelRepresentation=signed)
    stream = pydicom.pixels.encoders.RLELosslessEncoder.encode(
        image.tobytes(), rows=24, columns=20, samples_per_pixel=1, bits_allocated=16,
        bits_stored=16, photometric_interpretation="MONOCHROME2", pixel_representation=signed,
        number_of_frames=1,
    )  # fmt: skip
    source = encapsulated(tmp_path / "in.dcm", ds, RLE, [stream])
    done = transcode(source, EXPLICIT_LE, tmp_path / "out.dcm", checks=LOSSLESS)
    assert done.verification is not None
    assert done.verification.state == "equal"
    lineages = [one.rpartition("(")[2] for one in done.verification.decoders]
    assert sorted(lineages) == ["imcd)", "pylibjpeg-rle)"]


class Broken(Off):
    """A decoder that gives up at its second frame."""

    calls = 0

    def decode(self, frame: object, form: FrameFormat) -> np.ndarray:
        self.calls += 1
        if self.calls == 2:
            raise ValueError("this one is too much")
        return libraries.decode(frame, form)


def comparing(seconds: list[Backend]) -> tuple[Comparing, FrameFormat, bytes]:
    form = FrameFormat(
        JPEG_BASELINE, 24, 20, bits_allocated=8, coding=Coding.JPEG_8, precision=8, lossy=True
    )
    stream = bytes(imagecodecs.jpeg8_encode(np.full((24, 20), 9, "u1")))
    return Comparing(libraries, seconds, form), form, stream


def test_a_witness_that_gives_up_is_replaced_by_the_next() -> None:
    beside, form, stream = comparing([Broken(0), Off(0)])
    for _ in range(3):
        beside.decode(stream, form)
    assert (beside.tally.frames, beside.tally.different, beside.tally.refused) == (3, 0, "")


def test_what_nobody_else_can_decode_is_not_verified() -> None:
    beside, form, stream = comparing([Broken(0)])
    for _ in range(3):
        beside.decode(stream, form)
    assert beside.tally.refused.startswith("frame 2 could not be decoded by off 1 (off)")
    assert "this one is too much" in beside.tally.refused


def test_nobody_is_asked_where_nothing_was_coded() -> None:
    assert watched(libraries, FrameFormat(EXPLICIT_LE, 8, 8), "all") is None


@pytest.fixture
async def pool() -> AsyncIterator[TranscodePool]:
    """Two workers with an honest decoder and a witness that can be made to lie."""
    pool = TranscodePool(2, seconds=20, memory=1 << 30, prepare=misbehaving.prepare_witness)
    yield pool
    await pool.aclose()


def many_frames(folder: Path, lying: tuple[int, ...], first: int) -> tuple[Path, np.ndarray]:
    """20 frames of 512 kB; those in ``lying`` begin with ``first``."""
    images = np.arange(20 * 512 * 512, dtype="u4").reshape(20, 512, 512).astype("<u2")
    images[:, 0, 0] = 1
    images[list(lying), 0, 0] = first
    streams = [bytes(imagecodecs.jpegls_encode(image)) for image in images]
    ds = header(512, 512, NumberOfFrames=20)
    return encapsulated(folder / "many.dcm", ds, JPEG_LS, streams), images


async def test_many_frames_are_compared_by_all_workers_and_recorded_as_one(
    pool: TranscodePool, tmp_path: Path
) -> None:
    source, images = many_frames(tmp_path, (), 0)
    done = await pool.transcode(source, EXPLICIT_LE, tmp_path / "out.dcm", checks=LOSSLESS)
    assert done.verification == Verification(
        "equal", ("honest 1 (honest)", "witness 1 (witness)"), frames=20
    )
    assert done.native_digest == hashlib.sha256(images.tobytes()).hexdigest()
    assert done.stderr.startswith("a \\x1b[31mwarning | a ")


async def test_large_native_objects_have_the_digests_of_their_files_too(
    pool: TranscodePool, tmp_path: Path
) -> None:
    """Their frames are decoded in ranges; what stands behind the last frame is stored as well."""
    images = RNG.integers(0, 256, (20, 500, 501, 3)).astype("u1")
    ds = header(500, 501, SamplesPerPixel=3, PhotometricInterpretation="RGB", NumberOfFrames=20)
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8, 8, 7
    ds.PixelData = images.tobytes() + b"left"
    ds["PixelData"].VR = "OB"
    source, out = save(tmp_path / "in.dcm", ds, EXPLICIT_LE), tmp_path / "out.dcm"
    wanted, checks = Rendition(planar="separate"), Checks(digests=True)
    done = await pool.transcode(source, EXPLICIT_LE, out, wanted, checks)
    made = pydicom.dcmread(out)
    assert made.PlanarConfiguration == 1
    assert done.stored_digest == hashlib.sha256(ds.PixelData).hexdigest()
    assert done.native_digest == hashlib.sha256(made.PixelData).hexdigest()


async def test_a_difference_in_two_of_many_frames_is_summed_up_and_nothing_is_left(
    pool: TranscodePool, tmp_path: Path
) -> None:
    source, _ = many_frames(tmp_path, (4, 17), misbehaving.LIE)
    with pytest.raises(Disagreement) as failure:
        await pool.transcode(source, EXPLICIT_LE, tmp_path / "out.dcm", checks=LOSSLESS)
    assert str(failure.value) == (
        "honest 1 (honest) and witness 1 (witness) disagree: 4 samples in 2 of 20 frames, at "
        f"most by 9; the first is frame 5, row 4, column 6: {3 * 512 + 5} against {3 * 512 + 14}"
    )
    assert names(tmp_path) == ["many.dcm"]


async def test_a_frame_that_the_witness_refuses_holds_the_instance(
    pool: TranscodePool, tmp_path: Path
) -> None:
    source, _ = many_frames(tmp_path, (13,), misbehaving.RAISE)
    with pytest.raises(Disagreement, match=r"nobody else could confirm: frame 14 could not be"):
        await pool.transcode(source, EXPLICIT_LE, tmp_path / "out.dcm", checks=LOSSLESS)


async def test_a_worker_lost_while_two_decoders_ran_is_not_blamed_on_one(tmp_path: Path) -> None:
    pool = TranscodePool(1, seconds=20, prepare=misbehaving.prepare)
    image = ct()[0]
    image[0, 0] = misbehaving.ALL_CRASH
    stream = bytes(imagecodecs.jpegls_encode(image))
    source = encapsulated(tmp_path / "in.dcm", header(24, 20), JPEG_LS, [stream])
    try:
        with pytest.raises(PermanentFailure, match="first or the decoder beside it brought its"):
            await pool.transcode(source, EXPLICIT_LE, tmp_path / "out.dcm", checks=LOSSLESS)
    finally:
        await pool.aclose()


async def test_what_one_task_printed_is_not_said_of_the_next(
    pool: TranscodePool, tmp_path: Path
) -> None:
    stream = bytes(imagecodecs.jpegls_encode(ct()[0]))
    source = encapsulated(tmp_path / "in.dcm", header(24, 20), JPEG_LS, [stream])
    outs = [tmp_path / f"{number}.out" for number in range(6)]
    loud = await asyncio.gather(
        *(pool.transcode(source, EXPLICIT_LE, out, checks=LOSSLESS) for out in outs)
    )
    quiet = await asyncio.gather(*(pool.transcode(source, EXPLICIT_LE, out) for out in outs))
    assert {done.stderr for done in loud} == {"a \\x1b[31mwarning"}
    assert {done.stderr for done in quiet} == {""}


async def test_a_flood_of_messages_blocks_nothing_and_is_cut(tmp_path: Path) -> None:
    pool = TranscodePool(1, seconds=20)
    try:
        assert await pool._run(misbehaving.flood) <= MOST_STDERR
    finally:
        await pool.aclose()


def test_what_was_printed_cannot_steer_a_terminal() -> None:
    assert readable(b"\x1b]0;title\x07\xff one\ntwo\n") == "\\x1b]0;title\\x07\ufffd one | two"


def shifted(stream: bytes) -> bytes:
    """A JPEG lossless codestream whose samples have lost their last bit (T.81 H.1.1)."""
    changed = bytearray(stream)
    changed[changed.index(b"\xff\xda") + 9] |= 1
    return bytes(changed)


def restarted(stream: bytes) -> bytes:
    """One that declares a restart interval, as long as the picture has samples."""
    scan = stream.index(b"\xff\xda")
    return stream[:scan] + b"\xff\xdd\0\4\x01\xe0" + stream[scan:]


@pytest.mark.parametrize("change", [shifted, restarted])
def test_witnesses_are_not_asked_for_what_they_cannot_decode(
    change: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    """They would see another picture, and a sound instance would be held."""
    stream = change(jpeg_lossless(ct()[0] >> 1))
    source = encapsulated(tmp_path / "in.dcm", header(24, 20), JPEG_LOSSLESS, [stream])
    done = transcode(source, EXPLICIT_LE, tmp_path / "out.dcm", checks=ALL)
    assert done.verification is not None
    assert done.verification.state == "one lineage"
