"""The dicomweb-client library (Python) retrieves all it can ask for, with its own headers."""

import asyncio
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import pytest_asyncio
from dicomweb_client import DICOMwebClient
from PIL import Image
from pydicom.dataset import Dataset
from requests.exceptions import HTTPError

from gateway.serve import bulkdata, frames, metadata, rendered, wado_rs
from tests.serve import objects
from tests.serve.gallery import SERIES, STUDY, Gateway, opened_gateway

pytestmark = pytest.mark.asyncio(loop_scope="module")

LE, JLS = objects.EXPLICIT_LE, objects.JPEG_LS
PICTURES = objects.pictures(3)
ONE, TWO = (STUDY, SERIES, "2.25.1"), (STUDY, SERIES, "2.25.2")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    folder: Path = tmp_path_factory.mktemp("client")
    async with opened_gateway(
        folder,
        lambda serving: [
            wado_rs.routes(serving),
            frames.routes(serving),
            metadata.routes(serving),
            bulkdata.routes(serving),
            rendered.routes(serving),
        ],
    ) as running:
        running.gallery.hang(objects.jpeg_ls(folder / "jls.dcm", PICTURES))
        running.gallery.hang(objects.native(folder / "raw.dcm", PICTURES[:1]))
        yield running


@pytest.fixture
def client(gateway: Gateway) -> DICOMwebClient:
    return DICOMwebClient(gateway.url("/dicom-web"))


def samples(objects_found: list[Dataset]) -> list[bytes]:
    return [found.PixelData for found in objects_found]


async def test_studies_and_series(client: DICOMwebClient) -> None:
    expected = [PICTURES.tobytes(), PICTURES[:1].tobytes()]
    assert samples(await asyncio.to_thread(client.retrieve_study, STUDY)) == expected
    assert samples(await asyncio.to_thread(client.retrieve_series, STUDY, SERIES)) == expected
    assert samples(await asyncio.to_thread(lambda: list(client.iter_study(STUDY)))) == expected
    assert (
        samples(await asyncio.to_thread(lambda: list(client.iter_series(STUDY, SERIES))))
        == expected
    )


@pytest.mark.parametrize(
    ("media_types", "syntax"),
    [
        (None, JLS),  # it asks for transfer-syntax=*
        (("application/dicom",), LE),
        ((("application/dicom", "*"),), JLS),
        ((("application/dicom", JLS),), JLS),
        ((("application/dicom", LE),), LE),
    ],
)
async def test_an_instance_in_a_transfer_syntax(
    client: DICOMwebClient, media_types: tuple[object, ...] | None, syntax: str
) -> None:
    found = await asyncio.to_thread(client.retrieve_instance, *ONE, media_types=media_types)
    assert found.file_meta.TransferSyntaxUID == syntax
    assert (syntax == JLS) or found.PixelData == PICTURES.tobytes()


async def test_what_cannot_be_made_raises_with_the_status(client: DICOMwebClient) -> None:
    wanted = (("application/dicom", "1.2.840.10008.1.2.4.90"),)
    with pytest.raises(HTTPError, match="406"):
        await asyncio.to_thread(client.retrieve_instance, *TWO, media_types=wanted)


@pytest.mark.parametrize(
    ("media_types", "stored"),
    [
        (None, False),
        (("application/octet-stream",), False),
        ((("application/octet-stream", LE),), False),
        ((("application/octet-stream", "*"),), True),
        (("image/jls",), True),
        ((("image/jls", JLS),), True),
        (("image/jp2", "image/jls"), True),
    ],
)
async def test_frames(
    client: DICOMwebClient, media_types: tuple[object, ...] | None, stored: bool
) -> None:
    found = await asyncio.to_thread(
        client.retrieve_instance_frames, *ONE, frame_numbers=[3, 1], media_types=media_types
    )
    arrays = [
        imagecodecs.jpegls_decode(one) if stored else np.frombuffer(one, "<u2").reshape(6, 10)
        for one in found
    ]
    assert [one.tobytes() for one in arrays] == [PICTURES[2].tobytes(), PICTURES[0].tobytes()]
    again = await asyncio.to_thread(
        lambda: list(client.iter_instance_frames(*ONE, [3, 1], media_types=media_types))
    )
    assert again == found


async def test_metadata_at_every_level(client: DICOMwebClient) -> None:
    whole = await asyncio.to_thread(client.retrieve_study_metadata, STUDY)
    assert await asyncio.to_thread(client.retrieve_series_metadata, STUDY, SERIES) == whole
    assert len(whole) == 2
    one = await asyncio.to_thread(client.retrieve_instance_metadata, *ONE)
    assert one == whole[0]
    assert (one["00280010"]["Value"], one["00280008"]["Value"]) == ([6], [3])


async def test_pictures_of_instances_and_frames(client: DICOMwebClient) -> None:
    for media_type, kind in (("image/jpeg", "JPEG"), ("image/png", "PNG")):
        body = await asyncio.to_thread(
            client.retrieve_instance_rendered, *TWO, media_types=(media_type,)
        )
        picture = Image.open(BytesIO(body))
        assert (picture.format, picture.size) == (kind, (10, 6))
    body = await asyncio.to_thread(
        client.retrieve_instance_frames_rendered, *ONE, [2], media_types=("image/png",)
    )
    assert Image.open(BytesIO(body)).size == (10, 6)


async def test_what_is_not_held_raises_with_the_status(client: DICOMwebClient) -> None:
    with pytest.raises(HTTPError, match="404"):
        await asyncio.to_thread(client.retrieve_instance, STUDY, SERIES, "2.25.99")


async def test_bulk_data_by_its_uri(client: DICOMwebClient, gateway: Gateway) -> None:
    one = await asyncio.to_thread(client.retrieve_instance_metadata, *ONE)
    uri = one["7FE00010"]["BulkDataURI"]
    assert uri.startswith("/dicom-web/")  # the client sends Host without the port
    (body,) = await asyncio.to_thread(client.retrieve_bulkdata, gateway.url(uri))
    assert body == PICTURES.tobytes()
