"""Frames: each one right by itself, whatever surrounds it, and no more work than it takes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
import imagecodecs
import numpy as np
import pytest

from gateway.failures import PermanentFailure
from gateway.model import Instance
from gateway.serve import frames, rendered, wado_rs
from gateway.transcode.located import Located
from tests.serve import objects
from tests.serve.gallery import Gateway, opened_gateway
from tests.serve.parts import Parts, parts_of
from tests.transcode.objects import (
    JPEG_LS,
    encapsulated,
    header,
    packbits,
    rle_of,
    save,
)

LE, IMPLICIT, BE = objects.EXPLICIT_LE, objects.IMPLICIT_LE, objects.EXPLICIT_BE
RLE, DEFLATED = "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.1.99"
AS_STORED = {"Accept": "multipart/related; type=application/octet-stream; transfer-syntax=*"}


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    async with opened_gateway(
        tmp_path,
        lambda serving: [module.routes(serving) for module in (wado_rs, frames, rendered)],
    ) as running:
        yield running


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def frames_of(
    client: aiohttp.ClientSession,
    gateway: Gateway,
    instance: Instance,
    numbers: str,
    headers: dict[str, str] | None = None,
) -> Parts:
    async with client.get(gateway.of(instance, f"/frames/{numbers}"), headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        return await parts_of(answer)


def bodies(parts: Parts) -> list[bytes]:
    return [body for _, body in parts]


@pytest.mark.parametrize("syntax", [LE, IMPLICIT, BE, DEFLATED])
async def test_native_frames_are_little_endian_whatever_is_stored(
    gateway: Gateway, client: aiohttp.ClientSession, tmp_path: Path, syntax: str
) -> None:
    pictures = objects.pictures(3)
    instance = gateway.gallery.hang(objects.native(tmp_path / "a.dcm", pictures, syntax))
    parts = await frames_of(client, gateway, instance, "3,1")
    assert bodies(parts) == [pictures[2].tobytes(), pictures[0].tobytes()]
    assert {headers["content-type"] for headers, _ in parts} == {
        f"application/octet-stream; transfer-syntax={LE}"
    }
    assert gateway.shelf.made() == ({LE} if syntax == DEFLATED else set())


@pytest.mark.parametrize("per_frame", [1, 3])
async def test_stored_frames_are_their_fragments(
    gateway: Gateway, client: aiohttp.ClientSession, tmp_path: Path, per_frame: int
) -> None:
    pictures = objects.pictures(4)
    file = objects.jpeg_ls(tmp_path / "a.dcm", pictures, per_frame=per_frame)
    instance = gateway.gallery.hang(file)
    parts = await frames_of(client, gateway, instance, "2,4,2", AS_STORED)
    found = [imagecodecs.jpegls_decode(body) for body in bodies(parts)]
    assert [one.tobytes() for one in found] == [pictures[n].tobytes() for n in (1, 3, 1)]
    assert parts[0][0] == {
        "content-type": f"image/jls; transfer-syntax={JPEG_LS}",
        "content-location": gateway.of(instance, "/frames/2").removeprefix(gateway.url("")),
    }
    assert gateway.shelf.made() == set()


async def test_a_small_object_is_decoded_whole_and_once_without_a_look_for_its_frames(
    gateway: Gateway,
    client: aiohttp.ClientSession,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked: list[Path] = []

    def located(file: Path) -> Located:
        looked.append(file)
        return frames_located(file)

    frames_located = frames.located
    monkeypatch.setattr(frames, "located", located)
    pictures = objects.pictures(4)
    instance = gateway.gallery.hang(objects.jpeg_ls(tmp_path / "a.dcm", pictures))
    for number in (3, 1, 4):
        parts = await frames_of(client, gateway, instance, str(number))
        assert bodies(parts) == [pictures[number - 1].tobytes()]
    assert gateway.shelf.made() == {LE}
    assert looked == []
    gateway.serving.derivations._made.clear()  # remembered are only so many
    parts = await frames_of(client, gateway, instance, "2")
    assert bodies(parts) == [pictures[1].tobytes()]
    assert looked == [gateway.shelf.derived_path(instance, LE)]


async def test_a_frame_takes_no_turn_of_a_thread(
    gateway: Gateway,
    client: aiohttp.ClientSession,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pictures = objects.pictures(2)
    one, other = (gateway.gallery.hang(objects.jpeg_ls(tmp_path / n, pictures)) for n in "ab")
    await frames_of(client, gateway, one, "1")
    turns: list[object] = []
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "run_in_executor", lambda *of: turns.append(of))
    for instance in (one, other):
        assert bodies(await frames_of(client, gateway, instance, "2")) == [pictures[1].tobytes()]
    assert turns == []


async def test_one_frame_of_a_large_object_is_decoded_alone(
    gateway: Gateway,
    client: aiohttp.ClientSession,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(frames, "SMALL", 100)
    monkeypatch.setattr(frames, "SMALL_STORED", 0)
    pictures = objects.pictures(9)
    instance = gateway.gallery.hang(objects.jpeg_ls(tmp_path / "a.dcm", pictures))
    parts = await frames_of(client, gateway, instance, "7,2,7")
    assert bodies(parts) == [pictures[n].tobytes() for n in (6, 1, 6)]
    assert gateway.shelf.made() == {f"{LE}+frame-7", f"{LE}+frame-2"}
    parts = await frames_of(client, gateway, instance, "1,2,3,4,5,6,7,8,9")
    assert bodies(parts) == [one.tobytes() for one in pictures]
    assert LE in gateway.shelf.made()


async def test_how_single_frames_were_decoded_is_recorded_once_for_an_instance(
    gateway: Gateway,
    client: aiohttp.ClientSession,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(frames, "SMALL", 100)
    monkeypatch.setattr(frames, "SMALL_STORED", 0)
    file = objects.jpeg_ls(tmp_path / "a.dcm", objects.pictures(9))
    held = [gateway.gallery.hang(file) for _ in range(2)]
    for instance in held:
        await frames_of(client, gateway, instance, "7,2")
    (key, passport), (other, _) = gateway.shelf.recorded
    assert key == other == f"{LE}+single-frames"
    assert (passport.target, passport.frames, passport.colour) == (LE, 1, "MONOCHROME2")
    assert all((passport.decoder, passport.version, passport.self_test))


async def test_a_frame_that_fails_alone_comes_from_the_whole(
    gateway: Gateway,
    client: aiohttp.ClientSession,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def failing(*_: object) -> None:
        raise PermanentFailure("a worker was brought down")

    monkeypatch.setattr(frames, "SMALL", 100)
    monkeypatch.setattr(frames, "SMALL_STORED", 0)
    monkeypatch.setattr(gateway.serving.pool, "run", failing)
    pictures = objects.pictures(9)
    instance = gateway.gallery.hang(objects.jpeg_ls(tmp_path / "a.dcm", pictures))
    assert bodies(await frames_of(client, gateway, instance, "5")) == [pictures[4].tobytes()]
    assert gateway.shelf.made() == {LE}


@pytest.mark.parametrize("small", [False, True])
async def test_a_frame_of_what_is_too_long_uncompressed_can_be_had(
    gateway: Gateway,
    client: aiohttp.ClientSession,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    small: bool,
) -> None:
    monkeypatch.setattr(frames, "SMALL_STORED", 1 << 30 if small else 0)
    blank = imagecodecs.jpegls_encode(np.zeros((160, 160), "u2"))
    last = imagecodecs.jpegls_encode(np.full((160, 160), 7, "u2"))
    ds = header(160, 160, NumberOfFrames=90_000)
    file = tmp_path / "a.dcm"
    encapsulated(file, ds, JPEG_LS, [*[blank] * 89_999, last], table=False)
    instance = gateway.gallery.hang(file)
    (body,) = bodies(await frames_of(client, gateway, instance, "90000"))
    assert body == np.full((160, 160), 7, "<u2").tobytes()
    only = {"Accept": f'multipart/related; type="application/dicom"; transfer-syntax={LE}'}
    async with client.get(gateway.of(instance), headers=only) as answer:
        assert answer.status == 406
        assert "uncompressed this instance has 4608000000 bytes" in (await answer.json())["error"]


async def test_frames_of_single_bits_begin_on_a_byte(
    gateway: Gateway, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    bits = np.random.default_rng(3).integers(0, 2, (5, 3, 7), "u1")
    ds = header(3, 7, NumberOfFrames=5, BitsAllocated=1, BitsStored=1, HighBit=0)
    packed = np.packbits(bits.reshape(-1), bitorder="little").tobytes()
    ds.PixelData = packed + b"\0" * (len(packed) % 2)
    ds["PixelData"].VR = "OB"
    instance = gateway.gallery.hang(save(tmp_path / "a.dcm", ds, LE))
    expected = [np.packbits(bits[n].reshape(-1), bitorder="little").tobytes() for n in range(5)]
    assert bodies(await frames_of(client, gateway, instance, "1,2,3,4,5")) == expected


async def test_subsampled_native_frames_have_two_bytes_a_pixel(
    gateway: Gateway, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    samples = np.random.default_rng(4).integers(0, 256, (3, 6 * 10 * 2), "u1")
    ds = header(6, 10, NumberOfFrames=3, SamplesPerPixel=3, BitsAllocated=8, BitsStored=8)
    ds.HighBit, ds.PhotometricInterpretation = 7, "YBR_FULL_422"
    ds.PixelData = samples.tobytes()
    instance = gateway.gallery.hang(save(tmp_path / "a.dcm", ds, LE))
    assert bodies(await frames_of(client, gateway, instance, "2")) == [samples[1].tobytes()]


async def test_bytes_that_stand_in_words_come_in_order(
    gateway: Gateway, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    """8-bit samples as OW in a big-endian data set are swapped in pairs, across frames too."""
    samples = np.arange(2 * 15, dtype="u1")
    ds = header(3, 5, NumberOfFrames=2, BitsAllocated=8, BitsStored=8, HighBit=7)
    ds.PixelData = samples.view(">u2").byteswap().tobytes()
    ds["PixelData"].VR = "OW"
    instance = gateway.gallery.hang(save(tmp_path / "a.dcm", ds, BE))
    found = bodies(await frames_of(client, gateway, instance, "1,2"))
    assert found == [samples[:15].tobytes(), samples[15:].tobytes()]


async def test_float_pixels_are_given_as_they_are(
    gateway: Gateway, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    values = np.random.default_rng(5).random((2, 4, 4)).astype("<f4")
    ds = header(4, 4, NumberOfFrames=2, BitsAllocated=32)
    ds.FloatPixelData = values.tobytes()
    instance = gateway.gallery.hang(save(tmp_path / "a.dcm", ds, LE))
    assert bodies(await frames_of(client, gateway, instance, "2")) == [values[1].tobytes()]


async def test_rle_frames_as_stored_and_decoded(
    gateway: Gateway, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    rows = [bytes(range(n, n + 60)) for n in (0, 60)]
    ds = header(6, 10, NumberOfFrames=2, BitsAllocated=8, BitsStored=8, HighBit=7)
    streams = [rle_of([row]) for row in rows]
    instance = gateway.gallery.hang(encapsulated(tmp_path / "a.dcm", ds, RLE, streams))
    ((headers, body),) = await frames_of(client, gateway, instance, "2", AS_STORED)
    assert headers["content-type"] == f"image/dicom-rle; transfer-syntax={RLE}"
    assert packbits(rows[1]) in body
    assert bodies(await frames_of(client, gateway, instance, "2")) == [rows[1]]


async def test_a_video_is_one_stream(
    gateway: Gateway, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    instance = gateway.gallery.hang(objects.video(tmp_path / "a.dcm"))
    (body,) = bodies(await frames_of(client, gateway, instance, "1", AS_STORED))
    assert body == b"\0\0\0\x18ftypmp42and so on "
    async with client.get(gateway.of(instance, "/frames/2"), headers=AS_STORED) as answer:
        assert answer.status == 404


@pytest.mark.parametrize("numbers", ["2", "1,2"])
async def test_frames_of_several_pieces_arrive_whole(
    gateway: Gateway, client: aiohttp.ClientSession, tmp_path: Path, numbers: str
) -> None:
    pictures = np.random.default_rng(6).integers(0, 1 << 16, (2, 500, 700), "u2")
    ds = header(500, 700, NumberOfFrames=2)
    ds.PixelData = pictures.tobytes()
    ds["PixelData"].VR = "OW"
    instance = gateway.gallery.hang(save(tmp_path / "a.dcm", ds, LE))
    wanted = [pictures[int(number) - 1].tobytes() for number in numbers.split(",")]
    assert bodies(await frames_of(client, gateway, instance, numbers)) == wanted
    octets = {"Accept": "application/octet-stream"}
    async with client.get(gateway.of(instance, "/frames/1"), headers=octets) as answer:
        assert await answer.read() == pictures[0].tobytes()


async def test_a_frame_alone_has_its_length_and_head_has_no_body(
    gateway: Gateway, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    pictures = objects.pictures(2)
    instance = gateway.gallery.hang(objects.native(tmp_path / "a.dcm", pictures))
    url, octets = gateway.of(instance, "/frames/2"), {"Accept": "application/octet-stream"}
    async with client.get(url, headers=octets) as answer:
        assert answer.headers["Content-Type"] == f"application/octet-stream; transfer-syntax={LE}"
        assert answer.content_length == 120
        assert await answer.read() == pictures[1].tobytes()
    for headers in (octets, AS_STORED):
        async with client.head(url, headers=headers) as answer:
            assert (answer.status, await answer.read()) == (200, b"")


@pytest.mark.parametrize(
    ("numbers", "status", "text"),
    [
        ("3", 404, "there is no frame 3: the instance has 2"),
        ("1,3", 404, "there is no frame 3"),
        ("999999999", 404, "there is no frame 999999999"),
        ("0", 400, "numbered from 1"),
        ("-1", 400, "no list of frame numbers"),
        ("1,,2", 400, "no list of frame numbers"),
        ("one", 400, "'one' is no list of frame numbers"),
        ("1.5", 400, "no list of frame numbers"),
        ("²", 400, "no list of frame numbers"),
        ("9" * 5000, 400, "no list of frame numbers"),
    ],
)
@pytest.mark.parametrize("stored", ["native", "jpeg_ls"])
@pytest.mark.parametrize("headers", [None, AS_STORED])
async def test_frames_that_are_not_there(
    gateway: Gateway,
    client: aiohttp.ClientSession,
    tmp_path: Path,
    numbers: str,
    status: int,
    text: str,
    stored: str,
    headers: dict[str, str] | None,
) -> None:
    make = getattr(objects, stored)
    instance = gateway.gallery.hang(make(tmp_path / "a.dcm", objects.pictures(2)))
    async with client.get(gateway.of(instance, f"/frames/{numbers}"), headers=headers) as answer:
        assert answer.status == status
        assert text in (await answer.json())["error"]


async def test_an_instance_without_pixels_has_no_frames(
    gateway: Gateway, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    instance = gateway.gallery.hang(save(tmp_path / "a.dcm", header(0, 0), LE))
    async with client.get(gateway.of(instance, "/frames/1")) as answer:
        assert answer.status == 404
        assert "no Pixel Data" in (await answer.json())["error"]


async def test_pixels_that_are_cut_are_no_frames(
    gateway: Gateway, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    ds = header(6, 10, NumberOfFrames=3)
    ds.PixelData = bytes(6 * 10 * 2 * 2)
    ds["PixelData"].VR = "OW"
    instance = gateway.gallery.hang(save(tmp_path / "a.dcm", ds, LE))
    async with client.get(gateway.of(instance, "/frames/1")) as answer:
        assert answer.status == 406
        assert "does not hold 3 frames" in (await answer.json())["error"]


@pytest.mark.parametrize("marked", [True, False])
@pytest.mark.parametrize("headers", [None, AS_STORED])
@pytest.mark.parametrize(("make", "label"), [(objects.jpeg_ls, LE), (objects.native, JPEG_LS)])
async def test_frames_that_are_not_as_their_label_says_come_uncompressed(
    gateway: Gateway,
    client: aiohttp.ClientSession,
    tmp_path: Path,
    make: Callable[..., Path],
    label: str,
    headers: dict[str, str] | None,
    marked: bool,
) -> None:
    """Also where an older ledger does not know of it."""
    pictures = objects.pictures(3)
    file = objects.under(label, make(tmp_path / "a.dcm", pictures))
    instance = gateway.gallery.hang(file, marked=marked)
    parts = await frames_of(client, gateway, instance, "3,1", headers)
    assert bodies(parts) == [pictures[2].tobytes(), pictures[0].tobytes()]
    assert {headers["content-type"] for headers, _ in parts} == {
        f"application/octet-stream; transfer-syntax={LE}"
    }


@pytest.mark.parametrize("marked", [True, False])
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize(("make", "label"), [(objects.jpeg_ls, LE), (objects.native, JPEG_LS)])
async def test_pictures_of_what_is_not_as_its_label_says_show_its_pixels(
    gateway: Gateway,
    client: aiohttp.ClientSession,
    tmp_path: Path,
    make: Callable[..., Path],
    label: str,
    count: int,
    marked: bool,
) -> None:
    pictures = objects.pictures(count)
    file = objects.under(label, make(tmp_path / "a.dcm", pictures))
    right = gateway.gallery.hang(objects.native(tmp_path / "b.dcm", pictures))
    wrong = gateway.gallery.hang(file, marked=marked)
    shown = []
    for instance in (right, wrong):
        url = gateway.of(instance, f"/frames/{count}/rendered")
        async with client.get(url, headers={"Accept": "image/png"}) as answer:
            assert answer.status == 200, await answer.text()
            shown.append(await answer.read())
    assert shown[0] == shown[1]
