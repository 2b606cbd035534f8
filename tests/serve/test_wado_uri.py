"""WADO-URI: which of DICOM and picture is given, and what is refused."""

from collections.abc import AsyncIterator, Sequence
from io import BytesIO
from pathlib import Path

import aiohttp
import numpy as np
import pydicom
import pytest
from aiohttp import web
from PIL import Image

from gateway.dicomweb.accept import MediaRange
from gateway.model import Instance
from gateway.serve import wado_uri
from gateway.serve.problems import NotAcceptable
from gateway.serve.rendered import rendered_by_uri
from gateway.serve.serving import Serving
from tests.serve import objects
from tests.serve.gallery import Gateway, opened_gateway

LE, JLS, J2K = objects.EXPLICIT_LE, objects.JPEG_LS, "1.2.840.10008.1.2.4.90"


async def picture(
    _: Serving, request: web.Request, instance: Instance, ranges: Sequence[MediaRange]
) -> web.StreamResponse:
    """Stands in for the rendering: it makes JPEG and PNG."""
    for wanted in ranges:
        for made in ("image/jpeg", "image/png"):
            if wanted.covers(made):
                return web.Response(text=instance.sop_instance_uid, content_type=made)
    raise NotAcceptable("pictures are image/jpeg or image/png")


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    async with opened_gateway(
        tmp_path, lambda _: (), lambda serving: wado_uri.routes(serving, picture)
    ) as running:
        running.gallery.hang(objects.jpeg_ls(tmp_path / "one.dcm", objects.pictures(1)))
        running.gallery.hang(objects.jpeg_ls(tmp_path / "many.dcm", objects.pictures(3)))
        yield running


def query(**changes: str | None) -> dict[str, str]:
    given: dict[str, str | None] = {
        "requestType": "WADO",
        "studyUID": "1.2.3",
        "seriesUID": "1.2.3.4",
        "objectUID": "2.25.1",
    }
    return {name: value for name, value in (given | changes).items() if value is not None}


DICOM = "application/dicom"


@pytest.mark.parametrize("asked", [None, LE, "*"])
async def test_pixels_under_a_wrong_label_are_decoded_unless_asked_for_as_stored(
    gateway: Gateway, tmp_path: Path, asked: str | None
) -> None:
    pictures = objects.pictures(2)
    file = objects.under(LE, objects.jpeg_ls(tmp_path / "wrong.dcm", pictures))
    gateway.gallery.hang(file)
    params = query(objectUID="2.25.3", contentType=DICOM, transferSyntax=asked)
    async with (
        aiohttp.ClientSession() as client,
        client.get(gateway.url("/wado"), params=params) as answer,
    ):
        assert answer.headers["Content-Type"] == f"{DICOM}; transfer-syntax={LE}"
        body = await answer.read()
    if asked == "*":
        assert body == file.read_bytes()
    else:
        assert pydicom.dcmread(BytesIO(body)).PixelData == pictures.tobytes()


async def test_a_stored_file_that_cannot_be_read_is_a_temporary_failure(gateway: Gateway) -> None:
    held = gateway.gallery.instances_held[0]
    held.file.unlink()
    async with (
        aiohttp.ClientSession() as client,
        client.get(gateway.url("/wado"), params=query()) as answer,
    ):
        assert answer.status == 503
        assert "cannot be read" in (await answer.json())["error"]


@pytest.mark.parametrize(
    ("changes", "content_type"),
    [
        ({}, "image/jpeg"),
        ({"objectUID": "2.25.2"}, f"{DICOM}; transfer-syntax={LE}"),
        ({"contentType": "*/*"}, "image/jpeg"),
        ({"contentType": DICOM}, f"{DICOM}; transfer-syntax={LE}"),
        ({"contentType": "application/*"}, f"{DICOM}; transfer-syntax={LE}"),
        ({"contentType": DICOM, "transferSyntax": "*"}, f"{DICOM}; transfer-syntax={JLS}"),
        ({"contentType": DICOM, "transferSyntax": JLS}, f"{DICOM}; transfer-syntax={JLS}"),
        (
            {"contentType": DICOM, "transferSyntax": "1.2.840.10008.1.2"},
            f"{DICOM}; transfer-syntax=1.2.840.10008.1.2",
        ),
        ({"contentType": "image/png"}, "image/png"),
        ({"contentType": "image/jp2,image/png"}, "image/png"),
        ({"contentType": "image/jp2,application/dicom"}, f"{DICOM}; transfer-syntax={LE}"),
        ({"contentType": "image/*", "frameNumber": "2", "objectUID": "2.25.2"}, "image/jpeg"),
        ({"requestType": "wado", "charset": "UTF-8"}, "image/jpeg"),
    ],
)
async def test_what_is_asked_for_is_given(
    gateway: Gateway, changes: dict[str, str], content_type: str
) -> None:
    async with (
        aiohttp.ClientSession() as client,
        client.get(gateway.url("/wado"), params=query(**changes)) as answer,
    ):
        assert answer.status == 200, await answer.text()
        found = answer.headers["Content-Type"].removesuffix("; charset=utf-8")
        assert found == content_type
        if content_type.startswith(DICOM):
            assert (await answer.read())[128:132] == b"DICM"


@pytest.mark.parametrize(
    ("changes", "status", "text"),
    [
        ({"requestType": None}, 400, "requestType must be WADO"),
        ({"requestType": "QIDO"}, 400, "requestType must be WADO"),
        ({"studyUID": None}, 400, "studyUID is missing"),
        ({"seriesUID": ""}, 400, "seriesUID is missing"),
        ({"objectUID": "../../etc/passwd"}, 400, "is not a UID"),
        ({"objectUID": "2.25.99"}, 404, "no instance 2.25.99"),
        ({"studyUID": "1.9"}, 404, "of study 1.9 is held"),
        ({"anonymize": "yes"}, 501, "anonymize"),
        ({"contentType": "image/jp2"}, 406, "image/jpeg or image/png"),
        ({"contentType": DICOM, "transferSyntax": J2K}, 406, "Possible: "),
        ({"contentType": DICOM, "frameNumber": "1"}, 400, "frameNumber goes with pictures"),
    ],
)
async def test_what_cannot_be_given_is_refused_in_words(
    gateway: Gateway, changes: dict[str, str | None], status: int, text: str
) -> None:
    async with (
        aiohttp.ClientSession() as client,
        client.get(gateway.url("/wado"), params=query(**changes)) as answer,
    ):
        assert answer.status == status
        assert text in (await answer.json())["error"]


async def test_an_accept_that_contradicts_is_not_looked_at(gateway: Gateway) -> None:
    odd = {"Accept": 'multipart/related; type="application/octet-stream"; transfer-syntax="*"'}
    wanted = query(contentType=DICOM, transferSyntax="*")
    async with (
        aiohttp.ClientSession(headers=odd) as client,
        client.get(gateway.url("/wado"), params=wanted) as answer,
    ):
        assert answer.status == 200
        assert await answer.read() == gateway.gallery.instances_held[0].file.read_bytes()


async def test_pictures_are_those_of_the_rendering(tmp_path: Path) -> None:
    async with opened_gateway(
        tmp_path, lambda _: (), lambda serving: wado_uri.routes(serving, rendered_by_uri)
    ) as gateway:
        gateway.gallery.hang(objects.jpeg_ls(tmp_path / "many.dcm", objects.pictures(3)))
        wanted = query(
            contentType="image/png", frameNumber="2", windowCenter="32768", windowWidth="65536"
        )
        async with (
            aiohttp.ClientSession() as client,
            client.get(gateway.url("/wado"), params=wanted) as answer,
        ):
            assert (answer.status, answer.content_type) == (200, "image/png")
            picture = np.asarray(Image.open(BytesIO(await answer.read())))
    expected = objects.pictures(3)[1] / 257
    assert np.abs(picture.astype(float) - expected).max() <= 1
