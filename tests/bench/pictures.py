"""The pictures of the benchmark's part ``syntaxes``: one CT in every transfer syntax.

512 x 512 pixels of 16 bits, of 12 for JPEG Extended, of 8 for JPEG Baseline; the header is the
real CT's where that lies beside the checkout. In objects of many frames four rolled versions of
the picture take turns, so that no decoder meets the same bytes twice in a row.
"""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID
from rle.rle import encode_frame

from tests.bench import objects
from tests.transcode.objects import relabelled

Picture = NDArray[Any]
SIDE: Final = 512
DEFLATED: Final = "1.2.840.10008.1.2.1.99"
_ = "1.2.840.10008.1.2."
_QUALITY: Final = 90


@dataclass(frozen=True)
class Kind:
    """A transfer syntax: how a picture of ``bits`` becomes a codestream of it.

    ``exact``: the decoded samples are the picture's. ``dcmtk`` is the program that undoes it.
    """

    uid: str
    title: str
    encode: Callable[[Picture], bytes]
    bits: int = 16
    exact: bool = True
    dcmtk: str = ""


def _lossless_jpeg(predictor: int) -> Callable[[Picture], bytes]:
    return lambda image: bytes(
        imagecodecs.jpeg8_encode(image, lossless=True, predictor=predictor, bitspersample=16)
    )


def _dct(bits: int) -> Callable[[Picture], bytes]:
    return lambda image: bytes(imagecodecs.jpeg8_encode(image, level=_QUALITY, bitspersample=bits))


def _j2k(**options: Any) -> Callable[[Picture], bytes]:
    return lambda image: bytes(imagecodecs.jpeg2k_encode(image, codecformat="j2k", **options))


def _htj2k(**options: Any) -> Callable[[Picture], bytes]:
    return lambda image: bytes(imagecodecs.htj2k_encode(image, **options))


def _jpeg_xl(bits: int, **options: Any) -> Callable[[Picture], bytes]:
    return lambda image: bytes(imagecodecs.jpegxl_encode(image, bitspersample=bits, **options))


def _rle(image: Picture) -> bytes:
    rows, columns = image.shape
    return bytes(encode_frame(image.tobytes(), rows, columns, 1, image.itemsize * 8, "<"))


def _deflated(image: Picture) -> bytes:
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    return packer.compress(image.tobytes()) + packer.flush()


def _recompressed(image: Picture) -> bytes:
    return bytes(imagecodecs.jpegxl_encode_jpeg(_dct(8)(image)))


KINDS: Final = (
    Kind(_ + "5", "RLE", _rle, dcmtk="dcmdrle"),
    Kind(_ + "4.50", "JPEG Baseline .50, 8 bit", _dct(8), 8, False, "dcmdjpeg"),
    Kind(_ + "4.51", "JPEG Extended .51, 12 bit", _dct(12), 12, False, "dcmdjpeg"),
    Kind(_ + "4.57", "JPEG Lossless .57", _lossless_jpeg(6), dcmtk="dcmdjpeg"),
    Kind(_ + "4.70", "JPEG Lossless .70", _lossless_jpeg(1), dcmtk="dcmdjpeg"),
    Kind(_ + "4.80", "JPEG-LS .80", imagecodecs.jpegls_encode, dcmtk="dcmdjpls"),
    Kind(
        _ + "4.81",
        "JPEG-LS near-lossless .81",
        lambda image: bytes(imagecodecs.jpegls_encode(image, level=2)),
        exact=False,
        dcmtk="dcmdjpls",
    ),
    Kind(_ + "4.90", "JPEG 2000 .90", _j2k(reversible=True)),
    Kind(_ + "4.91", "JPEG 2000 .91", _j2k(reversible=False, level=85), exact=False),
    Kind(_ + "4.201", "HTJ2K .201", _htj2k(reversible=True)),
    Kind(_ + "4.203", "HTJ2K .203", _htj2k(reversible=False, level=0.00005), exact=False),
    Kind(_ + "4.110", "JPEG XL .110", _jpeg_xl(16, lossless=True)),
    Kind(_ + "4.111", "JPEG XL .111, a JPEG", _recompressed, 8, False),
    Kind(_ + "4.112", "JPEG XL .112, 12 bit", _jpeg_xl(12, distance=0.5), 12, False),
    Kind(DEFLATED, "Deflated .1.99", lambda image: image.tobytes(), dcmtk="dcmconv"),
    Kind(_ + "8.1", "Deflated frames .8.1", _deflated),
)
MANY_FRAMES_OF: Final = tuple(_ + number for number in ("5", "4.70", "4.80", "4.90", "4.201"))


def picture(bits: int, side: int = SIDE, turn: int = 0) -> Picture:
    """The CT in unsigned samples of ``bits``, rolled by ``turn`` quarters."""
    words = np.roll(objects.pixels()[:side, :side].astype(np.int32) + 1024, turn * side // 4, 0)
    deep = np.clip(words, 0, 4095)
    if bits == 8:
        return np.ascontiguousarray(deep >> 4, "<u1")
    return np.ascontiguousarray(deep if bits == 12 else np.clip(words, 0, 65535), "<u2")


def instance(kind: Kind, frames: int, side: int = SIDE) -> bytes:
    """A Part 10 file of ``frames`` frames, its UID the one that ``objects.copies`` replaces."""
    images = [picture(kind.bits, side, turn) for turn in range(min(4, frames))]
    streams = [kind.encode(image) for image in images]
    image = objects.header()
    _describe(image, images[0], kind.bits, frames)
    deflated = kind.uid == DEFLATED
    image.file_meta.TransferSyntaxUID = UID(DEFLATED if deflated else objects.JPEG_LOSSLESS)
    whole = [streams[index % len(streams)] for index in range(frames)]
    image.PixelData = b"".join(whole) if deflated else encapsulate(whole)
    image["PixelData"].VR = "OW" if deflated else "OB"
    image["PixelData"].is_undefined_length = not deflated
    out = BytesIO()
    objects.name(image).save_as(out, enforce_file_format=True)
    return out.getvalue() if deflated else relabelled(out.getvalue(), kind.uid)


def _describe(image: Dataset, samples: Picture, bits: int, frames: int) -> None:
    image.Rows, image.Columns = samples.shape
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.BitsAllocated = samples.itemsize * 8
    image.BitsStored, image.HighBit, image.PixelRepresentation = bits, bits - 1, 0
    if frames > 1:
        image.NumberOfFrames = frames


def expected(kind: Kind, frames: int) -> Sequence[bytes]:
    """The native bytes of each frame, where they are known."""
    if not kind.exact:
        return []
    turns = [picture(kind.bits, turn=turn).tobytes() for turn in range(min(4, frames))]
    return [turns[index % len(turns)] for index in range(frames)]


def lay(kind: Kind, folder: Path, files: int, frames: int, side: int = SIDE) -> Path:
    """A folder of ``files`` such instances."""
    objects.copies(instance(kind, frames, side), folder, files)
    return folder
