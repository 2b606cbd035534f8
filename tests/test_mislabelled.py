"""Objects whose Pixel Data is not as their label says, from the sender to node and browser."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import imagecodecs
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray

from gateway.config import load_text
from gateway.dataset.part10 import read_file_meta
from gateway.service import Service
from tests.real_files import FOLDER, needs_real_files
from tests.scripted_peer import CT, ScriptedPeer, store
from tests.serve.objects import implicit, under
from tests.transcode.objects import (
    EXPLICIT_LE,
    J2K_LOSSLESS,
    JPEG_BASELINE,
    JPEG_LOSSLESS,
    JPEG_LS,
    RLE,
    encapsulated,
    header,
    rle_of,
    save,
)

CONFIG = """
version: 1
gateway:
  dicom: {{ listen: "127.0.0.1:0" }}
  spool: {{ path: "{folder}", refuse_below_free: 1MiB }}
  web: {{ listen: "127.0.0.1:0" }}
"""
NODES = """
nodes:
  dimse_node: {{ dimse: {{ ae_title: THERE, host: 127.0.0.1, port: {dicom} }} }}
  web_node: {{ dicomweb: {{ url: "http://127.0.0.1:{web}/dicom-web" }} }}
routes: [{{ name: all, send_to: [dimse_node, web_node] }}]
"""
STUDY, SERIES = "1.2.3.1", "1.2.3.2"
PICTURE = np.random.default_rng(5).integers(0, 1 << 8, (16, 24), "u1")
CODINGS: dict[str, Callable[[NDArray[np.uint8]], bytes]] = {
    JPEG_LOSSLESS: imagecodecs.ljpeg_encode,
    JPEG_LS: imagecodecs.jpegls_encode,
    J2K_LOSSLESS: lambda one: imagecodecs.jpeg2k_encode(one, level=0, codecformat="j2k"),
    RLE: lambda one: rle_of([one.tobytes()]),
}


@asynccontextmanager
async def gateway(folder: Path, more: str = "", **facts: object) -> AsyncIterator[Service]:
    text = (CONFIG + more).format(folder=folder, **facts)
    async with Service(load_text(text, "test"), clock=lambda: datetime.now(UTC)) as service:
        yield service


def blank(uid: str) -> pydicom.Dataset:
    rows, columns = PICTURE.shape
    eight = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}
    named = {"StudyInstanceUID": STUDY, "SeriesInstanceUID": SERIES}
    return header(rows, columns, SOPClassUID=CT, SOPInstanceUID=uid, **named, **eight)


def coded(path: Path, uid: str, coding: str, streams: list[bytes]) -> Path:
    return encapsulated(path, blank(uid), coding, streams)


def plain(path: Path, uid: str) -> Path:
    ds = blank(uid)
    ds.PixelData = PICTURE.tobytes()
    ds["PixelData"].VR = "OB"
    return save(path, ds, EXPLICIT_LE)


def mislabelled(folder: Path) -> dict[str, bytes]:
    """Fragments of each coding under both native labels, and samples under others', by UID."""
    found: dict[str, Path] = {}
    for number, (coding, encode) in enumerate(CODINGS.items(), 1):
        streams = [encode(PICTURE)]
        uid = f"1.2.3.{number}"
        explicit = coded(folder / f"{uid}.1", f"{uid}.1", coding, streams)
        found[f"{uid}.1"] = under(EXPLICIT_LE, explicit)
        found[f"{uid}.2"] = implicit(coded(folder / f"{uid}.2", f"{uid}.2", coding, streams))
        found[f"{uid}.3"] = under(coding, plain(folder / f"{uid}.3", f"{uid}.3"))
    return {uid: file.read_bytes() for uid, file in found.items()}


async def send(service: Service, uid: str, content: bytes) -> None:
    """By C-STORE under the file's label."""
    meta = read_file_meta(content)
    async with await ScriptedPeer.connect(service.dicom_port) as peer:
        await peer.associate((CT, meta.transfer_syntax))
        await peer.send(store(uid, content[meta.dataset_offset :]))
        assert (await peer.answer()).status == 0


async def get(service: Service, path: str, **headers: str) -> tuple[int, bytes]:
    url = f"http://127.0.0.1:{service.web_port}{path}"
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as answer:
        return answer.status, await answer.read()


async def settled(service: Service) -> dict[str, Any]:
    """The counts of each node once nothing is owed any more."""
    async with asyncio.timeout(60):
        while any(one.owed for one in (await service.spool.counts()).destinations.values()):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    return dict((await service.spool.counts()).destinations)


def instance(uid: str) -> str:
    return f"/dicom-web/studies/{STUDY}/series/{SERIES}/instances/{uid}"


async def test_whoever_gets_them_can_read_their_pixels(tmp_path: Path) -> None:
    files = mislabelled(tmp_path)
    async with (
        gateway(tmp_path / "there") as there,
        gateway(tmp_path / "here", NODES, dicom=there.dicom_port, web=there.web_port) as here,
    ):
        for uid, content in files.items():
            await send(here, uid, content)
        counts = await settled(here)
        assert {name: one.delivered for name, one in counts.items()} == {
            "dimse_node": len(files),
            "web_node": len(files),
        }
        arrived = await there.spool.instances(range(1, 2 * len(files) + 1))
        assert len(arrived) == 2 * len(files)
        for one in arrived:
            assert one.transfer_syntax == EXPLICIT_LE
            assert not one.mislabelled
            assert pydicom.dcmread(one.file).PixelData == PICTURE.tobytes(), one
        for uid in files:
            status, body = await get(here, instance(uid), Accept="application/dicom")
            assert status == 200
            assert pydicom.dcmread(BytesIO(body)).PixelData == PICTURE.tobytes()
            status, body = await get(
                here, instance(uid) + "/frames/1", Accept="application/octet-stream"
            )
            assert (status, body) == (200, PICTURE.tobytes())
            stored = "application/dicom; transfer-syntax=*"
            _, body = await get(here, instance(uid), Accept=stored)
            assert body.endswith(files[uid][-400:])


async def test_what_cannot_be_decoded_is_held_and_refused_with_the_reason(
    tmp_path: Path,
) -> None:
    uid = "1.2.3.9"
    file = under(EXPLICIT_LE, coded(tmp_path / "a", uid, JPEG_BASELINE, [b"no codestream"]))
    async with (
        gateway(tmp_path / "there") as there,
        gateway(tmp_path / "here", NODES, dicom=there.dicom_port, web=there.web_port) as here,
    ):
        await send(here, uid, file.read_bytes())
        counts = await settled(here)
        assert {name: one.held for name, one in counts.items()} == {"dimse_node": 1, "web_node": 1}
        status, body = await get(here, instance(uid), Accept="application/dicom")
        assert status == 406
        assert b"labelled explicit-le starts like no JPEG" in body
        assert (await there.spool.counts()).instances == 0


@pytest.mark.data
@needs_real_files
async def test_a_real_one_goes_out_with_the_pixels_that_its_fragments_hold(
    tmp_path: Path,
) -> None:
    file = FOLDER / "ruby-dicom__no-header_explicit-two-pass-.dcm"
    async with (
        gateway(tmp_path / "there") as there,
        gateway(tmp_path / "here", NODES, dicom=there.dicom_port, web=there.web_port) as here,
    ):
        url = f"http://127.0.0.1:{here.web_port}/dicom-web/studies"
        headers = {"Content-Type": "application/dicom"}
        async with (
            aiohttp.ClientSession() as session,
            session.post(url, data=file.read_bytes(), headers=headers) as answer,
        ):
            assert answer.status == 200
        await settled(here)
        arrived = await there.spool.instances([1, 2])
    assert len(arrived) == 2
    for one in arrived:
        made = pydicom.dcmread(one.file)
        assert not one.mislabelled
        assert len(made.PixelData) == made.Rows * made.Columns * made.BitsAllocated // 8
