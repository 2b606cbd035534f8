"""Large files: the gateway itself maps none of them, since a damaged one would end it (SIGBUS)."""

import json
import mmap
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import imagecodecs
import numpy as np
import pytest

from gateway.serve import bulkdata, frames, metadata
from gateway.transcode.source import READ_WHOLE
from gateway.transfer_syntax import DEFLATED
from tests.serve.bad_sector import describe_later, touch
from tests.serve.gallery import Gateway, opened_gateway
from tests.serve.parts import parts_of
from tests.transcode.objects import EXPLICIT_BE, EXPLICIT_LE, JPEG_LS, encapsulated, header, save

SIDE = 1500
PICTURES = np.random.default_rng(3).integers(0, 1 << 14, (2, SIDE, SIDE), "u2")
AS_STORED = {"Accept": "multipart/related; type=application/octet-stream; transfer-syntax=*"}


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    tables = lambda serving: [each.routes(serving) for each in (metadata, frames, bulkdata)]  # noqa: E731
    async with opened_gateway(tmp_path, tables) as running:
        await running.serving.pool.warm()
        yield running


@pytest.fixture(autouse=True)
def no_map(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """A map of a file that is cut short meanwhile would end the process."""

    def refused(*_: object, **__: object) -> None:
        raise AssertionError("a file was mapped")

    monkeypatch.setattr(mmap, "mmap", refused)


def file_of(folder: Path, syntax: str) -> Path:
    ds = header(SIDE, SIDE, NumberOfFrames=2)
    if syntax == JPEG_LS:
        streams = [imagecodecs.jpegls_encode(one) for one in PICTURES]
        return encapsulated(folder / "a.dcm", ds, JPEG_LS, streams)
    ds.PixelData = PICTURES.astype(f"{'>' if syntax == EXPLICIT_BE else '<'}u2").tobytes()
    ds["PixelData"].VR = "OW"
    return save(folder / "a.dcm", ds, syntax)


@pytest.mark.parametrize("syntax", [EXPLICIT_LE, EXPLICIT_BE, JPEG_LS])
async def test_they_are_described_and_their_frames_and_values_given(
    gateway: Gateway, tmp_path: Path, syntax: str
) -> None:
    held = gateway.gallery.hang(file_of(tmp_path, syntax))
    assert held.size > READ_WHOLE
    async with aiohttp.ClientSession() as client:
        async with client.get(gateway.of(held, "/metadata")) as answer:
            (found,) = json.loads(await answer.read())
        assert found["00280010"]["Value"] == [SIDE]
        uri = found["7FE00010"]["BulkDataURI"]
        async with client.get(gateway.url(uri)) as answer:
            assert await answer.read() == PICTURES.tobytes()
        async with client.get(gateway.of(held, "/bulkdata/00280010")) as answer:
            assert await answer.read() == SIDE.to_bytes(2, "little")
        async with client.get(gateway.of(held, "/bulkdata/00100010")) as answer:
            assert answer.status == 404
        async with client.get(gateway.of(held, "/frames/2")) as answer:
            ((_, body),) = await parts_of(answer)
            assert body == PICTURES[1].tobytes()
        async with client.get(gateway.of(held, "/frames/2"), headers=AS_STORED) as answer:
            assert answer.status == 200
        async with client.get(gateway.of(held, "/frames/3")) as answer:
            assert answer.status == 404


async def test_a_deflated_one_is_described_though_its_file_is_small(
    gateway: Gateway, tmp_path: Path
) -> None:
    ds = header(SIDE, SIDE, NumberOfFrames=2)
    ds.PixelData = bytes(4 * SIDE * SIDE)
    ds["PixelData"].VR = "OW"
    held = gateway.gallery.hang(save(tmp_path / "a.dcm", ds, DEFLATED))
    assert held.size < READ_WHOLE < len(ds.PixelData)
    async with (
        aiohttp.ClientSession() as client,
        client.get(gateway.of(held, "/metadata")) as answer,
    ):
        (found,) = json.loads(await answer.read())
    assert found["00280010"]["Value"] == [SIDE]


async def test_one_that_ends_its_worker_costs_no_more_than_its_own_answer(
    gateway: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a bad sector does: the kernel ends who touches the map."""
    held = gateway.gallery.hang(file_of(tmp_path, EXPLICIT_LE))
    monkeypatch.setattr("gateway.serve.descriptions.describe", touch)
    async with (
        aiohttp.ClientSession() as client,
        client.get(gateway.of(held, "/metadata")) as answer,
    ):
        assert answer.status == 200, await answer.text()
        (found,) = json.loads(await answer.read())
    assert found["00080018"]["Value"] == [held.sop_instance_uid]
    assert "00280010" not in found


async def test_one_whose_worker_was_killed_is_described_by_another(
    gateway: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = gateway.gallery.hang(file_of(tmp_path, EXPLICIT_LE))
    monkeypatch.setattr("gateway.serve.descriptions.describe", describe_later)
    async with (
        aiohttp.ClientSession() as client,
        client.get(gateway.of(held, "/metadata")) as answer,
    ):
        (found,) = json.loads(await answer.read())
    assert found["00280010"]["Value"] == [SIDE]
