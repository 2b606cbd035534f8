"""Coding styles of JPEG 2000, in the main header and in those of tile-parts."""

from io import BytesIO
from pathlib import Path
from struct import pack, unpack_from

import imagecodecs
import numpy as np
import pydicom
import pytest
from PIL import Image

from gateway.failures import PermanentFailure
from gateway.transcode.codestream import read_codestream
from gateway.transcode.form import Coding
from gateway.transcode.instance import transcode
from tests.transcode.multi_component import segments, spliced, with_arrays
from tests.transcode.objects import EXPLICIT_LE, J2K_LOSSLESS, encapsulated, header

GREY = np.arange(48 * 40, dtype="<u2").reshape(48, 40) % 4096
COLOUR = np.stack([GREY % 251, GREY % 241, GREY % 239], -1).astype("u1")


def coded(image: np.ndarray = GREY, **more: object) -> bytes:
    options = {"level": 0, "codecformat": "j2k", "mct": False, "reversible": True} | more
    return bytes(imagecodecs.jpeg2k_encode(image, **options))


def tiled(image: np.ndarray) -> bytes:
    """Three tiles, one above the other."""
    buffer = BytesIO()
    Image.fromarray(image).save(
        buffer, "JPEG2000", tile_size=(40, 16), no_jp2=True, irreversible=False, mct=0
    )
    stream = buffer.getvalue()
    assert stream.count(b"\xff\x90\0\x0a") == 3
    return stream


def segment(marker: int, body: bytes) -> bytes:
    return pack(">BBH", 0xFF, marker, len(body) + 2) + body


def in_main(stream: bytes, added: bytes) -> bytes:
    """With marker segments at the end of the main header."""
    at = stream.index(b"\xff\x90")
    return stream[:at] + added + stream[at:]


def in_tile(stream: bytes, added: bytes, tile: int = 0) -> bytes:
    """With marker segments in the header of a tile-part, whose length is mended."""
    at = stream.index(b"\xff\x90")
    for _ in range(tile):
        at += unpack_from(">I", stream, at + 6)[0]
    changed = bytearray(stream)
    (size,) = unpack_from(">I", stream, at + 6)
    changed[at + 6 : at + 10] = pack(">I", size + len(added))
    return bytes(changed[: at + 12]) + added + bytes(changed[at + 12 :])


def style(stream: bytes, *, transform: int | None = None, wavelet: int | None = None) -> bytes:
    """The COD segment of a codestream, changed."""
    at = stream.index(b"\xff\x52")
    found = bytearray(stream[at : at + 2 + unpack_from(">H", stream, at + 2)[0]])
    if transform is not None:
        found[8] = transform
    if wavelet is not None:
        found[13] = wavelet
    return bytes(found)


def of_component(stream: bytes, component: int, wavelet: int) -> bytes:
    """A COC segment like the codestream's COD."""
    body = style(stream)[4:]
    return segment(0x53, bytes([component, body[0] & 1]) + body[5:9] + bytes([wavelet]))


ORDER = segment(0x77, b"\1\3")
ARRAY = segment(0x74, bytes(6))
STAGE = segment(0x75, bytes(7))


@pytest.mark.parametrize("added", [ORDER, ARRAY, STAGE, segment(0x78, b"\x80\1\x0b")])
@pytest.mark.parametrize("tile", [0, 2])
def test_component_transforms_of_a_single_tile_are_refused(added: bytes, tile: int) -> None:
    stream = tiled(COLOUR[..., 0])
    assert read_codestream(stream) is not None
    with pytest.raises(PermanentFailure, match="a tile with a component transform"):
        read_codestream(in_tile(stream, added, tile))


@pytest.mark.parametrize("changed", [{"transform": 2}, {"transform": 4}])
def test_a_tile_whose_style_asks_for_arrays_is_refused(changed: dict[str, int]) -> None:
    stream = coded()
    with pytest.raises(PermanentFailure, match="a tile with a component transform of its own"):
        read_codestream(in_tile(stream, style(stream, **changed)))


@pytest.mark.parametrize("added", [0x52, 0x53, 0x5C, 0x5D])
def test_arrays_over_a_tile_with_a_style_of_its_own_are_refused(added: int) -> None:
    image = np.stack([GREY, GREY // 2, GREY // 3], -1)
    stream = with_arrays(image, 12, np.tril(np.ones((3, 3))))
    found = read_codestream(stream)
    assert found is not None
    assert found.coding is Coding.JPEG_2000_ARRAYS
    with pytest.raises(PermanentFailure, match=r"a tile with .* a coding style of its own"):
        read_codestream(in_tile(stream, segment(added, bytes(12))))


def test_arrays_whose_tile_parts_cannot_be_followed_are_refused() -> None:
    image = np.stack([GREY, GREY // 2, GREY // 3], -1)
    stream = bytearray(with_arrays(image, 12, np.tril(np.ones((3, 3)))))
    at = stream.index(b"\xff\x90")
    stream[at + 9] ^= 8
    with pytest.raises(PermanentFailure, match="do not lead to the end"):
        read_codestream(bytes(stream))


def test_arrays_without_an_order_of_stages_are_refused() -> None:
    """Nothing would be undone: the components would come out as they are coded."""
    image = np.stack([GREY, GREY // 2, GREY // 3], -1).astype("<i2")
    inserted = segments(image, 12, np.eye(3), (), "f4", [range(3)])
    order = ORDER
    assert order in inserted
    plain = coded(image, bitspersample=12)
    without = spliced(plain, inserted.replace(order, b""))
    with pytest.raises(PermanentFailure, match=r"without an order of them \(MCO\)"):
        read_codestream(without)
    nothing = spliced(plain, inserted.replace(order, segment(0x77, b"\0")))
    with pytest.raises(PermanentFailure, match="without an order of component stages"):
        read_codestream(nothing)
    another = spliced(plain, inserted.replace(order, segment(0x77, b"\1\7")))
    with pytest.raises(PermanentFailure, match="names 7, which is not there"):
        read_codestream(another)


def test_an_order_of_stages_under_a_style_without_arrays_is_refused() -> None:
    with pytest.raises(PermanentFailure, match="that no coding style asks for"):
        read_codestream(in_main(coded(), ORDER))


def test_arrays_beside_the_transform_of_part_1_are_refused() -> None:
    image = np.stack([GREY, GREY // 2, GREY // 3], -1).astype("<i2")
    inserted = segments(image, 12, np.eye(3), (), "f4", [range(3)])
    stream = spliced(coded(image, bitspersample=12), inserted, kind=3)
    with pytest.raises(PermanentFailure, match="beside the component transform of Part 1"):
        read_codestream(stream)


def test_another_number_of_components_after_the_arrays_is_refused() -> None:
    image = np.stack([GREY, GREY // 2, GREY // 3], -1).astype("<i2")
    inserted = segments(image, 12, np.eye(3), (), "f4", [range(3)])
    depths = segment(0x78, pack(">HB", 0x8003, 0x8B))
    assert depths in inserted
    fewer = inserted.replace(depths, segment(0x78, pack(">HB", 0x8002, 0x8B)))
    with pytest.raises(PermanentFailure, match="more or fewer components"):
        read_codestream(spliced(coded(image, bitspersample=12), fewer))


@pytest.mark.parametrize(("marker", "name"), [(0x76, "NLT"), (0x79, "ATK"), (0x70, "DCO")])
@pytest.mark.parametrize("place", [in_main, in_tile])
def test_extensions_that_decoders_pass_over_are_refused(
    place: object, marker: int, name: str
) -> None:
    added = segment(marker, bytes(6))
    assert imagecodecs.jpeg2k_decode(in_main(coded(), added)).tobytes() == GREY.tobytes()
    with pytest.raises(PermanentFailure, match=name):
        read_codestream(place(coded(), added))  # type: ignore[operator]


def test_a_tile_or_a_component_of_the_irreversible_wavelet_makes_the_whole_lossy() -> None:
    stream = tiled(COLOUR)
    plain = read_codestream(stream)
    assert plain is not None
    assert not plain.lossy
    for changed in (
        in_tile(stream, style(stream, wavelet=0), tile=1),
        in_tile(stream, of_component(stream, 2, 0), tile=2),
        in_main(stream, of_component(stream, 1, 0)),
    ):
        found = read_codestream(changed)
        assert found is not None
        assert found.lossy


def test_a_component_transform_in_a_single_tile_counts() -> None:
    stream = tiled(COLOUR)
    found = read_codestream(in_tile(stream, style(stream, transform=1), tile=1))
    assert found is not None
    assert found.transform


@pytest.mark.parametrize("factors", [(1, 1, 2, 2, 2, 2), (1, 1, 2, 1, 2, 1), (2, 2) * 3])
def test_components_of_a_lower_resolution_are_refused(factors: tuple[int, ...]) -> None:
    """Libraries take the first component for luma and turn what they decode into RGB."""
    stream = bytearray(coded(COLOUR))
    for component in range(3):
        at = 43 + 3 * component
        assert stream[at : at + 2] == b"\1\1"
        stream[at : at + 2] = bytes(factors[2 * component : 2 * component + 2])
    with pytest.raises(PermanentFailure, match="components of a lower resolution"):
        read_codestream(bytes(stream))


def test_a_comment_behind_the_last_tile_part_is_passed_over_and_recorded(tmp_path: Path) -> None:
    """OpenJPEG refuses such a stream, which real objects hold."""
    stream = coded()
    padded = stream[:-2] + segment(0x64, b"\0\1PADDING") + stream[-2:]
    with pytest.raises(imagecodecs.Jpeg2kError):
        imagecodecs.jpeg2k_decode(padded)
    source = encapsulated(tmp_path / "in.dcm", header(48, 40), J2K_LOSSLESS, [padded])
    done = transcode(source, EXPLICIT_LE, tmp_path / "out.dcm")
    assert done.notes == ("a comment behind the last tile-part was passed over",)
    assert (tmp_path / "out.dcm").read_bytes().endswith(GREY.tobytes())


OFFSET = bytes.fromhex(
    "ff4fff51002900000000001300000011000000110000000b0000001300000011000000000000000000010701"
    "01ff52000c00000001000304040001ff5c000d4040404040484850484850ff90000a0000000000230001ff93"
    "cfc00e03e40209cc3102c1f38387d404093e470773ffd9"
)
"""6 rows of 2 samples from (17, 11) on: the lower two of its four resolutions hold nothing."""


@pytest.mark.parametrize("attempt", range(4))
def test_an_image_off_the_origin_and_resolutions_without_samples_are_decoded(
    tmp_path: Path, attempt: int
) -> None:
    """By whatever decoder is asked first. Encoders get such tiles wrong: OpenJPEG 2.5.0 does."""
    samples = np.arange(5, 245, 20, "u1")
    ds = header(6, 2, BitsAllocated=8, BitsStored=8, HighBit=7)
    file = encapsulated(tmp_path / "a.dcm", ds, J2K_LOSSLESS, [OFFSET])
    transcode(file, EXPLICIT_LE, tmp_path / "out", attempt=attempt)
    assert pydicom.dcmread(tmp_path / "out").PixelData == samples.tobytes()
