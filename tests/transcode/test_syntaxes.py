"""Every transfer syntax end to end: the self-test's pictures as objects, and what is special."""

import zlib
from itertools import groupby
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from gateway.failures import PermanentFailure
from gateway.transcode.form import Coding
from gateway.transcode.instance import transcode
from gateway.transcode.probes import Probe, all_probes, container_of
from tests.transcode.objects import (
    EXPLICIT_BE,
    EXPLICIT_LE,
    IMPLICIT_LE,
    J2K_LOSSLESS,
    JPEG_BASELINE,
    JPEG_LS,
    RLE,
    encapsulated,
    header,
    little_endian_pixels,
    rle_of,
)

DEFLATED_FRAMES = "1.2.840.10008.1.2.8.1"
UNCOMPRESSED = "1.2.840.10008.1.2.1.98"
PART2_LOSSLESS, PART2 = "1.2.840.10008.1.2.4.92", "1.2.840.10008.1.2.4.93"
JXL, JXL_JPEG = "1.2.840.10008.1.2.4.110", "1.2.840.10008.1.2.4.111"
RNG = np.random.default_rng(5)

BY_SYNTAX = {
    syntax: list(group)
    for syntax, group in groupby(
        sorted(all_probes(), key=lambda one: one.syntax), key=lambda one: one.syntax
    )
}


def result(source: Path, target: str = EXPLICIT_LE) -> Dataset:
    out = source.with_name("out.dcm")
    done = transcode(source, target, out)
    ds = pydicom.dcmread(out)
    ds.done = done
    return ds


def raw(image: np.ndarray, bits: int = 0) -> bytes:
    if bits == 1:
        return np.packbits(image.reshape(-1), bitorder="little").tobytes()
    return image.tobytes()


def deflated(content: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(content) + packer.flush()


def as_object(path: Path, probe: Probe) -> Path:
    allocated = container_of(probe.bits)
    spanning = probe.samples > 3
    ds = header(
        probe.rows,
        probe.columns,
        SamplesPerPixel=1 if spanning else probe.samples,
        PhotometricInterpretation=probe.photometric if not spanning else "MONOCHROME2",
        BitsAllocated=allocated,
        BitsStored=probe.bits,
        HighBit=probe.bits - 1,
        PixelRepresentation=int(probe.signed),
        LossyImageCompression="01",
    )
    if spanning:
        ds.NumberOfFrames = probe.samples
    return encapsulated(path, ds, probe.syntax, [probe.stream])


@pytest.mark.parametrize("target", [EXPLICIT_LE, IMPLICIT_LE, EXPLICIT_BE])
@pytest.mark.parametrize("syntax", sorted(BY_SYNTAX))
def test_every_picture_of_the_self_test_comes_through(
    syntax: str, target: str, tmp_path: Path
) -> None:
    for probe in BY_SYNTAX[syntax]:
        if probe.convert:
            continue  # asked for by a rendition: see the colour table
        out = result(as_object(tmp_path / "in.dcm", probe), target)
        wanted = probe.wanted
        if probe.samples > 3:
            wanted = wanted.transpose(2, 0, 1)
        if probe.bits == 1:
            assert little_endian_pixels(out) == raw(wanted, 1), probe.describe()
            continue
        got = np.frombuffer(little_endian_pixels(out), wanted.dtype).reshape(wanted.shape)
        error = np.abs(got.astype(np.int64) - wanted.astype(np.int64)).max()
        assert error <= probe.bound, probe.describe()


@pytest.mark.parametrize("bits", [1, 8, 16])
@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize("syntax", [DEFLATED_FRAMES, UNCOMPRESSED])
def test_frames_without_a_codec_are_padded_each_on_its_own(
    syntax: str, frames: int, bits: int, tmp_path: Path
) -> None:
    kind = "u1" if bits <= 8 else "<u2"
    images = RNG.integers(0, 1 << bits, (frames, 5, 7)).astype(kind)
    ds = header(5, 7, NumberOfFrames=frames, BitsAllocated=bits, BitsStored=bits, HighBit=bits - 1)
    streams = [raw(image, bits) for image in images]
    if syntax == DEFLATED_FRAMES:
        streams = [deflated(stream) for stream in streams]
    out = result(encapsulated(tmp_path / "in.dcm", ds, syntax, streams))
    assert little_endian_pixels(out) == raw(images, bits)


@pytest.mark.parametrize("syntax", [DEFLATED_FRAMES, UNCOMPRESSED])
def test_planes_of_frames_without_a_codec_are_interleaved(syntax: str, tmp_path: Path) -> None:
    image = RNG.integers(0, 256, (6, 4, 3)).astype("u1")
    ds = header(
        6,
        4,
        SamplesPerPixel=3,
        PhotometricInterpretation="RGB",
        PlanarConfiguration=1,
        BitsAllocated=8,
        BitsStored=8,
        HighBit=7,
    )
    stream = image.transpose(2, 0, 1).tobytes()
    stream = deflated(stream) if syntax == DEFLATED_FRAMES else stream
    out = result(encapsulated(tmp_path / "in.dcm", ds, syntax, [stream]))
    assert out.PlanarConfiguration == 0
    assert out.PixelData == image.tobytes()


@pytest.mark.parametrize("size", [0, 20, 71, 75])
def test_a_deflated_frame_of_another_length_is_refused(size: int, tmp_path: Path) -> None:
    ds = header(6, 6)
    ds_path = encapsulated(tmp_path / "in.dcm", ds, DEFLATED_FRAMES, [deflated(bytes(size))])
    with pytest.raises(PermanentFailure, match=r"72 are needed|could not decode"):
        result(ds_path)


def test_a_cut_deflated_frame_is_refused(tmp_path: Path) -> None:
    stream = deflated(RNG.integers(0, 99, 7200, "u1").tobytes())[:-300]
    source = encapsulated(tmp_path / "in.dcm", header(60, 60), DEFLATED_FRAMES, [stream])
    with pytest.raises(PermanentFailure):
        result(source)


@pytest.mark.parametrize("label", [JPEG_BASELINE, J2K_LOSSLESS, JPEG_LS])
def test_uncompressed_samples_under_a_compressed_label_are_taken_and_recorded(
    label: str, tmp_path: Path
) -> None:
    image = RNG.integers(0, 4096, (6, 4)).astype("<u2")
    out = result(encapsulated(tmp_path / "in.dcm", header(6, 4), label, [image.tobytes()]))
    assert out.PixelData == image.tobytes()
    assert any("holds uncompressed samples" in note for note in out.done.notes)


def test_bits_above_bits_stored_in_rle_are_zeroed_or_sign_extended(tmp_path: Path) -> None:
    words = np.array([[0xF001, 0x0FFF, 0x0800, 0x17FF]], "<u2")
    planes = [(words >> 8).astype("u1").tobytes(), (words & 255).astype("u1").tobytes()]
    for signed, wanted in ((0, [1, 4095, 2048, 2047]), (1, [1, -1, -2048, 2047])):
        ds = header(1, 4, BitsStored=12, HighBit=11, PixelRepresentation=signed)
        out = result(encapsulated(tmp_path / "in.dcm", ds, RLE, [rle_of(planes)]))
        assert np.frombuffer(out.PixelData, "<i2" if signed else "<u2").tolist() == wanted


@pytest.mark.parametrize(
    ("overlay", "kept"),
    [
        ({"position": 12, "allocated": 16, "data": False}, True),
        ({"position": 12, "allocated": 1, "data": False}, True),
        ({"position": 0, "allocated": 1, "data": True}, False),
        ({"position": 12, "allocated": 1, "data": True}, False),
    ],
)
def test_overlays_in_the_high_bits_are_kept_by_their_bit_position(
    overlay: dict[str, Any], kept: bool, tmp_path: Path
) -> None:
    words = np.array([[0x1001, 0x0FFF]], "<u2")
    planes = [(words >> 8).astype("u1").tobytes(), (words & 255).astype("u1").tobytes()]
    ds = header(1, 2, BitsStored=12, HighBit=11)
    ds.add_new(0x60000100, "US", overlay["allocated"])
    ds.add_new(0x60000102, "US", overlay["position"])
    if overlay["data"]:
        ds.add_new(0x60003000, "OW", b"\1\0")
    out = result(encapsulated(tmp_path / "in.dcm", ds, RLE, [rle_of(planes)]))
    assert np.frombuffer(out.PixelData, "<u2").tolist() == ([0x1001, 0xFFF] if kept else [1, 4095])


@pytest.mark.parametrize("groups", [(7,), (4, 3), (1, 5, 1), (2, 2, 2, 1)])
@pytest.mark.parametrize("table", [True, False])
@pytest.mark.parametrize("per_frame", [1, 2])
def test_components_may_run_across_frames(
    groups: tuple[int, ...], table: bool, per_frame: int, tmp_path: Path
) -> None:
    """PS3.5 8.2.4, A.4.4: a codestream holds the frames of one collection as its components."""
    images = RNG.integers(0, 4096, (7, 12, 10)).astype("<u2")
    streams, first = [], 0
    for count in groups:
        stack = np.ascontiguousarray(images[first : first + count].transpose(1, 2, 0))
        stack = stack[..., 0] if count == 1 else stack
        streams.append(
            imagecodecs.jpeg2k_encode(
                stack, level=0, codecformat="j2k", mct=False, bitspersample=12
            )
        )
        first += count
    ds = header(12, 10, NumberOfFrames=7, BitsStored=12, HighBit=11)
    source = encapsulated(
        tmp_path / "in.dcm", ds, PART2_LOSSLESS, streams, table=table, per_frame=per_frame
    )
    out = result(source)
    assert out.PixelData == images.tobytes()
    assert out.NumberOfFrames == 7
    assert out.done.frames == 7


def test_colour_frames_may_share_a_codestream(tmp_path: Path) -> None:
    images = RNG.integers(0, 256, (2, 8, 8, 3)).astype("u1")
    stack = np.ascontiguousarray(images.transpose(1, 2, 0, 3).reshape(8, 8, 6))
    stream = imagecodecs.jpeg2k_encode(stack, level=0, codecformat="j2k", mct=False)
    ds = header(
        8,
        8,
        NumberOfFrames=2,
        SamplesPerPixel=3,
        PhotometricInterpretation="RGB",
        BitsAllocated=8,
        BitsStored=8,
        HighBit=7,
    )
    out = result(encapsulated(tmp_path / "in.dcm", ds, PART2_LOSSLESS, [stream]))
    assert out.PixelData == images.tobytes()


def test_components_that_do_not_make_up_the_frames_are_refused(tmp_path: Path) -> None:
    stack = np.zeros((8, 8, 5), "<u2")
    stream = imagecodecs.jpeg2k_encode(stack, level=0, codecformat="j2k", mct=False)
    ds = header(8, 8, NumberOfFrames=7)
    source = encapsulated(tmp_path / "in.dcm", ds, PART2_LOSSLESS, [stream])
    with pytest.raises(PermanentFailure, match="5 components in 1 codestreams, 7 frames"):
        result(source)


def test_a_jpeg_recompressed_as_jpeg_xl_gives_the_pixels_of_the_jpeg(tmp_path: Path) -> None:
    image = RNG.integers(0, 256, (16, 16, 3)).astype("u1")
    jpeg = imagecodecs.jpeg8_encode(image, level=80, subsampling="420")
    ds = header(
        16,
        16,
        SamplesPerPixel=3,
        PhotometricInterpretation="YBR_FULL_422",
        BitsAllocated=8,
        BitsStored=8,
        HighBit=7,
    )
    source = encapsulated(
        tmp_path / "in.dcm", ds, JXL_JPEG, [imagecodecs.jpegxl_encode_jpeg(jpeg)]
    )
    out = result(source)
    assert out.PhotometricInterpretation == "RGB"
    assert out.PixelData == imagecodecs.jpeg8_decode(jpeg).tobytes()


@pytest.mark.parametrize("cut", [3, 15, 200])
def test_a_cut_jpeg_xl_stream_is_refused(cut: int, tmp_path: Path) -> None:
    image = RNG.integers(0, 4096, (24, 24)).astype("<u2")
    stream = imagecodecs.jpegxl_encode(image, lossless=True, bitspersample=12)[:cut]
    source = encapsulated(tmp_path / "in.dcm", header(24, 24), JXL, [stream])
    with pytest.raises(PermanentFailure):
        result(source)


def test_the_video_syntaxes_are_refused_with_a_clear_text(tmp_path: Path) -> None:
    ds = header(8, 8)
    source = encapsulated(tmp_path / "in.dcm", ds, "1.2.840.10008.1.2.4.102", [bytes(64)])
    with pytest.raises(PermanentFailure, match="is video: it can only be sent as stored"):
        result(source)


def test_the_registry_covers_every_coding_that_can_be_recognised() -> None:
    assert {probe.coding for probe in all_probes()} == set(Coding)
