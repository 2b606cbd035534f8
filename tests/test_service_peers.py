"""Gateways among themselves by DICOMweb: stored, fetched by hand and by rule, and seen through."""

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pydicom
import pytest
from pydicom.data import get_testdata_file

from gateway.config import load_text
from gateway.failures import PermanentFailure
from gateway.service import Service

HEAD = """
version: 1
gateway:
  dicom: {{ listen: "127.0.0.1:0" }}
  spool: {{ path: "{folder}", refuse_below_free: 1MiB }}
  web: {{ listen: "127.0.0.1:0" }}
"""
NODE = """
nodes:
  origin: {{ dicomweb: {{ url: "http://127.0.0.1:{port}/dicom-web" }} }}
"""
JPEG_2000 = Path(str(get_testdata_file("JPEG2000.dcm"))).read_bytes()
IMAGE = pydicom.dcmread(io.BytesIO(JPEG_2000))
STUDY = str(IMAGE.StudyInstanceUID)


@asynccontextmanager
async def gateway(folder: Path, more: str = "", **facts: object) -> AsyncIterator[Service]:
    text = (HEAD + more).format(folder=folder, **facts)
    async with Service(load_text(text, "test"), clock=lambda: datetime.now(UTC)) as service:
        yield service


@pytest.fixture
async def origin(tmp_path: Path) -> AsyncIterator[Service]:
    """A gateway that holds one JPEG 2000 image."""
    async with gateway(tmp_path / "origin") as service:
        await store(service)
        yield service


async def store(service: Service) -> None:
    headers = {"Content-Type": "application/dicom"}
    url = f"http://127.0.0.1:{service.web_port}/dicom-web/studies"
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, data=io.BytesIO(JPEG_2000), headers=headers) as response,
    ):
        assert response.status == 200


async def get(service: Service, path: str, **options: Any) -> tuple[int, bytes]:
    url = f"http://127.0.0.1:{service.web_port}{path}"
    async with (
        aiohttp.ClientSession() as session,
        session.request(options.pop("method", "GET"), url, **options) as response,
    ):
        return response.status, await response.read()


async def until_held(service: Service) -> None:
    async with asyncio.timeout(30):
        while not (await service.spool.counts()).instances:  # noqa: ASYNC110 - another's ledger
            await asyncio.sleep(0.02)


async def test_a_node_that_speaks_dicomweb_gets_its_instances_by_stow_rs(tmp_path: Path) -> None:
    route = "routes: [{{ name: all, send_to: [origin] }}]\n"
    async with (
        gateway(tmp_path / "there") as there,
        gateway(tmp_path / "here", NODE + route, port=there.web_port) as here,
    ):
        await store(here)
        await until_held(there)
        async with asyncio.timeout(30):
            while not (await here.spool.counts()).destinations["origin"].delivered:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert (await there.spool.counts()).instances == 1


async def test_a_study_that_is_asked_for_is_fetched_whole(tmp_path: Path, origin: Service) -> None:
    async with gateway(tmp_path / "here", NODE, port=origin.web_port) as here:
        wanted = {"from": "origin", "studies": [STUDY]}
        status, _ = await get(here, "/api/fetch", method="POST", json=wanted)
        assert status == 202
        await until_held(here)
        status, body = await get(here, f"/dicom-web/studies/{STUDY}")
        assert status == 200
        assert b"1.2.840.10008.1.2.1\0" in body


async def test_an_instance_that_is_named_is_fetched_by_wado_uri(
    tmp_path: Path, origin: Service
) -> None:
    node = "nodes:\n  origin: {{ dicomweb: {{ wado_uri: 'http://127.0.0.1:{port}/wado' }} }}\n"
    async with gateway(tmp_path / "here", node, port=origin.web_port) as here:
        wanted = {
            "from": "origin",
            "study": STUDY,
            "series": str(IMAGE.SeriesInstanceUID),
            "instance": str(IMAGE.SOPInstanceUID),
        }
        assert (await get(here, "/api/fetch", method="POST", json=wanted))[0] == 202
        await until_held(here)
        (held,) = [each async for each in here._local.instances(STUDY)]
        assert held.sop_instance_uid == wanted["instance"]


async def test_a_rule_fetches_what_is_new_without_being_asked(
    tmp_path: Path, origin: Service
) -> None:
    rule = "fetch: [{{ name: nm, from: origin, every: 1s, filter: {{ PatientID: '8*' }} }}]\n"
    async with gateway(tmp_path / "here", NODE + rule, port=origin.web_port) as here:
        await until_held(here)
        assert (await here.spool.counts()).instances == 1


async def test_what_only_an_upstream_holds_is_found_and_seen_through(
    tmp_path: Path, origin: Service
) -> None:
    serve = "serve: {{ upstream: [origin] }}\n"
    async with gateway(tmp_path / "here", NODE + serve, port=origin.web_port) as here:
        status, body = await get(here, "/dicom-web/studies?PatientID=8NM1")
        assert status == 200
        assert STUDY.encode() in body
        assert (await here.spool.counts()).instances == 0
        status, body = await get(here, f"/dicom-web/studies/{STUDY}")
        assert status == 200
        start, end = body.index(b"\r\n\r\n") + 4, body.rindex(b"\r\n--")
        got = pydicom.dcmread(io.BytesIO(body[start:end]))
        assert (got.pixel_array == IMAGE.pixel_array).all()
        counts = await here.spool.counts()
        assert (counts.instances, counts.destinations) == (1, {})


TAGS = """
nodes:
  there: {{ dimse: {{ ae_title: THERE, host: 127.0.0.1, port: {port} }} }}
routes:
  - name: teaching
    send_to: [there]
    tags:
      identity: true
      key_file: "{key}"
      set: {{ PatientName: TEACHING^CASE }}
      remove: [PatientSex]
      hash: [PatientID]
"""


async def test_a_route_changes_attributes_of_what_it_sends_and_of_nothing_else(
    tmp_path: Path,
) -> None:
    key = tmp_path / "key"
    key.write_text("sixteen bytes or more")
    async with (
        gateway(tmp_path / "there") as there,
        gateway(tmp_path / "here", TAGS, port=there.dicom_port, key=key) as here,
    ):
        await store(here)
        await until_held(there)
        (sent,) = await there.spool.instances([1])
        (kept,) = await here.spool.instances([1])
        there_is, here_is = pydicom.dcmread(sent.file), pydicom.dcmread(kept.file)
    assert there_is.PatientName == "TEACHING^CASE"
    assert "PatientSex" not in there_is
    assert there_is.PatientID not in ("", IMAGE.PatientID)
    assert there_is.StudyDate == IMAGE.StudyDate
    assert here_is == IMAGE
    assert (there_is.pixel_array == IMAGE.pixel_array).all()


@pytest.mark.parametrize("secret", ["short", None])
async def test_a_route_whose_key_is_short_or_missing_stops_the_start_and_says_which(
    tmp_path: Path, secret: str | None
) -> None:
    key = tmp_path / "key"
    if secret is not None:
        key.write_text(secret)
    text = (HEAD + TAGS).format(folder=tmp_path / "here", port=1, key=key)
    with pytest.raises(PermanentFailure, match=r"route teaching|key"):
        Service(load_text(text, "test"), clock=lambda: datetime.now(UTC))
