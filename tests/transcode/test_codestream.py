"""What is read of a codestream before it is decoded."""

from struct import pack

import imagecodecs
import numpy as np
import pytest

from gateway.failures import PermanentFailure
from gateway.transcode.codestream import MAX_SCANS, read_codestream, rle_segments
from gateway.transcode.form import Coding


def picture(rows: int, columns: int, samples: int = 1, bits: int = 8) -> np.ndarray:
    """Something smooth with an edge."""
    kind = "u1" if bits <= 8 else "u2"
    shape = (rows, columns) if samples == 1 else (rows, columns, samples)
    values = np.add.outer(np.arange(rows), np.arange(columns)) % (1 << bits)
    return np.broadcast_to(values.reshape(rows, columns, *[1] * (samples > 1)), shape).astype(kind)


def segment(marker: int, payload: bytes) -> bytes:
    return pack(">BBH", 0xFF, marker, len(payload) + 2) + payload


def jpeg_header(
    *segments: bytes,
    kind: int = 0xC0,
    precision: int = 8,
    ids: bytes = b"\1\2\3",
    sampling: bytes = b"\x11\x11\x11",
) -> bytes:
    parts = b"".join(bytes((i, s, 0)) for i, s in zip(ids, sampling, strict=True))
    frame = segment(kind, pack(">BHHB", precision, 4, 6, len(ids)) + parts)
    scan = segment(0xDA, bytes([len(ids)]) + b"".join(bytes((i, 0)) for i in ids) + b"\0\x3f\0")
    return b"\xff\xd8" + b"".join(segments) + frame + scan + b"\x12\x34\xff\xd9"


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_jpeg_lossless_tells_its_size_and_precision(bits: int) -> None:
    stream = imagecodecs.jpeg8_encode(
        picture(5, 7, bits=bits), lossless=True, bitspersample=bits, predictor=4
    )
    found = read_codestream(stream)
    assert found is not None
    assert (found.rows, found.columns, found.components) == (5, 7, 1)
    assert (found.coding, found.precision, found.lossy) == (Coding.JPEG_LOSSLESS, bits, False)
    assert found.process == "JPEG lossless, selection value 4"


def test_jpeg_lossless_with_a_point_transform_is_lossy() -> None:
    """The bits that are cut off before the prediction do not come back (T.81 H.1.1)."""
    stream = bytearray(imagecodecs.jpeg8_encode(picture(5, 7), lossless=True, predictor=1))
    scan = stream.index(b"\xff\xda")
    stream[scan + 9] |= 2
    found = read_codestream(bytes(stream))
    assert found is not None
    assert found.lossy
    assert found.process == "JPEG lossless, selection value 1, 2 bits cut off"


def test_jpeg_dct_tells_its_precision_and_sampling() -> None:
    stream = imagecodecs.jpeg8_encode(picture(16, 24, 3), subsampling="420")
    found = read_codestream(stream)
    assert found is not None
    assert (found.coding, found.lossy, found.subsampled) == (Coding.JPEG_8, True, True)
    assert found.sampling == ((2, 2), (1, 1), (1, 1))
    assert found.jfif


def test_twelve_bit_jpeg_is_told_from_eight_bit() -> None:
    stream = imagecodecs.jpeg8_encode(picture(16, 16, bits=12), bitspersample=12)
    found = read_codestream(stream)
    assert found is not None
    assert (found.coding, found.precision) == (Coding.JPEG_12, 12)


@pytest.mark.parametrize(("near", "lossy"), [(0, False), (2, True)])
def test_jpeg_ls_is_lossy_when_near_is_not_zero(near: int, lossy: bool) -> None:
    found = read_codestream(imagecodecs.jpegls_encode(picture(5, 7), level=near))
    assert found is not None
    assert (found.coding, found.lossy, found.rows, found.columns) == (Coding.JPEG_LS, lossy, 5, 7)


@pytest.mark.parametrize("form", ["j2k", "jp2"])
@pytest.mark.parametrize(
    ("samples", "reversible", "transform"), [(1, True, False), (3, True, True), (3, False, True)]
)
def test_jpeg_2000_is_read_raw_and_wrapped(
    form: str, samples: int, reversible: bool, transform: bool
) -> None:
    stream = imagecodecs.jpeg2k_encode(
        picture(40, 30, samples),
        codecformat=form,
        reversible=reversible,
        level=0 if reversible else 30,
        mct=True,
    )
    found = read_codestream(stream)
    assert found is not None
    assert (found.rows, found.columns, found.components) == (40, 30, samples)
    assert (found.precision, found.lossy, found.transform) == (8, not reversible, transform)
    assert stream[found.start : found.start + 4] == b"\xff\x4f\xff\x51"
    assert bool(found.start) == bool(found.notes) == (form == "jp2")


def test_jpeg_2000_tells_its_sign() -> None:
    found = read_codestream(
        imagecodecs.jpeg2k_encode(picture(9, 9, bits=12).astype("i2"), level=0)
    )
    assert found is not None
    assert found.signed


@pytest.mark.parametrize(
    ("segments", "jfif", "adobe"),
    [
        ((), False, None),
        ((segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0"),), True, None),
        ((segment(0xEE, b"Adobe\0\x64\0\0\0\0\0"),), False, 0),
        ((segment(0xEE, b"Adobe\0\x64\0\0\0\0\1"),), False, 1),
        ((segment(0xEE, b"Adobe\0\0\0\0\0"),), False, None),
        ((segment(0xFE, b"a comment"),), False, None),
    ],
)
def test_colour_markers_are_seen(
    segments: tuple[bytes, ...], jfif: bool, adobe: int | None
) -> None:
    found = read_codestream(jpeg_header(*segments, ids=b"RGB"))
    assert found is not None
    assert (found.jfif, found.adobe, found.ids) == (jfif, adobe, (0x52, 0x47, 0x42))


@pytest.mark.parametrize("padding", [b"\0" * 500, b"\xff" * 500, b"\0" * (3 << 16)])
def test_padding_of_any_length_behind_the_end_is_no_part_of_the_stream(padding: bytes) -> None:
    for stream in (
        jpeg_header(),
        bytes(imagecodecs.jpegls_encode(picture(9, 9))),
        bytes(imagecodecs.jpeg2k_encode(picture(9, 9), codecformat="j2k", level=0)),
    ):
        assert read_codestream(stream + padding) is not None
        with pytest.raises(PermanentFailure, match="end marker"):
            read_codestream(stream[:-2] + padding)


@pytest.mark.parametrize(
    "stream",
    [
        imagecodecs.jpeg8_encode(picture(64, 64)),
        imagecodecs.jpegls_encode(picture(64, 64)),
        imagecodecs.jpeg2k_encode(picture(64, 64), level=0),
    ],
    ids=["jpeg", "jpeg-ls", "jpeg-2000"],
)
def test_a_stream_that_was_cut_is_refused_wherever_the_cut_is(stream: bytes) -> None:
    for length in range(12, len(stream) - 2, 7):
        with pytest.raises(PermanentFailure, match=r"cut|no JPEG marker|no coding style"):
            read_codestream(stream[:length])
    assert read_codestream(stream + b"\0") is not None


def test_what_is_no_jpeg_is_not_recognised() -> None:
    assert read_codestream(b"BM" + bytes(100)) is None
    assert read_codestream(b"") is None


@pytest.mark.parametrize(
    ("kind", "precision", "process"),
    [
        (0xCB, 8, "JPEG lossless, arithmetic coding"),
        (0xC5, 8, "JPEG differential sequential"),
        (0xCF, 8, "JPEG differential lossless, arithmetic coding"),
        (0xC0, 9, "JPEG of 9 bits, SOF0"),
    ],
)
def test_processes_without_a_decoder_are_named(kind: int, precision: int, process: str) -> None:
    found = read_codestream(jpeg_header(kind=kind, precision=precision))
    assert found is not None
    assert (found.coding, found.process) == (None, process)


def test_the_first_frame_of_a_hierarchical_jpeg_is_not_taken_for_the_picture() -> None:
    """It may be as large as the whole, and is decoded without complaint."""
    image = picture(16, 24)
    whole = bytes(imagecodecs.jpeg8_encode(image))
    dhp = segment(0xDE, pack(">BHHB", 8, 16, 24, 1) + b"\1\x11\0")
    stream = whole[:2] + dhp + whole[2:]
    found = read_codestream(stream)
    assert found is not None
    assert (found.coding, found.process) == (None, "JPEG hierarchical")
    assert (found.rows, found.columns) == (16, 24)


def test_a_bomb_of_scans_is_refused() -> None:
    stream = jpeg_header(kind=0xC2)
    bomb = stream[:-2] + b"\xff\xda\0\x08\1\1\0\0\0\0" * MAX_SCANS + b"\xff\xd9"
    with pytest.raises(PermanentFailure, match="100 scans"):
        read_codestream(bomb)


def test_more_tiles_than_the_limit_are_refused() -> None:
    stream = bytearray(imagecodecs.jpeg2k_encode(picture(64, 64), level=0, codecformat="j2k"))
    stream[8:16] = pack(">II", 1 << 20, 1 << 20)
    stream[24:32] = pack(">II", 1, 1)
    with pytest.raises(PermanentFailure, match="65535 tiles"):
        read_codestream(bytes(stream))


def test_five_components_are_refused() -> None:
    with pytest.raises(PermanentFailure, match="5 components"):
        read_codestream(jpeg_header(ids=b"\1\2\3\4\5", sampling=b"\x11" * 5))


def test_the_rle_header_gives_the_segments() -> None:
    frame = pack("<16I", 2, 64, 70, *[0] * 13) + bytes(16)
    assert rle_segments(frame) == [(64, 70), (70, 80)]


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (bytes(10), "shorter than its header"),
        (bytes(64), "0 segments"),
        (pack("<16I", 16, *[64] * 15), "16 segments"),
        (pack("<16I", 2, 70, 64, *[0] * 13) + bytes(20), "do not ascend"),
        (pack("<16I", 1, 64000, *[0] * 14) + bytes(20), "do not ascend"),
    ],
)
def test_broken_rle_headers_are_refused(frame: bytes, said: str) -> None:
    with pytest.raises(PermanentFailure, match=said):
        rle_segments(frame)
