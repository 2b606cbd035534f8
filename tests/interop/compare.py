"""Whether what arrived is what was sent: the pixels' digest, and every other attribute.

The digest follows the convention of the real files' reference: native little-endian bytes, frames
concatenated, colour-by-pixel, without the padding byte, JPEG's YCbCr left alone.
"""

import hashlib
import struct
from collections.abc import Iterator
from io import BytesIO

import numpy as np
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.filereader import read_sequence
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag

PIXEL_DATA = 0x7FE00010
TRAILING_PADDING = 0xFFFCFFFC
"""Data Set Trailing Padding, which DCMTK does not send (PS3.10 7.2)."""

MAY_CHANGE_WITH_PIXELS = frozenset(
    {
        0x00280004,  # Photometric Interpretation
        0x00280006,  # Planar Configuration
        0x00280100,  # Bits Allocated
        0x00280101,  # Bits Stored
        0x00280102,  # High Bit
        0x00280103,  # Pixel Representation
        0x00282110,  # Lossy Image Compression
        0x00282112,  # Lossy Image Compression Ratio
        0x00282114,  # Lossy Image Compression Method
        0x00880200,  # Icon Image Sequence
        0x7FE00001,  # Extended Offset Table
        0x7FE00002,  # Extended Offset Table Lengths
        0x7FE00003,  # Encapsulated Pixel Data Value Total Length
    }
)
"""What decompression may change: PS3.5 A.4, PS3.3 C.7.6.3, C.7.6.1.1.5; nothing else."""

_SWAP = {"US": 2, "SS": 2, "OW": 2, "AT": 2, "UL": 4, "SL": 4, "FL": 4, "OF": 4, "OL": 4}
_SWAP |= {"FD": 8, "OD": 8, "OV": 8, "SV": 8, "UV": 8}


def pixel_digest(image: Dataset) -> str:
    """SHA-256 of native pixels by the reference's convention; "" where there are none."""
    data = _pixel_bytes(image)
    return hashlib.sha256(_by_pixel(image, data)).hexdigest() if data else ""


def _pixel_bytes(image: Dataset) -> bytes:
    """Pixel Data, Float Pixel Data or Double Float Pixel Data (PS3.3 C.7.6.24, C.7.6.25)."""
    names = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
    return next((bytes(image[name].value or b"") for name in names if name in image), b"")


def _by_pixel(image: Dataset, data: bytes) -> bytes:
    samples, allocated = int(image.get("SamplesPerPixel", 1)), int(image.BitsAllocated)
    frames = int(image.get("NumberOfFrames", 1) or 1)
    pixels = image.Rows * image.Columns
    if image.PhotometricInterpretation == "YBR_FULL_422":
        return data[: _subsampled_bytes(len(data), frames * pixels)]
    used = data[: (frames * pixels * samples * allocated + 7) // 8]
    if samples == 1 or int(image.get("PlanarConfiguration", 0)) == 0:
        return used
    width = allocated // 8
    planes = np.frombuffer(used, f"u{width}").reshape(frames, samples, pixels)
    return planes.transpose(0, 2, 1).tobytes()


def _subsampled_bytes(stored: int, pixels: int) -> int:
    """Native 4:2:2 holds two bytes a pixel; labelled so but stored whole, three."""
    return pixels * 3 if stored >= pixels * 3 else pixels * 2


def differences(sent: Dataset, arrived: Dataset, *, decoded: bool) -> list[str]:
    """The tags of the attributes that are not what they were, Pixel Data aside.

    ``decoded`` says that the pixels were, so that the attributes which describe them may differ.
    """
    free = (MAY_CHANGE_WITH_PIXELS if decoded else frozenset()) | {TRAILING_PADDING}
    return [str(tag) for tag in _different(sent, arrived) if tag not in free]


def _different(sent: Dataset, arrived: Dataset) -> Iterator[BaseTag]:
    for tag in sorted({*sent.keys(), *arrived.keys()}):
        if tag.element == 0 or tag == PIXEL_DATA:
            continue
        both = tag in sent and tag in arrived
        if not both or not _equal(sent, arrived, tag):
            yield tag


def _equal(sent: Dataset, arrived: Dataset, tag: BaseTag) -> bool:
    one, other = sent.get_item(tag), arrived.get_item(tag)
    raw = isinstance(one, RawDataElement) and isinstance(other, RawDataElement)
    if raw and _trimmed(_little(one)) == _trimmed(_little(other)):
        return True
    return _equal_meaning(sent[tag], arrived[tag])


def _equal_meaning(one: DataElement, other: DataElement) -> bool:
    if isinstance(one.value, Sequence):
        items = _items(other)
        pairs = zip(one.value, items, strict=False)
        same = all(not list(_different(sent, arrived)) for sent, arrived in pairs)
        return len(one.value) == len(items) and same
    return str(one.value) == str(other.value)


def _items(element: DataElement) -> Sequence:
    """The items of a sequence, also where Implicit VR hides that a private element is one."""
    if isinstance(element.value, Sequence):
        return element.value
    data = bytes(element.value or b"")
    return read_sequence(BytesIO(data), True, True, len(data), "iso8859")


def _little(element: RawDataElement) -> bytes:
    data = bytes(element.value or b"")
    width = _SWAP.get(element.VR or "", 1)
    if element.is_little_endian or width == 1 or len(data) % width:
        return data
    return b"".join(
        struct.pack(f"{width}s", data[i : i + width][::-1]) for i in range(0, len(data), width)
    )


def _trimmed(value: bytes) -> bytes:
    """Without trailing padding, which an encoder adds to an odd length."""
    return value.rstrip(b" \0")
