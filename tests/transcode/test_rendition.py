"""What a node asks for beyond the transfer syntax: RGB, at every depth and in every coding."""

import zlib
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import jpeg_ls
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from gateway.failures import PermanentFailure
from gateway.model import Rendition
from gateway.transcode.instance import transcode
from gateway.transfer_syntax import DEFLATED_FRAMES, ENCAPSULATED_UNCOMPRESSED
from tests.transcode.objects import (
    EXPLICIT_BE,
    EXPLICIT_LE,
    IMPLICIT_LE,
    J2K_LOSSLESS,
    JPEG_LS,
    RLE,
    encapsulated,
    header,
    little_endian_pixels,
    rle_of,
    save,
)

RGB = Rendition(color="RGB")


def colours(bits: int) -> tuple[np.ndarray, np.ndarray]:
    """YBR_FULL samples of ``bits`` bits and the RGB that PS3.3 C.7.6.3.1.2 makes of them."""
    top, middle = (1 << bits) - 1, 1 << (bits - 1)
    some = np.random.default_rng(7).integers(0, top + 1, (61, 3))
    greys = [(value, middle, middle) for value in (0, middle // 2, top)]
    ybr = np.array([*greys, *some]).reshape(8, 8, 3)
    luma, blue, red = ybr[..., 0], ybr[..., 1] - middle, ybr[..., 2] - middle
    green = luma - 0.344136286 * blue - 0.714136286 * red
    rgb = np.stack((luma + 1.402 * red, green, luma + 1.772 * blue), -1)
    kind = "u1" if bits <= 8 else "<u2"
    return ybr.astype(kind), np.clip(np.rint(rgb), 0, top).astype(kind)


def colour_header(bits: int) -> Dataset:
    allocated = 8 if bits <= 8 else 16
    return header(
        8,
        8,
        SamplesPerPixel=3,
        PhotometricInterpretation="YBR_FULL",
        BitsAllocated=allocated,
        BitsStored=bits,
        HighBit=bits - 1,
    )


def native(syntax: str) -> Callable[[Path, np.ndarray, int], Path]:
    def write(path: Path, image: np.ndarray, bits: int) -> Path:
        ds = colour_header(bits)
        order = ">" if syntax == EXPLICIT_BE else "<"
        ds.PixelData = image.astype(image.dtype.newbyteorder(order)).tobytes()
        ds["PixelData"].VR = "OB" if bits <= 8 and syntax != IMPLICIT_LE else "OW"
        return save(path, ds, syntax)

    return write


def rle(path: Path, image: np.ndarray, bits: int) -> Path:
    planes = image.astype(image.dtype.newbyteorder(">")).view("u1").reshape(64, -1).T
    stream = rle_of([plane.tobytes() for plane in planes])
    return encapsulated(path, colour_header(bits), RLE, [stream])


def jpeg_ls_of_its_bits(path: Path, image: np.ndarray, bits: int) -> Path:
    stream = bytes(jpeg_ls.encode_array(image, interleave_mode=2))
    assert stream[stream.index(b"\xff\xf7") + 4] == bits
    return encapsulated(path, colour_header(bits), JPEG_LS, [stream])


def jpeg_ls_of_its_container(path: Path, image: np.ndarray, bits: int) -> Path:
    stream = imagecodecs.jpegls_encode(image)
    return encapsulated(path, colour_header(bits), JPEG_LS, [stream])


def jpeg_2000(path: Path, image: np.ndarray, bits: int) -> Path:
    stream = imagecodecs.jpeg2k_encode(
        image, level=0, codecformat="j2k", mct=False, bitspersample=bits
    )
    return encapsulated(path, colour_header(bits), J2K_LOSSLESS, [stream])


WRITERS = {
    "implicit-le": native(IMPLICIT_LE),
    "explicit-le": native(EXPLICIT_LE),
    "explicit-be": native(EXPLICIT_BE),
    "rle": rle,
    "jpeg-ls": jpeg_ls_of_its_bits,
    "jpeg-ls of 16": jpeg_ls_of_its_container,
    "jpeg-2000": jpeg_2000,
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS.keys())
@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_ybr_full_becomes_rgb_within_bits_stored(
    bits: int, write: Callable[[Path, np.ndarray, int], Path], tmp_path: Path
) -> None:
    ybr, rgb = colours(bits)
    source, out = write(tmp_path / "in.dcm", ybr, bits), tmp_path / "out.dcm"
    transcode(source, EXPLICIT_LE, out, rendition=RGB)
    ds = pydicom.dcmread(out)
    assert ds.PhotometricInterpretation == "RGB"
    assert little_endian_pixels(ds) == rgb.tobytes()


def test_a_codestream_of_less_bits_than_the_header_says_has_its_own_middle(tmp_path: Path) -> None:
    ybr, rgb = colours(10)
    ds = colour_header(12)
    stream = bytes(jpeg_ls.encode_array(ybr, interleave_mode=2))
    source = encapsulated(tmp_path / "in.dcm", ds, JPEG_LS, [stream])
    transcode(source, EXPLICIT_LE, tmp_path / "out.dcm", rendition=RGB)
    assert pydicom.dcmread(tmp_path / "out.dcm").PixelData == rgb.tobytes()


def native_422(path: Path, columns: int, allocated: int = 8) -> Path:
    ds = header(2, columns, SamplesPerPixel=3, PhotometricInterpretation="YBR_FULL_422")
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = allocated, allocated, allocated - 1
    ds.PixelData = bytes(range(4 * columns * allocated // 8))
    ds["PixelData"].VR = "OB" if allocated == 8 else "OW"
    return save(path, ds, EXPLICIT_LE)


@pytest.mark.parametrize(
    ("columns", "allocated", "said"),
    [
        (3, 8, "YBR_FULL_422 of 3 columns"),
        (4, 16, "YBR_FULL_422 of 4 columns, Bits Allocated 16"),
    ],
)
def test_pairs_of_pixels_that_are_none_are_refused_with_the_reason(
    columns: int, allocated: int, said: str, tmp_path: Path
) -> None:
    source = native_422(tmp_path / "in.dcm", columns, allocated)
    with pytest.raises(PermanentFailure, match=said):
        transcode(source, EXPLICIT_LE, tmp_path / "out.dcm", rendition=RGB)
    transcode(source, IMPLICIT_LE, tmp_path / "out.dcm")


def test_pairs_of_pixels_are_written_out_where_planes_are_asked_for(tmp_path: Path) -> None:
    source = native_422(tmp_path / "in.dcm", 2)
    wanted = Rendition(planar="separate")
    transcode(source, EXPLICIT_LE, tmp_path / "out.dcm", rendition=wanted)
    ds = pydicom.dcmread(tmp_path / "out.dcm")
    assert (ds.PhotometricInterpretation, ds.PlanarConfiguration) == ("YBR_FULL", 1)
    assert ds.PixelData == bytes((0, 1, 4, 5, 2, 2, 6, 6, 3, 3, 7, 7))


def as_it_is(frame: bytes) -> bytes:
    return frame


def deflated(frame: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    content = packer.compress(frame) + packer.flush()
    return content + bytes(len(content) & 1)


CODERS = {ENCAPSULATED_UNCOMPRESSED: as_it_is, DEFLATED_FRAMES: deflated}


def fragmented_422(path: Path, photometric: str, syntax: str, frames: int = 1) -> Path:
    """Frames of one row and four pixels, Y1 Y2 Cb Cr twice, each in its fragment."""
    ds = header(1, 4, SamplesPerPixel=3, PhotometricInterpretation=photometric)
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.NumberOfFrames = 8, 8, 7, frames
    contents = [bytes(range(8 * index, 8 * index + 8)) for index in range(frames)]
    return encapsulated(path, ds, syntax, [CODERS[syntax](one) for one in contents])


@pytest.mark.parametrize("syntax", CODERS)
@pytest.mark.parametrize("photometric", ["YBR_FULL_422", "YBR_PARTIAL_422"])
def test_pairs_of_pixels_in_fragments_are_taken_out_as_they_are(
    photometric: str, syntax: str, tmp_path: Path
) -> None:
    source = fragmented_422(tmp_path / "in.dcm", photometric, syntax, 3)
    done = transcode(source, EXPLICIT_LE, tmp_path / "out.dcm")
    ds = pydicom.dcmread(tmp_path / "out.dcm")
    assert (ds.PhotometricInterpretation, ds.SamplesPerPixel) == (photometric, 3)
    assert (ds.PixelData, done.photometric) == (bytes(range(24)), photometric)


@pytest.mark.parametrize("syntax", CODERS)
@pytest.mark.parametrize("photometric", ["YBR_FULL_422", "YBR_PARTIAL_422"])
@pytest.mark.parametrize("wanted", [RGB, Rendition(color="RGB", planar="separate")])
def test_pairs_of_pixels_in_fragments_become_rgb_as_native_ones_do(
    wanted: Rendition, photometric: str, syntax: str, tmp_path: Path
) -> None:
    source = fragmented_422(tmp_path / "in.dcm", photometric, syntax, 2)
    ds = header(1, 4, SamplesPerPixel=3, PhotometricInterpretation=photometric)
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.NumberOfFrames = 8, 8, 7, 2
    ds.PixelData = bytes(range(16))
    plain = save(tmp_path / "native.dcm", ds, EXPLICIT_LE)
    found = []
    for one in (source, plain):
        transcode(one, EXPLICIT_LE, tmp_path / "out.dcm", rendition=wanted)
        found.append(pydicom.dcmread(tmp_path / "out.dcm"))
    assert found[0].PixelData == found[1].PixelData
    assert found[0].PhotometricInterpretation == found[1].PhotometricInterpretation == "RGB"
    assert found[0].PlanarConfiguration == found[1].PlanarConfiguration


@pytest.mark.parametrize("coded", [False, True])
@pytest.mark.parametrize("syntax", [IMPLICIT_LE, EXPLICIT_LE, EXPLICIT_BE])
def test_signed_palette_images_become_rgb(syntax: str, coded: bool, tmp_path: Path) -> None:
    order = ">" if syntax == EXPLICIT_BE and not coded else "<"
    image = np.array([[-3, -2, -1, 0, 1, 2, 300]], "<i2")
    ds = header(1, 7, PhotometricInterpretation="PALETTE COLOR", PixelRepresentation=1)
    for number, colour in enumerate(("Red", "Green", "Blue")):
        setattr(ds, f"{colour}PaletteColorLookupTableDescriptor", [4, -2, 16])
        entries = np.arange(4) * 1000 + number
        setattr(ds, f"{colour}PaletteColorLookupTableData", entries.astype(f"{order}u2").tobytes())
    if coded:
        stream = imagecodecs.jpegls_encode(image.view("<u2"))
        source = encapsulated(tmp_path / "in.dcm", ds, JPEG_LS, [stream])
    else:
        ds.PixelData = image.astype(f"{order}i2").tobytes()
        ds["PixelData"].VR = "OW"
        source = save(tmp_path / "in.dcm", ds, syntax)
    transcode(source, EXPLICIT_LE, tmp_path / "out.dcm", rendition=RGB)
    out = pydicom.dcmread(tmp_path / "out.dcm")
    red = np.frombuffer(out.PixelData, "<u2").reshape(-1, 3)[:, 0]
    assert red.tolist() == [0, 0, 1000, 2000, 3000, 3000, 3000]
    assert (out.PhotometricInterpretation, out.PixelRepresentation) == ("RGB", 0)
