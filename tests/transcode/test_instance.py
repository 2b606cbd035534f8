"""One file in, one file out: what changes, what does not, and what is refused."""

import tracemalloc
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.datadict import add_private_dict_entry
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from gateway.failures import PermanentFailure, TemporaryFailure
from gateway.model import Checks, Rendition
from gateway.transcode.instance import transcode
from gateway.transfer_syntax import BY_NAME, DEFLATED
from tests.transcode.attributes import differences
from tests.transcode.objects import (
    EXPLICIT_BE,
    EXPLICIT_LE,
    IMPLICIT_LE,
    J2K_LOSSLESS,
    JPEG_BASELINE,
    JPEG_LOSSLESS,
    JPEG_LS,
    RLE,
    TARGETS,
    encapsulated,
    header,
    little_endian_pixels,
    rle_of,
    save,
)

RNG = np.random.default_rng(3)


def noise(*shape: int, bits: int = 16) -> np.ndarray:
    return RNG.integers(0, 1 << bits, shape).astype("u1" if bits <= 8 else "<u2")


def jls(image: np.ndarray) -> bytes:
    stream: bytes = imagecodecs.jpegls_encode(image)
    return stream


def result(source: Path, target: str = EXPLICIT_LE, **more: Any) -> Dataset:
    out = source.with_name("out.dcm")
    done = transcode(source, target, out, **more)
    assert done.size == out.stat().st_size
    assert not out.with_name("out.dcm.tmp").exists()
    ds = pydicom.dcmread(out)
    assert ds.PhotometricInterpretation == done.photometric
    ds.done = done
    return ds


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("frames", [1, 2, 11])
@pytest.mark.parametrize(("rows", "columns"), [(8, 6), (3, 5)])
def test_every_frame_stands_in_its_place(
    target: str, frames: int, rows: int, columns: int, tmp_path: Path
) -> None:
    images = noise(frames, rows, columns, bits=8)
    ds = header(rows, columns, BitsAllocated=8, BitsStored=8, HighBit=7, NumberOfFrames=frames)
    source = encapsulated(tmp_path / "in.dcm", ds, JPEG_LS, [jls(image) for image in images])
    out = result(source, target)
    assert little_endian_pixels(out) == images.tobytes()
    assert len(out.PixelData) == len(images.tobytes()) + len(images.tobytes()) % 2
    assert list(differences(pydicom.dcmread(source), out)) == []
    assert (out.done.decoder, out.done.frames) == ("imagecodecs", frames)
    assert ("OB" if target != IMPLICIT_LE else "OW") == out["PixelData"].VR


def test_bytes_outside_pixel_data_are_those_of_the_original(tmp_path: Path) -> None:
    image = noise(4, 4)
    ds = header(4, 4)
    ds.add_new(0x00091001, "UN", b"\1\2\3\4")
    ds.add_new(0xFFFCFFFC, "OB", b"\0\0\0\0")
    source = encapsulated(tmp_path / "in.dcm", ds, JPEG_LS, [jls(image)])
    result(source)
    before, after = source.read_bytes(), (tmp_path / "out.dcm").read_bytes()
    start, stop = before.index(b"\x08\0\x16\0UI"), before.index(b"\xe0\x7f\x10\0")
    assert before[start:stop] in after
    assert after.endswith(before[-12:])


def test_sixteen_bit_pixels_are_words_in_big_endian(tmp_path: Path) -> None:
    image = noise(4, 4)
    source = encapsulated(tmp_path / "in.dcm", header(4, 4), JPEG_LS, [jls(image)])
    out = result(source, EXPLICIT_BE)
    assert out.PixelData == image.astype(">u2").tobytes()
    assert out["PixelData"].VR == "OW"


@pytest.mark.parametrize("extended", [False, True])
def test_offset_tables_are_removed(extended: bool, tmp_path: Path) -> None:
    images = noise(3, 5, 5)
    ds = header(5, 5, NumberOfFrames=3)
    streams = [jls(image) for image in images]
    source = encapsulated(tmp_path / "in.dcm", ds, JPEG_LS, streams, extended=extended)
    out = result(source)
    assert out.PixelData == images.tobytes()
    assert "ExtendedOffsetTable" not in out
    assert "ExtendedOffsetTableLengths" not in out


@pytest.mark.parametrize("table", [True, False])
def test_frames_in_several_fragments_are_joined(table: bool, tmp_path: Path) -> None:
    images = noise(3, 9, 9)
    streams = [jls(image) for image in images]
    ds = header(9, 9, NumberOfFrames=3)
    source = encapsulated(tmp_path / "in.dcm", ds, JPEG_LS, streams, per_frame=3, table=table)
    assert result(source).PixelData == images.tobytes()


@pytest.mark.parametrize("target", TARGETS)
def test_single_bits_are_packed_across_frames(target: str, tmp_path: Path) -> None:
    images = RNG.integers(0, 2, (5, 3, 7)).astype("u1")
    packed = [np.packbits(i.reshape(-1), bitorder="little").tobytes() for i in images]
    ds = header(3, 7, BitsAllocated=1, BitsStored=1, HighBit=0, NumberOfFrames=5)
    source = encapsulated(tmp_path / "in.dcm", ds, RLE, [rle_of([one]) for one in packed])
    wanted = np.packbits(images.reshape(-1), bitorder="little").tobytes()
    assert result(source, target).PixelData == wanted


def test_the_colour_of_the_codestream_goes_into_the_header(tmp_path: Path) -> None:
    ds = header(
        16,
        16,
        SamplesPerPixel=3,
        PhotometricInterpretation="YBR_FULL_422",
        BitsAllocated=8,
        BitsStored=8,
        HighBit=7,
    )
    stream = imagecodecs.jpeg8_encode(noise(16, 16, 3, bits=8), subsampling="422")
    source = encapsulated(tmp_path / "in.dcm", ds, JPEG_BASELINE, [stream])
    out = result(source)
    assert out.PhotometricInterpretation == "YBR_FULL"
    assert out.PlanarConfiguration == 0
    wanted = imagecodecs.jpeg8_decode(stream, colorspace="YCBCR", outcolorspace="YCBCR")
    assert out.PixelData == wanted.tobytes()
    assert any("JFIF" in note for note in out.done.notes)
    rgb = result(source, rendition=Rendition(color="RGB"))
    assert rgb.PhotometricInterpretation == "RGB"
    assert rgb.PixelData == imagecodecs.jpeg8_decode(stream).tobytes()
    planes = result(source, rendition=Rendition(color="RGB", planar="separate"))
    assert planes.PlanarConfiguration == 1
    separated = imagecodecs.jpeg8_decode(stream).transpose(2, 0, 1).tobytes()
    assert planes.PixelData == separated


def test_lossy_provenance_is_added_where_it_is_missing(tmp_path: Path) -> None:
    image = noise(16, 16, bits=8)
    ds = header(16, 16, BitsAllocated=8, BitsStored=8, HighBit=7)
    stream = imagecodecs.jpeg8_encode(image, level=50)
    out = result(encapsulated(tmp_path / "in.dcm", ds, JPEG_BASELINE, [stream]))
    assert out.LossyImageCompression == "01"
    assert out.LossyImageCompressionMethod == "ISO_10918_1"
    assert 0.3 < float(out.LossyImageCompressionRatio) < 10


def test_one_lossy_frame_behind_reversible_ones_is_enough_for_provenance(tmp_path: Path) -> None:
    images = noise(3, 16, 16, bits=8)
    ds = header(16, 16, BitsAllocated=8, BitsStored=8, HighBit=7, NumberOfFrames=3)
    streams = [jls(images[0]), jls(images[1]), imagecodecs.jpegls_encode(images[2], level=3)]
    near = "1.2.840.10008.1.2.4.81"
    out = result(encapsulated(tmp_path / "in.dcm", ds, near, streams))
    assert out.LossyImageCompression == "01"
    out = result(encapsulated(tmp_path / "in.dcm", ds, near, [jls(image) for image in images]))
    assert "LossyImageCompression" not in out


def test_lossy_provenance_that_is_there_is_kept(tmp_path: Path) -> None:
    ds = header(16, 16, BitsAllocated=8, BitsStored=8, HighBit=7)
    ds.LossyImageCompression, ds.LossyImageCompressionRatio = "01", "7.5"
    stream = imagecodecs.jpeg8_encode(noise(16, 16, bits=8))
    out = result(encapsulated(tmp_path / "in.dcm", ds, JPEG_BASELINE, [stream]))
    assert out.LossyImageCompressionRatio == 7.5
    assert "LossyImageCompressionMethod" not in out


def test_bits_that_contradict_the_codestream_are_mended_and_noted(tmp_path: Path) -> None:
    image = noise(6, 6, bits=12)
    ds = header(6, 6, BitsAllocated=8, BitsStored=8, HighBit=7)
    stream = imagecodecs.jpeg8_encode(image, lossless=True, bitspersample=12)
    out = result(encapsulated(tmp_path / "in.dcm", ds, JPEG_LOSSLESS, [stream]))
    assert (out.BitsAllocated, out.BitsStored, out.HighBit) == (16, 12, 11)
    assert out.PixelData == image.tobytes()
    assert any("mended" in note for note in out.done.notes)


def test_a_signed_jpeg_2000_codestream_mends_the_sign(tmp_path: Path) -> None:
    image = noise(8, 8).astype("i2")
    stream = imagecodecs.jpeg2k_encode(image, level=0, codecformat="j2k")
    out = result(encapsulated(tmp_path / "in.dcm", header(8, 8), J2K_LOSSLESS, [stream]))
    assert out.PixelRepresentation == 1
    assert out.PixelData == image.tobytes()


@pytest.mark.parametrize("target", TARGETS)
def test_a_second_delimiter_behind_pixel_data_does_not_go_out(target: str, tmp_path: Path) -> None:
    """Some encoders write two; DCMTK reads no data set that ends with one."""
    image = noise(8, 8)
    source = encapsulated(tmp_path / "in.dcm", header(8, 8), JPEG_LS, [jls(image)])
    delimiter = b"\xfe\xff\xdd\xe0\0\0\0\0"
    source.write_bytes(source.read_bytes() + delimiter)
    out = result(source, target)
    assert (tmp_path / "out.dcm").read_bytes().endswith(out.PixelData)
    assert any("second Sequence Delimitation Item" in note for note in out.done.notes)


def icon(frame: bytes, rows: int, columns: int) -> Dataset:
    ds = header(rows, columns, BitsAllocated=8, BitsStored=8, HighBit=7)
    del ds.SOPClassUID, ds.SOPInstanceUID, ds.PatientID
    ds.PixelData = pydicom.encaps.encapsulate([frame])
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True
    return ds


@pytest.mark.parametrize("target", TARGETS)
def test_an_encapsulated_icon_is_decoded_too(target: str, tmp_path: Path) -> None:
    image, small = noise(8, 8), noise(3, 3, bits=8)
    ds = header(8, 8)
    ds.IconImageSequence = Sequence([icon(jls(small), 3, 3)])
    out = result(encapsulated(tmp_path / "in.dcm", ds, JPEG_LS, [jls(image)]), target)
    assert little_endian_pixels(out) == image.tobytes()
    (item,) = out.IconImageSequence
    assert item.PixelData == small.tobytes() + b"\0"
    assert (item.Rows, item.BitsAllocated) == (3, 8)


@pytest.mark.parametrize("target", TARGETS)
def test_a_thumbnail_in_a_private_sequence_is_decoded_too(target: str, tmp_path: Path) -> None:
    """Archives put them there; no native transfer syntax holds fragments (PS3.5 A.4)."""
    for number, vr in ((1, "LO"), (2, "CS"), (0xCE, "SQ")):
        add_private_dict_entry("ARCHIVE", 0x07A31000 | number, vr, "of a thumbnail")
    image, small = noise(8, 8), noise(4, 3, bits=8)
    inside, ds = Dataset(), header(8, 8)
    inside.IconImageSequence = Sequence([icon(jls(small), 4, 3)])
    inside.private_block(0x07A3, "ARCHIVE", create=True).add_new(2, "CS", "N")
    block = ds.private_block(0x07A3, "ARCHIVE", create=True)
    block.add_new(1, "LO", "before")
    block.add_new(0xCE, "SQ", Sequence([icon(jls(small), 4, 3), inside]))
    ds.ReferencedImageSequence = Sequence([Dataset()])
    out = result(encapsulated(tmp_path / "in.dcm", ds, JPEG_LS, [jls(image)]), target)
    assert little_endian_pixels(out) == image.tobytes()
    first, second = out[0x07A310CE].value
    for item in (first, second.IconImageSequence[0]):
        assert (item.Rows, item.BitsAllocated) == (4, 8)
        assert item.PixelData == small.tobytes()
    assert [out[0x07A31001].value, second[0x07A31002].value] == ["before", "N"]
    assert len(out.ReferencedImageSequence) == 1


def test_an_icon_is_decoded_where_there_is_no_image(tmp_path: Path) -> None:
    small, ds = noise(4, 3, bits=8), Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.11.1", "2.25.7"
    ds.IconImageSequence = Sequence([icon(jls(small), 4, 3)])
    out = tmp_path / "out.dcm"
    transcode(save(tmp_path / "in.dcm", ds, JPEG_LS), EXPLICIT_LE, out)
    assert pydicom.dcmread(out).IconImageSequence[0].PixelData == small.tobytes()


def test_an_undecodable_thumbnail_fails_the_instance_and_is_named(tmp_path: Path) -> None:
    ds = header(8, 8)
    block = ds.private_block(0x07A3, "ARCHIVE", create=True)
    block.add_new(0xCE, "SQ", Sequence([icon(jls(noise(4, 3, bits=8))[:-9], 4, 3)]))
    with pytest.raises(PermanentFailure, match=r"Pixel Data within \(07A3,10CE\)"):
        result(encapsulated(tmp_path / "in.dcm", ds, JPEG_LS, [jls(noise(8, 8))]))


def test_native_pixel_data_of_odd_length_is_padded_in_its_own_syntax_too(tmp_path: Path) -> None:
    image = noise(3, 5, bits=8)
    ds = header(3, 5, BitsAllocated=8, BitsStored=8, HighBit=7)
    ds.PixelData = image.tobytes() + b"\0"
    source = save(tmp_path / "in.dcm", ds, EXPLICIT_LE)
    content = bytearray(source.read_bytes()[:-1])
    content[content.index(b"\xe0\x7f\x10\x00") + 8] = 15
    source.write_bytes(content)
    assert len(content) % 2
    out = result(source)
    assert (out.done.size % 2, out.PixelData) == (0, image.tobytes() + b"\0")


@pytest.mark.parametrize("source", [*TARGETS, DEFLATED])
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("allocated", [8, 16, 32])
def test_native_pixels_keep_their_values_in_every_byte_order(
    source: str, target: str, allocated: int, tmp_path: Path
) -> None:
    image = RNG.integers(0, 256, 7 * 3 * allocated // 8).astype("u1").view(f"<u{allocated // 8}")
    ds = header(7, 3, BitsAllocated=allocated, BitsStored=allocated, HighBit=allocated - 1)
    stored = image.astype(f">u{allocated // 8}") if source == EXPLICIT_BE else image
    ds.PixelData = stored.tobytes() + b"\0" * (image.nbytes % 2)
    ds["PixelData"].VR = "OB" if allocated == 8 and source != IMPLICIT_LE else "OW"
    out = result(save(tmp_path / "in.dcm", ds, source), target)
    assert little_endian_pixels(out) == image.tobytes()
    assert out.done.decoder == ""


def test_words_of_8_bit_pixels_are_swapped_as_words(tmp_path: Path) -> None:
    ds = header(2, 2, BitsAllocated=8, BitsStored=8, HighBit=7)
    ds.PixelData = bytes((2, 1, 4, 3))
    ds["PixelData"].VR = "OW"
    source = save(tmp_path / "in.dcm", ds, EXPLICIT_BE)
    assert result(source, EXPLICIT_LE).PixelData == bytes((1, 2, 3, 4))


def most_memory(source: Path, target: str, **more: Any) -> int:
    """The most bytes that were held at once while ``source`` was transcoded."""
    tracemalloc.start()
    try:
        transcode(source, target, source.with_name("out.dcm"), **more)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("source", "target", "rendition"),
    [
        (EXPLICIT_LE, EXPLICIT_BE, Rendition()),
        (EXPLICIT_BE, IMPLICIT_LE, Rendition()),
        (EXPLICIT_BE, EXPLICIT_LE, Rendition(planar="separate")),
    ],
)
def test_the_byte_order_of_a_large_object_is_changed_in_little_memory(
    source: str, target: str, rendition: Rendition, tmp_path: Path
) -> None:
    images = np.arange(24 * 512 * 512 * 3, dtype="u4").astype("<u2").reshape(24, 512, 512, 3)
    ds = header(512, 512, SamplesPerPixel=3, PhotometricInterpretation="RGB", NumberOfFrames=24)
    ds.PixelData = images.astype(">u2" if source == EXPLICIT_BE else "<u2").tobytes()
    ds["PixelData"].VR = "OW"
    stored = save(tmp_path / "in.dcm", ds, source)
    assert most_memory(stored, target, rendition=rendition) < images.nbytes // 2
    out = pydicom.dcmread(tmp_path / "out.dcm")
    assert out.get("PlanarConfiguration") == (1 if rendition.planar else 0)
    assert little_endian_pixels(out) == images.tobytes()


def test_frames_of_words_that_end_within_a_word_are_swapped_too(tmp_path: Path) -> None:
    images = noise(4, 3, 1, 3, bits=8)
    ds = header(3, 1, SamplesPerPixel=3, PhotometricInterpretation="RGB", NumberOfFrames=4)
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8, 8, 7
    ds.PixelData = images.reshape(-1).view("u2").byteswap().tobytes()
    ds["PixelData"].VR = "OW"
    source = save(tmp_path / "in.dcm", ds, EXPLICIT_BE)
    out = result(source, rendition=Rendition(planar="separate"))
    assert little_endian_pixels(out) == images.tobytes()


def test_native_ybr_full_422_becomes_rgb_for_a_node_that_reads_only_rgb(tmp_path: Path) -> None:
    ds = header(1, 2, SamplesPerPixel=3, PhotometricInterpretation="YBR_FULL_422")
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8, 8, 7
    ds.PixelData = bytes((255, 0, 128, 128))
    ds["PixelData"].VR = "OB"
    out = result(save(tmp_path / "a.dcm", ds, EXPLICIT_LE), rendition=Rendition(color="RGB"))
    assert out.PixelData == bytes((255, 255, 255, 0, 0, 0))
    assert out.PhotometricInterpretation == "RGB"
    ds.PixelData = bytes((255, 128, 128, 0, 128, 128))
    out = result(save(tmp_path / "a.dcm", ds, EXPLICIT_LE), rendition=Rendition(color="RGB"))
    assert out.PixelData == bytes((255, 255, 255, 0, 0, 0))


def test_native_planes_are_interleaved_where_the_node_asks_for_it(tmp_path: Path) -> None:
    image = noise(4, 5, 3, bits=8)
    ds = header(4, 5, SamplesPerPixel=3, PhotometricInterpretation="RGB", PlanarConfiguration=1)
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8, 8, 7
    ds.PixelData = np.ascontiguousarray(image.transpose(2, 0, 1)).tobytes()
    ds["PixelData"].VR = "OB"
    source = save(tmp_path / "in.dcm", ds, EXPLICIT_LE)
    out = result(source, rendition=Rendition(planar="interleaved"))
    assert (out.PixelData, out.PlanarConfiguration) == (image.tobytes(), 0)
    assert result(source).PixelData == ds.PixelData


def test_native_pixels_that_are_copied_need_no_number_of_frames(tmp_path: Path) -> None:
    image = noise(4, 4)
    ds = header(4, 4, NumberOfFrames=11)
    ds.PixelData = image.tobytes()
    ds["PixelData"].VR = "OW"
    source = save(tmp_path / "in.dcm", ds, EXPLICIT_LE)
    source.write_bytes(source.read_bytes().replace(b"IS\2\x0011", b"IS\2\x001A"))
    transcode(source, IMPLICIT_LE, tmp_path / "out.dcm", checks=Checks(digests=True))
    assert b"\x28\0\x08\0\2\0\0\x001A" in (tmp_path / "out.dcm").read_bytes()
    assert (tmp_path / "out.dcm").read_bytes().endswith(image.tobytes())


def refused(source: Path, said: str, target: str = EXPLICIT_LE) -> None:
    out = source.with_name("out.dcm")
    with pytest.raises(PermanentFailure, match=said):
        transcode(source, target, out)
    assert {path.name for path in source.parent.iterdir()} == {source.name}


def test_a_native_result_beyond_four_gigabytes_is_refused_before_decoding(tmp_path: Path) -> None:
    stream = bytearray(imagecodecs.jpeg2k_encode(noise(8, 8), level=0, codecformat="j2k"))
    stream[8:16] = (16000).to_bytes(4, "big") * 2
    stream[24:32] = (16000).to_bytes(4, "big") * 2
    ds = header(16000, 16000, NumberOfFrames=9)
    source = encapsulated(tmp_path / "in.dcm", ds, J2K_LOSSLESS, [bytes(stream)] * 9)
    refused(source, "4608000000 bytes of Pixel Data and the standard allows 4294967294")


def test_video_is_refused(tmp_path: Path) -> None:
    syntax = BY_NAME["mpeg4-high"].uid
    source = encapsulated(tmp_path / "in.dcm", header(8, 8), syntax, [b"\0\0\1\xb3"])
    refused(source, "is video: it can only be sent as stored")


def test_an_unknown_transfer_syntax_is_refused(tmp_path: Path) -> None:
    source = encapsulated(tmp_path / "in.dcm", header(8, 8), JPEG_LS, [jls(noise(8, 8))])
    source.write_bytes(
        source.read_bytes().replace(b"1.2.840.10008.1.2.4.80", b"1.2.840.10008.9.9.9.99")
    )
    refused(source, "unknown here")


def test_compressed_targets_are_refused(tmp_path: Path) -> None:
    source = encapsulated(tmp_path / "in.dcm", header(8, 8), JPEG_LS, [jls(noise(8, 8))])
    refused(source, "only native syntaxes are made", J2K_LOSSLESS)


def test_a_file_that_is_gone_is_worth_another_try(tmp_path: Path) -> None:
    with pytest.raises(TemporaryFailure, match="cannot read the stored file"):
        transcode(tmp_path / "gone.dcm", EXPLICIT_LE, tmp_path / "out.dcm")


def test_a_folder_that_is_gone_is_worth_another_try(tmp_path: Path) -> None:
    source = encapsulated(tmp_path / "in.dcm", header(8, 8), JPEG_LS, [jls(noise(8, 8))])
    with pytest.raises(TemporaryFailure, match="cannot write"):
        transcode(source, EXPLICIT_LE, tmp_path / "no" / "out.dcm")


def test_an_earlier_result_is_replaced_only_by_a_whole_one(tmp_path: Path) -> None:
    source = encapsulated(tmp_path / "in.dcm", header(9, 8), JPEG_LS, [jls(noise(8, 8))])
    out = tmp_path / "out.dcm"
    out.write_bytes(b"earlier")
    with pytest.raises(PermanentFailure):
        transcode(source, EXPLICIT_LE, out)
    assert out.read_bytes() == b"earlier"
