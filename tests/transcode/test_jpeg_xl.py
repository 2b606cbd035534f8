"""What is lossy in JPEG XL, and in which colours it comes out."""

import zipfile
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from gateway.transcode.codestream import read_codestream
from gateway.transcode.instance import transcode
from tests.transcode.make_jpeg_xl import COLOUR, GREY, STREAMS, jpeg
from tests.transcode.objects import EXPLICIT_LE, encapsulated, header

LOSSLESS, RECOMPRESSED, ANY = (f"1.2.840.10008.1.2.4.{n}" for n in (110, 111, 112))


def stream(name: str) -> bytes:
    with zipfile.ZipFile(STREAMS) as archive:
        return archive.read(name)


def transcoded(
    name: str, folder: Path, syntax: str = ANY, photometric: str = "RGB", **tags: str
) -> Dataset:
    grey = "grey" in name
    bits = 12 if grey and "jpeg" not in name else 8
    ds = header(
        *COLOUR.shape[:2],
        BitsAllocated=16 if bits > 8 else 8,
        BitsStored=bits,
        HighBit=bits - 1,
        SamplesPerPixel=1 if grey else 3,
        PhotometricInterpretation="MONOCHROME2" if grey else photometric,
        **tags,
    )
    source = encapsulated(folder / "in.dcm", ds, syntax, [stream(name)])
    transcode(source, EXPLICIT_LE, folder / "out.dcm")
    return pydicom.dcmread(folder / "out.dcm")


@pytest.mark.parametrize(
    ("name", "process", "lossy"),
    [
        ("lossless", "not transformed, modular", False),
        ("lossless grey", "not transformed, modular", False),
        ("lossless in a container", "not transformed, modular", False),
        ("lossless with a profile", "not transformed", False),
        ("modular", "not transformed, modular", False),
        ("vardct", "not transformed, VarDCT", True),
        ("vardct grey", "not transformed, VarDCT", True),
        ("vardct in a container", "not transformed, VarDCT", True),
        ("vardct with a profile", "not transformed", False),
        ("vardct behind a frame of its own", "not transformed", False),
        ("xyb", "XYB, VarDCT", True),
        ("xyb modular", "XYB, modular", True),
        ("jpeg", "JPEG recompressed", True),
        ("jpeg for good", "YCbCr, VarDCT", True),
    ],
)
def test_a_stream_says_how_it_is_coded(name: str, process: str, lossy: bool) -> None:
    found = read_codestream(stream(name))
    assert found is not None
    assert (found.process, found.lossy) == (f"JPEG XL, {process}", lossy)
    assert found.as_labelled is not lossy


@pytest.mark.parametrize(
    "name",
    [
        "vardct",
        "vardct grey",
        "vardct in a container",
        "vardct with a profile",
        "vardct behind a frame of its own",
        "modular",
        "xyb",
        "xyb modular",
        "jpeg",
        "jpeg for good",
        "grey jpeg for good",
    ],
)
def test_lossy_provenance_is_added_to_every_lossy_stream(name: str, tmp_path: Path) -> None:
    out = transcoded(name, tmp_path)
    assert out.LossyImageCompression == "01"
    assert out.LossyImageCompressionMethod == "ISO_18181_1"
    assert float(out.LossyImageCompressionRatio) > 0


@pytest.mark.parametrize("name", ["vardct", "xyb", "jpeg for good"])
def test_a_lossless_label_does_not_make_a_lossy_stream_lossless(name: str, tmp_path: Path) -> None:
    assert transcoded(name, tmp_path, LOSSLESS).LossyImageCompression == "01"


@pytest.mark.parametrize(
    "name",
    ["lossless", "lossless grey", "lossless in a container", "lossless with a profile"],
)
def test_lossless_streams_stay_so_where_label_or_header_says_so(name: str, tmp_path: Path) -> None:
    wanted = GREY if "grey" in name else COLOUR
    for syntax, tags in ((LOSSLESS, {}), (ANY, {"LossyImageCompression": "00"})):
        out = transcoded(name, tmp_path, syntax, **tags)
        assert out.get("LossyImageCompression") == tags.get("LossyImageCompression")
        assert out.PixelData == wanted.tobytes()


@pytest.mark.parametrize("said", ["RGB", "YBR_FULL", "YBR_FULL_422"])
def test_the_ycbcr_of_a_jpeg_is_undone_by_the_decoder_and_the_header_says_rgb(
    said: str, tmp_path: Path
) -> None:
    """Without the way back to the file, libjxl's own arithmetic is what there is."""
    out = transcoded("jpeg for good", tmp_path, photometric=said)
    assert out.PhotometricInterpretation == "RGB"
    got = np.frombuffer(out.PixelData, "u1").reshape(COLOUR.shape).astype(int)
    assert np.abs(got - imagecodecs.jpeg8_decode(jpeg(COLOUR))).mean() < 2
