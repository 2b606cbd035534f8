"""Frames as senders lay them down, in every coding: whatever the fragments, the same pictures."""

from collections.abc import Callable, Sequence
from pathlib import Path
from struct import pack
from typing import Final

import imagecodecs
import numpy as np
import pydicom
import pytest

from gateway.failures import PermanentFailure
from gateway.transcode.instance import transcode
from tests.transcode.objects import EXPLICIT_LE, encapsulated, header, rle_of

Layout = tuple[list[bytes], bytes]
"""Fragments, and the Basic Offset Table's value."""

IMAGES: Final = np.random.default_rng(8).integers(0, 4096, (3, 12, 11)).astype("<u2")
_4: Final = "1.2.840.10008.1.2.4."


def rle(image: np.ndarray) -> bytes:
    return rle_of([(image >> 8).astype("u1").tobytes(), (image & 255).astype("u1").tobytes()])


def j2k(image: np.ndarray, form: str = "j2k") -> bytes:
    return bytes(imagecodecs.jpeg2k_encode(image, level=0, codecformat=form, bitspersample=12))


def jpeg_xl(image: np.ndarray, container: bool = False) -> bytes:
    return bytes(imagecodecs.jpegxl_encode(image, lossless=True, usecontainer=container))


CODINGS: Final[dict[str, tuple[str, Callable[[np.ndarray], bytes]]]] = {
    "rle": ("1.2.840.10008.1.2.5", rle),
    "jpeg-lossless": (
        _4 + "70",
        lambda image: bytes(imagecodecs.jpeg8_encode(image, lossless=True, bitspersample=12)),
    ),
    "jpeg-ls": (_4 + "80", lambda image: bytes(imagecodecs.jpegls_encode(image))),
    "jpeg-2000": (_4 + "90", j2k),
    "jp2": (_4 + "90", lambda image: j2k(image, "jp2")),
    "htj2k": (_4 + "201", lambda image: bytes(imagecodecs.htj2k_encode(image, reversible=True))),
    "jpeg-xl": (_4 + "110", jpeg_xl),
    "jpeg-xl-container": (_4 + "110", lambda image: jpeg_xl(image, True)),
}


def even(stream: bytes) -> bytes:
    return stream + b"\0" * (len(stream) & 1)


def thirds(stream: bytes) -> list[bytes]:
    step = max(2, len(stream) // 3 // 2 * 2)
    return [stream[at : at + step] for at in range(0, len(stream), step)]


def table(frames: Sequence[Sequence[bytes]]) -> bytes:
    sizes = [sum(8 + len(part) for part in frame) for frame in frames]
    return pack(f"<{len(frames)}I", *(sum(sizes[:number]) for number in range(len(frames))))


def flat(frames: Sequence[Sequence[bytes]], offsets: bytes = b"") -> Layout:
    return [part for frame in frames for part in frame], offsets


def cut(streams: Sequence[bytes]) -> list[list[bytes]]:
    return [thirds(even(one)) for one in streams]


def with_empty_fragments(streams: Sequence[bytes]) -> list[list[bytes]]:
    one, two, three = map(even, streams)
    return [[one], [b"", two], [three, b"", b""]]


LAYOUTS: Final[dict[str, Callable[[list[bytes]], Layout]]] = {
    "a fragment each": lambda s: (list(map(even, s)), b""),
    "several, with a table": lambda s: flat(cut(s), table(cut(s))),
    "several, without": lambda s: flat(cut(s)),
    "several, table of zeros": lambda s: flat(cut(s), bytes(12)),
    "several, table off by an item": lambda s: flat(cut(s), pack("<3I", 8, 16, 24)),
    "several, table too short": lambda s: flat(cut(s), bytes(4)),
    "odd lengths": lambda s: (s, b""),
    "padded": lambda s: ([even(one) + bytes(20) for one in s], b""),
    "empty fragments, with a table": lambda s: flat(
        with_empty_fragments(s), table(with_empty_fragments(s))
    ),
    "empty fragments, without": lambda s: flat(with_empty_fragments(s)),
    "the last bytes apart": lambda s: flat([[even(one)[:-2], even(one)[-2:]] for one in s]),
}


DELIMITER: Final = pack("<HHI", 0xFFFE, 0xE0DD, 0)


def written(
    path: Path, syntax: str, layout: Layout, frames: int, delimiter: bytes = DELIMITER
) -> Path:
    """An object of ``frames`` frames with exactly these items."""
    ds = header(12, 11, NumberOfFrames=frames, BitsStored=12, HighBit=11)
    encapsulated(path, ds, syntax, [b"\0\0"])
    raw = path.read_bytes()
    begin = raw.rindex(b"\xe0\x7f\x10\0OB\0\0\xff\xff\xff\xff") + 12
    bodies, offsets = layout
    items = b"".join(pack("<HHI", 0xFFFE, 0xE000, len(one)) + one for one in (offsets, *bodies))
    path.write_bytes(raw[:begin] + items + delimiter)
    return path


def pixels(source: Path) -> bytes:
    out = source.with_name("out.dcm")
    transcode(source, EXPLICIT_LE, out)
    return bytes(pydicom.dcmread(out).PixelData)


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
@pytest.mark.parametrize("coding", CODINGS)
def test_whatever_the_fragments_the_frames_are_the_same(
    coding: str, layout: Callable[[list[bytes]], Layout], tmp_path: Path
) -> None:
    syntax, encode = CODINGS[coding]
    streams = [encode(image) for image in IMAGES]
    source = written(tmp_path / "in.dcm", syntax, layout(streams), 3)
    assert pixels(source) == IMAGES.tobytes()


@pytest.mark.parametrize("coding", CODINGS)
def test_the_delimiter_may_be_missing(coding: str, tmp_path: Path) -> None:
    syntax, encode = CODINGS[coding]
    layout = flat(cut([encode(image) for image in IMAGES]))
    source = written(tmp_path / "in.dcm", syntax, layout, 3, delimiter=b"")
    assert pixels(source) == IMAGES.tobytes()


@pytest.mark.parametrize("frames", [2, 4])
@pytest.mark.parametrize("coding", CODINGS)
def test_another_number_of_frames_than_the_header_says_is_refused(
    coding: str, frames: int, tmp_path: Path
) -> None:
    syntax, encode = CODINGS[coding]
    streams = [even(encode(image)) for image in IMAGES]
    source = written(tmp_path / "in.dcm", syntax, (streams, b""), frames)
    with pytest.raises(PermanentFailure, match=f"Number of Frames says {frames}"):
        pixels(source)


@pytest.mark.parametrize("coding", CODINGS)
def test_a_single_frame_takes_all_fragments_whatever_the_table_says(
    coding: str, tmp_path: Path
) -> None:
    syntax, encode = CODINGS[coding]
    layout = thirds(even(encode(IMAGES[0]))), pack("<I", 99)
    assert pixels(written(tmp_path / "in.dcm", syntax, layout, 1)) == IMAGES[0].tobytes()
