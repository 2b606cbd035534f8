"""Workers that crash, hang or eat memory, and objects of many frames."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest

from gateway.failures import PermanentFailure, TemporaryFailure
from gateway.model import Checks, Rendition
from gateway.transcode import worker
from gateway.transcode.choose import NativeTooLong
from gateway.transcode.instance import Transcoded
from gateway.transcode.limits import YIELDS
from gateway.transcode.pool import TranscodePool, ranges_of
from gateway.transfer_syntax import DEFLATED
from tests.transcode import misbehaving
from tests.transcode.objects import (
    EXPLICIT_BE,
    EXPLICIT_LE,
    IMPLICIT_LE,
    J2K_LOSSLESS,
    JPEG_LS,
    encapsulated,
    header,
    little_endian_pixels,
    save,
)

RNG = np.random.default_rng(5)


def object_of(folder: Path, first_sample: int, name: str = "in.dcm") -> tuple[Path, np.ndarray]:
    image = RNG.integers(0, 60000, (16, 16)).astype("<u2")
    image[0, 0] = first_sample
    stream = imagecodecs.jpegls_encode(image)
    return encapsulated(folder / name, header(16, 16), JPEG_LS, [stream]), image


def names(folder: Path, part: str) -> list[str]:
    """The files in ``folder`` with ``part`` in their name."""
    return [path.name for path in folder.iterdir() if part in path.name]


@pytest.fixture
async def pool() -> AsyncIterator[TranscodePool]:
    """Two workers whose first JPEG-LS decoder has accidents when asked to."""
    pool = TranscodePool(2, seconds=3, memory=1 << 30, prepare=misbehaving.prepare)
    yield pool
    await pool.aclose()


async def test_an_instance_comes_back_transcoded(pool: TranscodePool, tmp_path: Path) -> None:
    source, image = object_of(tmp_path, 1)
    done = await pool.transcode(source, IMPLICIT_LE, tmp_path / "out.dcm")
    assert (done.decoder, done.notes) == ("first", ())
    assert pydicom.dcmread(tmp_path / "out.dcm").PixelData == image.tobytes()


@pytest.mark.parametrize(
    ("accident", "said"),
    [
        (misbehaving.CRASH, "first brought its worker down (signal 11)"),
        (misbehaving.EXIT, "first brought its worker down (exit status 3)"),
        (misbehaving.HANG, "first did not end within 3 s"),
        (misbehaving.MEMORY, "first asked for more memory than a worker may have"),
        (misbehaving.RAISE, "first could not decode frame 1: RuntimeError this decoder gives up"),
    ],
)
async def test_the_next_decoder_takes_over(
    pool: TranscodePool, tmp_path: Path, accident: int, said: str
) -> None:
    source, image = object_of(tmp_path, accident)
    done = await pool.transcode(source, EXPLICIT_LE, tmp_path / "out.dcm")
    assert (done.decoder, done.notes) == ("second", (said,))
    assert pydicom.dcmread(tmp_path / "out.dcm").PixelData == image.tobytes()


async def test_two_lost_workers_are_enough_and_others_are_not_disturbed(
    pool: TranscodePool, tmp_path: Path
) -> None:
    bad, _ = object_of(tmp_path, misbehaving.ALL_CRASH)
    good = [object_of(tmp_path, 1, f"good{n}.dcm")[0] for n in range(6)]
    outcomes = await asyncio.gather(
        pool.transcode(bad, EXPLICIT_LE, tmp_path / "bad.out"),
        *(pool.transcode(one, EXPLICIT_LE, one.with_suffix(".out")) for one in good),
        return_exceptions=True,
    )
    assert isinstance(outcomes[0], PermanentFailure)
    assert str(outcomes[0]).startswith(
        "first brought its worker down (signal 11); second brought its worker down (signal 11)"
    )
    assert all(isinstance(one, Transcoded) for one in outcomes[1:])
    assert not names(tmp_path, "bad.out")


async def test_failures_keep_their_kind_on_the_way_out_of_a_worker(
    pool: TranscodePool, tmp_path: Path
) -> None:
    source, _ = object_of(tmp_path, 1)
    with pytest.raises(TemporaryFailure, match="cannot write"):
        await pool.transcode(source, EXPLICIT_LE, tmp_path / "no" / "out.dcm")
    source.write_bytes(b"no DICOM at all")
    with pytest.raises(PermanentFailure):
        await pool.transcode(source, EXPLICIT_LE, tmp_path / "out.dcm")


async def test_what_is_too_long_uncompressed_is_no_undecodable_instance(
    pool: TranscodePool, tmp_path: Path
) -> None:
    stream = bytearray(imagecodecs.jpeg2k_encode(np.zeros((8, 8), "u2"), codecformat="j2k"))
    stream[8:16] = stream[24:32] = (16000).to_bytes(4, "big") * 2
    ds = header(16000, 16000, NumberOfFrames=9)
    source = encapsulated(tmp_path / "in.dcm", ds, J2K_LOSSLESS, [bytes(stream)] * 9)
    with pytest.raises(NativeTooLong, match="it can only be sent as stored"):
        await pool.transcode(source, EXPLICIT_LE, tmp_path / "out.dcm")


async def test_many_small_instances_go_as_one_task(pool: TranscodePool, tmp_path: Path) -> None:
    sources = [object_of(tmp_path, 1, f"{n}.dcm")[0] for n in range(5)]
    sources[3].write_bytes(b"no DICOM at all")
    outcomes = await pool.transcode_many(
        [(one, one.with_suffix(".out")) for one in sources], EXPLICIT_LE
    )
    kinds = [type(one).__name__ for one in outcomes]
    assert kinds[:3] == ["Transcoded"] * 3
    assert isinstance(outcomes[3], PermanentFailure)
    assert len(names(tmp_path, ".out")) == 4


async def test_a_batch_whose_worker_is_lost_is_taken_one_by_one(
    pool: TranscodePool, tmp_path: Path
) -> None:
    sources = [
        object_of(tmp_path, first, f"{n}.dcm")[0]
        for n, first in enumerate((1, misbehaving.CRASH, 1))
    ]
    outcomes = await pool.transcode_many(
        [(one, one.with_suffix(".out")) for one in sources], EXPLICIT_LE
    )
    assert [one.decoder for one in outcomes if isinstance(one, Transcoded)] == [
        "first",
        "second",
        "first",
    ]


async def test_a_batch_that_is_given_up_leaves_nothing_half_written(
    pool: TranscodePool, tmp_path: Path
) -> None:
    source, _ = object_of(tmp_path, misbehaving.HANG)
    pairs = [(source, tmp_path / f"{n}.out") for n in range(2)]
    running = asyncio.create_task(pool.transcode_many(pairs, EXPLICIT_LE))
    async with asyncio.timeout(30):
        while not names(tmp_path, ".out"):  # noqa: ASYNC110 - the worker tells nobody
            await asyncio.sleep(0.005)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert names(tmp_path, ".out") == []


def many_frames(
    folder: Path, accident: int = 0, where: int | slice = 16
) -> tuple[Path, np.ndarray]:
    """30 frames of 512 kB, the 17th of which (or those at ``where``) may ask for an accident."""
    images = np.arange(30 * 512 * 512, dtype="u4").reshape(30, 512, 512).astype("<u2")
    images[:, 0, 0] = 1
    if accident:
        images[where, 0, 0] = accident
    streams = [imagecodecs.jpegls_encode(image) for image in images]
    ds = header(512, 512, NumberOfFrames=30)
    return encapsulated(folder / "many.dcm", ds, JPEG_LS, streams), images


async def test_many_frames_are_decoded_by_several_workers_into_one_file(
    pool: TranscodePool, tmp_path: Path
) -> None:
    source, images = many_frames(tmp_path)
    done = await pool.transcode(source, EXPLICIT_LE, tmp_path / "out.dcm")
    assert (done.frames, done.size) == (30, (tmp_path / "out.dcm").stat().st_size)
    assert little_endian_pixels(pydicom.dcmread(tmp_path / "out.dcm")) == images.tobytes()
    assert not names(tmp_path, ".tmp")


@pytest.mark.parametrize("accident", [misbehaving.CRASH, misbehaving.RAISE])
async def test_one_bad_frame_of_many_restarts_all_with_the_next_decoder(
    pool: TranscodePool, tmp_path: Path, accident: int
) -> None:
    source, images = many_frames(tmp_path, accident)
    done = await pool.transcode(source, EXPLICIT_LE, tmp_path / "out.dcm")
    assert done.decoder == "second"
    assert len(done.notes) == 1
    assert done.notes[0].startswith("first ")
    assert little_endian_pixels(pydicom.dcmread(tmp_path / "out.dcm")) == images.tobytes()


@pytest.mark.parametrize("syntax", [IMPLICIT_LE, DEFLATED, EXPLICIT_BE])
async def test_many_native_frames_are_rendered_from_their_own_places(
    pool: TranscodePool, tmp_path: Path, syntax: str
) -> None:
    images = RNG.integers(0, 256, (30, 512, 512, 3)).astype("u1")
    ds = header(512, 512, SamplesPerPixel=3, PhotometricInterpretation="RGB", NumberOfFrames=30)
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8, 8, 7
    ds.PixelData = images.tobytes()
    ds["PixelData"].VR = "OW" if syntax == IMPLICIT_LE else "OB"
    source = save(tmp_path / "in.dcm", ds, syntax)
    wanted = Rendition(planar="separate")
    await pool.transcode(source, EXPLICIT_LE, tmp_path / "out.dcm", wanted)
    out = pydicom.dcmread(tmp_path / "out.dcm")
    assert out.PlanarConfiguration == 1
    assert little_endian_pixels(out) == images.tobytes()


def test_a_large_object_is_split_and_a_small_one_is_not(tmp_path: Path) -> None:
    source, _ = many_frames(tmp_path)
    small, _ = object_of(tmp_path, 1)
    arguments = (EXPLICIT_LE, tmp_path / "out.dcm", Rendition(), 0, Checks())
    assert isinstance(worker.transcode_or_split(source, *arguments), worker.Split)
    assert isinstance(worker.transcode_or_split(small, *arguments), Transcoded)


def test_a_range_out_of_patience_stops_after_a_frame_and_says_how_far_it_came(
    tmp_path: Path,
) -> None:
    source, images = many_frames(tmp_path)
    split = worker.transcode_or_split(
        source, EXPLICIT_LE, tmp_path / "out.dcm", Rendition(), 0, Checks()
    )
    assert isinstance(split, worker.Split)
    first = worker.decode_range(split.part(3, 30), 3, 0.0)
    rest = worker.decode_range(split.part(4, 30), 4, 60.0)
    assert (first.frames, rest.frames) == (1, 26)
    written = (tmp_path / "out.dcm.tmp").read_bytes()[split.offset :]
    assert written[3 * images[0].nbytes : images.nbytes] == images[3:].tobytes()


async def test_a_lone_worker_has_its_time_for_a_frame_and_not_for_a_range(
    tmp_path: Path,
) -> None:
    source, images = many_frames(tmp_path, misbehaving.SLOW, slice(None))
    ((first, stop),) = ranges_of(len(images), 1, images[0].nbytes)
    assert (stop - first) * misbehaving.SECONDS_PER_SLOW_FRAME > 1
    pool = TranscodePool(1, seconds=1, prepare=misbehaving.prepare)
    try:
        done = await pool.transcode(source, EXPLICIT_LE, tmp_path / "out.dcm")
    finally:
        await pool.aclose()
    assert (done.decoder, done.notes) == ("first", ())
    assert little_endian_pixels(pydicom.dcmread(tmp_path / "out.dcm")) == images.tobytes()


@pytest.mark.parametrize(
    ("frames", "workers", "frame_bytes", "lengths"),
    [
        (16, 1, 1 << 20, [16]),
        (160, 1, 1 << 20, [128, 32]),
        (48, 2, 512 << 10, [21, 21, 3, 3]),
        (48, 16, 512 << 10, [3] * 16),
        (9, 2, 400 << 20, [1] * 9),
    ],
)
def test_ranges_become_shorter_towards_the_end_and_have_no_more_bytes_than_they_may(
    frames: int, workers: int, frame_bytes: int, lengths: list[int]
) -> None:
    found = list(ranges_of(frames, workers, frame_bytes))
    assert [stop - first for first, stop in found] == lengths
    assert [first for first, _ in found] == [0, *(stop for _, stop in found[:-1])]


@pytest.mark.parametrize("workers", [1, 2, 3, 8])
def test_every_frame_of_a_long_object_is_in_one_range(workers: int) -> None:
    found = list(ranges_of(8_000, workers, 512 << 10))
    assert [frame for each in found for frame in range(*each)] == list(range(8_000))
    assert max(stop - first for first, stop in found) <= 256


async def test_closing_leaves_no_worker_behind(tmp_path: Path) -> None:
    pool = TranscodePool(1)
    source, _ = object_of(tmp_path, 1)
    await pool.transcode(source, EXPLICIT_LE, tmp_path / "out.dcm")
    pid = await pool._run(os.getpid)
    await pool.aclose()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_workers_keep_their_limits(tmp_path: Path) -> None:
    pool = TranscodePool(1, memory=1 << 30)
    try:
        limits = await pool._run(misbehaving.limits_here)
    finally:
        await pool.aclose()
    own = {"core": 0, "data": 1 << 30, "stderr": True}
    nice = min(19, os.getpriority(os.PRIO_PROCESS, 0) + YIELDS)
    assert limits == own | {"file": 5 << 30, "processes": 0, "nice": nice}


async def test_a_decoder_that_burns_processor_time_is_ended_by_the_kernel(tmp_path: Path) -> None:
    """Long before the clock on the wall; the next one takes over."""
    pool = TranscodePool(1, seconds=60, prepare=misbehaving.prepare_impatient)
    source, _ = object_of(tmp_path, misbehaving.BURN)
    try:
        done = await pool.transcode(source, EXPLICIT_LE, tmp_path / "out.dcm")
    finally:
        await pool.aclose()
    said = f"first brought its worker down (signal {int(signal.SIGXCPU)})"
    assert (done.decoder, done.notes) == ("second", (said,))


async def test_a_frame_of_8192_by_8192_comes_through(tmp_path: Path) -> None:
    """As a mammogram or a slide level has it: 128 MiB in one frame."""
    pool = TranscodePool(1)
    y, x = np.ogrid[:8192, :8192]
    image = (y * 3 + x * 5 & 0xFFF).astype("<u2")
    stream = imagecodecs.jpegls_encode(image)
    source = encapsulated(tmp_path / "in.dcm", header(8192, 8192), JPEG_LS, [stream])
    try:
        done = await pool.transcode(source, EXPLICIT_LE, tmp_path / "out.dcm")
    finally:
        await pool.aclose()
    assert done.size > image.nbytes
    assert pydicom.dcmread(tmp_path / "out.dcm").PixelData == image.tobytes()


async def test_an_idle_worker_that_dies_is_replaced(tmp_path: Path) -> None:
    pool = TranscodePool(1)
    source, _ = object_of(tmp_path, 1)
    try:
        pid = await pool._run(os.getpid)
        os.kill(pid, signal.SIGKILL)
        await pool.transcode(source, EXPLICIT_LE, tmp_path / "out.dcm")
        assert await pool._run(os.getpid) != pid
    finally:
        await pool.aclose()


async def test_a_closed_pool_says_try_later(tmp_path: Path) -> None:
    pool = TranscodePool(1)
    await pool.aclose()
    source, _ = object_of(tmp_path, 1)
    with pytest.raises(TemporaryFailure, match="stopped"):
        await pool.transcode(source, EXPLICIT_LE, tmp_path / "out.dcm")


async def test_a_stop_iteration_in_a_worker_does_not_leave_its_task_waiting() -> None:
    pool = TranscodePool(1)
    try:
        with pytest.raises(PermanentFailure, match=r"nobody foresaw \(RuntimeError\)"):
            await asyncio.wait_for(pool._run(misbehaving.end_early), 30)
    finally:
        await pool.aclose()


async def test_samples_deeper_than_32_bits_are_refused(tmp_path: Path) -> None:
    stream = bytearray(
        imagecodecs.jpeg2k_encode(np.zeros((8, 8), "u2"), level=0, codecformat="j2k")
    )
    stream[42] = 37
    source = encapsulated(tmp_path / "in.dcm", header(8, 8), J2K_LOSSLESS, [bytes(stream)])
    with pytest.raises(PermanentFailure, match="samples of 38 bits"):
        worker.transcode_or_split(source, EXPLICIT_LE, tmp_path / "o", Rendition(), 0, Checks())


async def test_a_transcode_that_is_given_up_frees_its_worker(tmp_path: Path) -> None:
    pool = TranscodePool(1, seconds=300, memory=1 << 30, prepare=misbehaving.prepare)
    hanging, _ = object_of(tmp_path, misbehaving.HANG, "hanging.dcm")
    good, image = object_of(tmp_path, 1)
    try:
        given_up = asyncio.create_task(
            pool.transcode(hanging, EXPLICIT_LE, tmp_path / "hanging.out")
        )
        async with asyncio.timeout(60):
            while not names(tmp_path, "hanging.out"):  # noqa: ASYNC110 - the worker tells nobody
                await asyncio.sleep(0.01)
        given_up.cancel()
        await asyncio.wait((given_up,))
        async with asyncio.timeout(60):
            await pool.transcode(good, EXPLICIT_LE, tmp_path / "out.dcm")
        assert pydicom.dcmread(tmp_path / "out.dcm").PixelData == image.tobytes()
        assert not names(tmp_path, "hanging.out")
    finally:
        await pool.aclose()
