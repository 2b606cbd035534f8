"""Bulk data over HTTP: every value that metadata leave out, whole and by ranges."""

import asyncio
import struct
import warnings
from collections.abc import AsyncIterator, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import pydicom
import pytest
import pytest_asyncio
from dicomweb_client import DICOMwebClient
from pydicom.dataset import Dataset

from gateway.dataset.find import find, is_path
from gateway.dataset.part10 import encode_file_meta
from gateway.model import Instance
from gateway.serve import bulkdata, metadata, wado_rs
from gateway.transfer_syntax import BY_UID, EXPLICIT_BE, EXPLICIT_LE
from tests.dataset.samples import EBE, ELE, UNDEFINED, bundled, element, encode, head
from tests.real_files import FOLDER, catalogue, needs_real_files
from tests.serve.gallery import Gateway, opened_gateway
from tests.serve.parts import parts_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

MPEG4 = "1.2.840.10008.1.2.4.102"
OCTETS = "application/octet-stream"


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    folder = tmp_path_factory.mktemp("bulkdata")
    tables = lambda serving: [each.routes(serving) for each in (metadata, bulkdata, wado_rs)]  # noqa: E731
    async with opened_gateway(folder, tables) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def hung(
    gateway: Gateway, folder: Path, data: bytes, transfer_syntax: str = EXPLICIT_LE
) -> Instance:
    """An instance of these bytes."""
    meta = encode_file_meta(
        sop_class_uid="1.2.840.10008.5.1.4.1.1.7",
        sop_instance_uid="1.2.3.4.5",
        transfer_syntax=transfer_syntax,
    )
    file = folder / f"{len(gateway.gallery.instances_held)}.dcm"
    file.write_bytes(meta + data)
    return gateway.gallery.hang(file)


def uris(model: dict[str, Any]) -> Iterator[str]:
    """All BulkDataURIs of a JSON object."""
    for one in model.values():
        if "BulkDataURI" in one:
            yield one["BulkDataURI"]
        if one["vr"] == "SQ":
            for inside in one.get("Value", []):
                yield from uris(inside)


@pytest.mark.data
@needs_real_files
@pytest.mark.parametrize("name", sorted(row["file"] for row in catalogue()))
async def test_every_uri_of_the_metadata_gives_the_value(
    name: str, gateway: Gateway, client: aiohttp.ClientSession
) -> None:
    instance = gateway.gallery.hang(FOLDER / name)
    async with client.get(gateway.of(instance), headers={"Accept": "application/dicom"}) as whole:
        served = await whole.read()
        plain = whole.headers["Content-Type"].endswith(EXPLICIT_LE)
    async with client.get(gateway.of(instance, "/metadata")) as answer:
        (model,) = await answer.json(content_type=None)
    for uri in uris(model):
        async with client.get(gateway.url(uri), headers={"Accept": OCTETS}) as answer:
            value, status = await answer.read(), answer.status
        if b"DICM" not in served[128:132]:
            assert status == 200  # pydicom cannot tell how it is encoded
        elif plain:
            assert (status, value) == (200, wanted(served, uri.partition("/bulkdata/")[2]))
        else:
            assert status == (200 if BY_UID[instance.transfer_syntax].video else 406)


def wanted(served: bytes, path: str) -> bytes:
    """The value as pydicom reads it in the instance that WADO-RS gives."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on odd originals
        dataset: Any = pydicom.dcmread(BytesIO(served), force=True)
        *steps, tag = path.split("/")
        for at in range(0, len(steps), 2):
            dataset = dataset[int(steps[at], 16)].value[int(steps[at + 1]) - 1]
        raw = dataset.get_item(int(tag, 16))
        value: bytes = raw.value if isinstance(raw.value, bytes) else dataset[int(tag, 16)].value
        return value


async def test_pixels_are_uncompressed_and_say_so(
    gateway: Gateway, client: aiohttp.ClientSession
) -> None:
    instance = gateway.gallery.hang(bundled("JPEG2000.dcm"))
    async with client.get(gateway.of(instance, "/bulkdata/7fe00010")) as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"] == f"{OCTETS}; transfer-syntax={EXPLICIT_LE}"
        assert len(await answer.read()) == 1024 * 256 * 2


@pytest.mark.parametrize(
    ("accept", "status", "content_type"),
    [
        ("*/*", 200, OCTETS),
        (OCTETS, 200, OCTETS),
        ("application/*", 200, OCTETS),
        ('multipart/related; type="application/octet-stream"', 200, "multipart/related"),
        ("multipart/related; type=application/octet-stream", 200, "multipart/related"),
        ('multipart/related; type="*/*"', 200, "multipart/related"),
        ("multipart/related", 200, "multipart/related"),
        (f'multipart/related; type="{OCTETS}"; transfer-syntax=*', 200, "multipart/related"),
        (f"{OCTETS}; transfer-syntax={EXPLICIT_LE}", 200, OCTETS),
        (f"{OCTETS}; transfer-syntax=1.2.840.10008.1.2.4.90", 406, "application/json"),
        ('multipart/related; type="image/jp2"', 406, "application/json"),
        ("image/jpeg", 406, "application/json"),
    ],
)
async def test_the_form_is_what_the_client_accepts(
    accept: str, status: int, content_type: str, gateway: Gateway, client: aiohttp.ClientSession
) -> None:
    instance = gateway.gallery.hang(bundled("CT_small.dcm"))
    url = gateway.of(instance, "/bulkdata/7FE00010")
    async with client.get(url, headers={"Accept": accept}) as answer:
        assert (answer.status, answer.content_type) == (status, content_type)
        if content_type == "multipart/related":
            ((headers, body),) = await parts_of(answer)
            assert headers["content-type"] == f"{OCTETS}; transfer-syntax={EXPLICIT_LE}"
            assert url.endswith(headers["content-location"])
            assert body == pydicom.dcmread(instance.file).PixelData


@pytest.mark.parametrize(
    ("asked", "status", "start", "stop"),
    [
        ("bytes=0-", 206, 0, 32768),
        ("bytes=0-0", 206, 0, 1),
        ("bytes=100-199", 206, 100, 200),
        ("bytes=32000-99999999", 206, 32000, 32768),
        ("bytes=-5", 206, 32763, 32768),
        ("bytes=-99999999", 206, 0, 32768),
        ("bytes=5-4", 200, 0, 32768),
        ("bytes=0-1,5-6", 200, 0, 32768),
        ("bytes=a-b", 200, 0, 32768),
        ("frames=0-1", 200, 0, 32768),
        ("bytes=-", 200, 0, 32768),
        ("bytes=32768-", 416, 0, 0),
        ("bytes=-0", 416, 0, 0),
        ("bytes=999999999999999999-", 416, 0, 0),
    ],
)
@pytest.mark.parametrize("accept", [OCTETS, f"multipart/related; type={OCTETS}"])
async def test_ranges(
    accept: str,
    asked: str,
    status: int,
    start: int,
    stop: int,
    gateway: Gateway,
    client: aiohttp.ClientSession,
) -> None:
    """They are those of the value, whatever frames it."""
    instance = gateway.gallery.hang(bundled("CT_small.dcm"))
    url = gateway.of(instance, "/bulkdata/7FE00010")
    headers = {"Accept": accept, "Range": asked}
    async with client.get(url, headers=headers) as answer:
        assert answer.status == status
        if status == 416:
            assert answer.headers["Content-Range"] == "bytes */32768"
            return
        said = f"bytes {start}-{stop - 1}/32768" if status == 206 else None
        assert answer.headers.get("Content-Range") == said
        if accept == OCTETS:
            body = await answer.read()
        else:
            ((part, body),) = await parts_of(answer)
            assert part.get("content-range") == said
        assert body == pydicom.dcmread(instance.file).PixelData[start:stop]


async def test_a_range_of_what_has_changed_is_the_whole(
    gateway: Gateway, client: aiohttp.ClientSession
) -> None:
    instance = gateway.gallery.hang(bundled("CT_small.dcm"))
    url = gateway.of(instance, "/bulkdata/7FE00010")
    async with client.head(url) as answer:
        assert (answer.status, answer.content_length) == (200, 32768)
        assert await answer.read() == b""
        tag = answer.headers["ETag"]
    for known, status in ((tag, 206), ('"older"', 200)):
        headers = {"Range": "bytes=0-9", "If-Range": known}
        async with client.get(url, headers=headers) as answer:
            assert answer.status == status
    async with client.get(url, headers={"If-None-Match": tag}) as answer:
        assert answer.status == 304


@pytest.mark.parametrize(
    ("said", "content_type"),
    [
        (b"application/pdf ", "application/pdf"),
        (b"text/xml", "text/xml"),
        (b"model/stl ", "model/stl"),
        (b"text/html ", OCTETS),
        (b"a\r\nSet-Cookie: b", OCTETS),
        (b"", OCTETS),
    ],
)
async def test_a_document_has_its_media_type_unless_browsers_would_run_it(
    said: bytes,
    content_type: str,
    gateway: Gateway,
    client: aiohttp.ClientSession,
    tmp_path: Path,
) -> None:
    document = b"%PDF-" + b"x" * 2000
    data = element(0x00420011, "OB", document + b"\0") + element(0x00420012, "LO", said)
    data += element(0x00420015, "UL", struct.pack("<I", len(document)))
    instance = hung(gateway, tmp_path, data)
    url = gateway.of(instance, "/bulkdata/00420011")
    asked = 'multipart/related; type="application/pdf", multipart/related; type="*/*"'
    for accept in ("*/*", asked):
        async with client.get(url, headers={"Accept": accept}) as answer:
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            if accept == "*/*":
                headers, body = (
                    {"content-type": answer.headers["Content-Type"]},
                    await answer.read(),
                )
            else:
                ((headers, body),) = await parts_of(answer)
        assert (headers["content-type"], body) == (content_type, document)


async def test_a_waveform_in_a_sequence_is_a_single_part(
    gateway: Gateway, client: aiohttp.ClientSession
) -> None:
    instance = gateway.gallery.hang(bundled("waveform_ecg.dcm"))
    async with client.get(gateway.of(instance, "/metadata")) as answer:
        (model,) = await answer.json(content_type=None)
    uri = model["54000100"]["Value"][1]["54001010"]["BulkDataURI"]
    async with client.get(gateway.url(uri), headers={"Accept": OCTETS}) as answer:
        assert answer.headers["Content-Type"] == OCTETS
        stored = pydicom.dcmread(instance.file).WaveformSequence[1]
        assert await answer.read() == stored.get_item("WaveformData").value


async def test_text_is_given_in_utf_8(
    gateway: Gateway, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    data = element(0x00080005, "CS", b"ISO_IR 100")
    instance = hung(gateway, tmp_path, data + element(0x00420011, "UT", b"\xe9x" * 200_000))
    async with client.get(gateway.of(instance, "/metadata")) as answer:
        (model,) = await answer.json(content_type=None)
    uri = model["00420011"]["BulkDataURI"]
    plain = hung(gateway, tmp_path, data + element(0x0040A160, "UT", b"\xe9x" * 200_000))
    async with client.get(gateway.of(plain, "/bulkdata/0040A160")) as answer:
        assert await answer.read() == "éx".encode() * 200_000
    async with client.get(
        gateway.of(plain, "/bulkdata/0040A160"), headers={"Range": "bytes=0-3"}
    ) as answer:
        assert (answer.status, await answer.read()) == (206, "éxé"[:2].encode() + b"\xc3")
    assert uri.endswith("/bulkdata/00420011")


async def test_big_endian_values_are_given_in_little_endian(
    gateway: Gateway, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "1.2.3.4.5"
    dataset.add_new(0x00281201, "OW", bytes(range(250)) * 8)
    instance = hung(gateway, tmp_path, encode(dataset, EBE), EXPLICIT_BE)
    async with client.get(gateway.of(instance, "/bulkdata/00281201")) as answer:
        assert (answer.status, await answer.read()) == (200, bytes(range(250)) * 8)


async def test_a_video_is_one_stream_by_ranges(
    gateway: Gateway, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    data = head(0x7FE00010, "OB", UNDEFINED) + head(0xFFFEE000, "", 4) + b"\0\0\0\0"
    for piece in (b"first ", b"second", b"third!"):
        data += head(0xFFFEE000, "", len(piece)) + piece
    data += head(0xFFFEE0DD, "", 0)
    instance = hung(gateway, tmp_path, data, MPEG4)
    url = gateway.of(instance, "/bulkdata/7FE00010")
    async with client.get(url) as answer:
        assert answer.headers["Content-Type"] == f"video/mp4; transfer-syntax={MPEG4}"
        assert await answer.read() == b"first secondthird!"
    async with client.get(url, headers={"Range": "bytes=4-13"}) as answer:
        assert (answer.status, await answer.read()) == (206, b"t secondth")


async def test_what_is_no_value_is_refused_in_words(
    gateway: Gateway, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    instance = gateway.gallery.hang(bundled("rtplan.dcm"))
    for path, status in (
        ("7FE00010", 404),
        ("300A0070/1/300C0051", 404),
        ("300A0070/9/300C0050", 404),
        ("300A0070", 400),
        ("PixelData", 400),
        ("300A0070/0/300C0050", 400),
        ("300A0070/1", 400),
        ("..%2f..%2fetc%2fpasswd", 400),
        ("7FE00010" + "/1/7FE00010" * 70, 400),
    ):
        async with client.get(gateway.of(instance, f"/bulkdata/{path}")) as answer:
            assert (answer.status, bool((await answer.json())["error"])) == (status, True), path
    cut = hung(gateway, tmp_path, element(0x00080060, "CS", b"CT") + head(0x00282000, "OB", 99))
    async with client.get(gateway.of(cut, "/bulkdata/00282000")) as answer:
        assert answer.status == 409
    unknown = gateway.url("/dicom-web/studies/1.2.3/series/1.2.3.4/instances/9/bulkdata/7FE00010")
    async with client.get(unknown) as answer:
        assert answer.status == 404


@pytest.mark.filterwarnings("ignore:No bulk data URI handler")
async def test_dicomweb_client_retrieves_metadata_and_bulk_data(gateway: Gateway) -> None:
    instance = gateway.gallery.hang(bundled("CT_small.dcm"), "1.2.90", "1.2.90.1")
    other = DICOMwebClient(gateway.url("/dicom-web"))
    uids = ("1.2.90", "1.2.90.1", instance.sop_instance_uid)
    one = await asyncio.to_thread(other.retrieve_instance_metadata, *uids)
    study = await asyncio.to_thread(other.retrieve_study_metadata, uids[0])
    series = await asyncio.to_thread(other.retrieve_series_metadata, *uids[:2])
    assert study == series == [one]
    stored = pydicom.dcmread(instance.file)
    assert Dataset.from_json(one).PatientName == stored.PatientName
    url = gateway.url(one["7FE00010"]["BulkDataURI"])
    found = await asyncio.to_thread(other.retrieve_bulkdata, url)
    assert found == [stored.PixelData]
    part = await asyncio.to_thread(other.retrieve_bulkdata, url, None, (10, 19))
    assert part in ([stored.PixelData[10:20]], [stored.PixelData])


@pytest.mark.asyncio(loop_scope="function")
async def test_paths_are_tags_and_numbers() -> None:
    assert is_path("54000100/1/54001010")
    assert not any(map(is_path, ("", "x", "7FE00010/", "7FE00010/1", "7fe0001", "7FE00010/0/1")))
    data = element(0x00080060, "CS", b"CT")
    place = find(data, 0, len(data), ELE, "00080060")
    assert place is not None
    assert (place.vr, place.element.length) == ("CS", 2)
    assert find(data, 0, len(data), ELE, "00080061") is None
