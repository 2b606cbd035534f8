"""Metadata over HTTP: what they say, in which representation, and what damage does to them."""

import json
import threading
import warnings
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pydicom
import pytest
import pytest_asyncio
from pydicom.dataset import Dataset

from gateway.dataset.json_model import to_json
from gateway.dataset.part10 import encode_file_meta, read_file_meta
from gateway.model import Instance
from gateway.serve import description, metadata, wado_rs
from gateway.serve.description import Description
from gateway.serve.descriptions import Descriptions
from gateway.transfer_syntax import BY_UID, EXPLICIT_LE, JPEG_BASELINE
from tests.dataset.samples import bundled, element, head
from tests.real_files import FOLDER, catalogue, needs_real_files
from tests.serve import objects
from tests.serve.gallery import SERIES, STUDY, Gateway, opened_gateway
from tests.serve.parts import parts_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

NAME = "{http://dicom.nema.org/PS3.19/models/NativeDICOM}"
OWN = ("00080018", "0020000D", "0020000E", "00083002")
"""What the gallery hangs up under other UIDs, and what only metadata have."""

CUT = (
    "dcm4che__3gb-bulk-data-truncated.dcm",
    "pydicom__MR_truncated.dcm",
    "pydicom__rtplan_truncated.dcm",
)
"""Files that end within their last element."""


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    folder = tmp_path_factory.mktemp("metadata")
    tables = lambda serving: [each.routes(serving) for each in (metadata, wado_rs)]  # noqa: E731
    async with opened_gateway(folder, tables) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def described(client: aiohttp.ClientSession, url: str) -> list[dict[str, Any]]:
    async with client.get(url) as answer:
        assert answer.status == 200, await answer.text()
        assert answer.content_type == "application/dicom+json"
        found: list[dict[str, Any]] = json.loads(await answer.read())
        return found


@pytest.mark.data
@needs_real_files
@pytest.mark.parametrize("name", sorted({row["file"] for row in catalogue()} - set(CUT)))
async def test_metadata_describe_the_instance_that_is_served(
    name: str, gateway: Gateway, client: aiohttp.ClientSession
) -> None:
    instance = gateway.gallery.hang(FOLDER / name)
    accept = {"Accept": "application/dicom"}
    async with client.get(gateway.of(instance), headers=accept) as answer:
        if answer.status != 200:
            pytest.fail(await answer.text())
        whole = await answer.read()
    (found,) = await described(client, gateway.of(instance, "/metadata"))
    wanted = expected(whole, gateway.of(instance))
    if "00080016" not in wanted:  # then it stands in the File Meta Information
        found.pop("00080016", None)
    assert without_own(found) == without_own(wanted)
    assert found["00083002"]["Value"] == [instance.transfer_syntax]
    assert found["00080018"]["vr"] == "UI"


def expected(whole: bytes, url: str) -> dict[str, Any]:
    """What the JSON model makes of a Part 10 file."""
    meta = read_file_meta(whole)
    end, bulk = len(whole), f"{url.removeprefix(url[: url.index('/dicom-web')])}/bulkdata/"
    syntax = BY_UID[meta.transfer_syntax]
    text = to_json(whole, meta.dataset_offset, end, syntax, bulk=bulk.__add__)
    parsed: dict[str, Any] = json.loads(text)
    return parsed


def without_own(found: dict[str, Any]) -> dict[str, Any]:
    return {tag: value for tag, value in found.items() if tag not in OWN}


async def test_jpeg_is_described_as_it_comes_out_uncompressed(
    gateway: Gateway, client: aiohttp.ClientSession
) -> None:
    instance = gateway.gallery.hang(bundled("SC_rgb_dcmtk_+eb+cy+np.dcm"))
    assert instance.transfer_syntax == JPEG_BASELINE
    stored = pydicom.dcmread(instance.file)
    assert stored.PhotometricInterpretation == "YBR_FULL_422"
    (found,) = await described(client, gateway.of(instance, "/metadata"))
    assert found["00280004"]["Value"] == ["YBR_FULL"]
    assert found["00280006"] == {"vr": "US", "Value": [0]}
    assert found["7FE00010"]["vr"] == "OB"
    assert found["00083002"]["Value"] == [JPEG_BASELINE]


async def test_under_a_wrong_label_what_can_be_had_is_said_to_be_available(
    gateway: Gateway, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    frames = objects.pictures(2)
    file = objects.under(objects.JPEG_LS, objects.native(tmp_path / "a.dcm", frames))
    (found,) = await described(client, gateway.of(gateway.gallery.hang(file), "/metadata"))
    assert found["00083002"]["Value"] == [EXPLICIT_LE]
    assert found["7FE00010"]["vr"] == "OW"


async def test_what_nobody_foresaw_of_one_instance_leaves_the_others_to_be_seen(
    gateway: Gateway,
    client: aiohttp.ClientSession,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = [objects.jpeg_ls(tmp_path / f"{n}.dcm", objects.pictures(1, n)) for n in range(3)]
    hung = [gateway.gallery.hang(file, "1.2.4711", "1.2.4711.1") for file in made]
    make = description.uncompressed_header

    def header(source: Any) -> Any:
        if bytes(source.data) == hung[1].file.read_bytes():
            raise AttributeError("what nobody thought of")
        return make(source)

    monkeypatch.setattr(description, "uncompressed_header", header)
    found = await described(client, gateway.url("/dicom-web/studies/1.2.4711/metadata"))
    assert found[1]["00080018"]["Value"] == [hung[1].sop_instance_uid]
    assert ["00280010" in one for one in found] == [True, False, True]


async def test_a_series_and_a_study_give_one_array_in_order(
    gateway: Gateway, client: aiohttp.ClientSession
) -> None:
    file = bundled("CT_small.dcm")
    held = [gateway.gallery.hang(file, "1.2.77", f"1.2.77.{each // 50}") for each in range(150)]
    study = await described(client, gateway.url("/dicom-web/studies/1.2.77/metadata"))
    series = await described(
        client, gateway.url("/dicom-web/studies/1.2.77/series/1.2.77.1/metadata")
    )
    uris = [one["7FE00010"]["BulkDataURI"] for one in study]
    assert [uri.split("/")[7] for uri in uris] == [one.sop_instance_uid for one in held]
    assert series == study[50:100]


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("application/dicom+json", "application/dicom+json"),
        ("application/json", "application/json"),
        ("*/*", "application/dicom+json"),
        ("application/*", "application/dicom+json"),
        ("text/html, */*;q=0.1", "application/dicom+json"),
        ("application/dicom+json;q=0.5, application/json", "application/json"),
        ('multipart/related; type="application/dicom+json"', "application/dicom+json"),
        ('multipart/related; type="application/dicom+xml"', "multipart/related"),
        ("multipart/related; type=application/dicom+xml", "multipart/related"),
        ("multipart/related", "multipart/related"),
        ("application/dicom+xml", "application/dicom+xml"),
        ("application/dicom+xml;q=0, application/json;q=0.1", "application/json"),
        ("image/jpeg", ""),
        ('multipart/related; type="image/jp2"', ""),
        ("application/json;q=0", ""),
    ],
)
async def test_the_representation_is_what_the_client_accepts(
    accept: str, content_type: str, gateway: Gateway, client: aiohttp.ClientSession
) -> None:
    instance = gateway.gallery.hang(bundled("CT_small.dcm"))
    url = gateway.of(instance, "/metadata")
    async with client.get(url, headers={"Accept": accept}) as answer:
        assert (answer.status == 200, answer.status == 406) == (
            bool(content_type),
            not content_type,
        )
        assert answer.content_type == (content_type or "application/json")
        if not content_type:
            assert "application/dicom+json" in (await answer.json())["error"]


async def test_the_accept_parameter_beats_the_header(
    gateway: Gateway, client: aiohttp.ClientSession
) -> None:
    instance = gateway.gallery.hang(bundled("CT_small.dcm"))
    url = gateway.of(instance, "/metadata?accept=application/json")
    async with client.get(url, headers={"Accept": "image/jpeg"}) as answer:
        assert (answer.status, answer.content_type) == (200, "application/json")


async def test_xml_has_a_part_for_each_instance(
    gateway: Gateway, client: aiohttp.ClientSession
) -> None:
    file = bundled("MR_small.dcm")
    held = [gateway.gallery.hang(file, "1.2.78", "1.2.78.1") for _ in range(3)]
    accept = {"Accept": 'multipart/related; type="application/dicom+xml"'}
    async with client.get(
        gateway.url("/dicom-web/studies/1.2.78/metadata"), headers=accept
    ) as answer:
        assert answer.status == 200
        parts = await parts_of(answer)
    for instance, (headers, body) in zip(held, parts, strict=True):
        assert headers["content-type"] == "application/dicom+xml"
        assert headers["content-location"].endswith(f"{instance.sop_instance_uid}/metadata")
        names = {one.get("keyword") for one in ET.fromstring(body)}  # noqa: S314 - our own
        assert {"PatientName", "PixelData", "AvailableTransferSyntaxUID"} <= names


async def test_an_instance_alone_can_be_one_xml_document(
    gateway: Gateway, client: aiohttp.ClientSession
) -> None:
    instance = gateway.gallery.hang(bundled("MR_small.dcm"))
    accept = {"Accept": "application/dicom+xml"}
    async with client.get(gateway.of(instance, "/metadata"), headers=accept) as answer:
        assert answer.content_type == "application/dicom+xml"
        assert ET.fromstring(await answer.read()).tag == f"{NAME}NativeDicomModel"  # noqa: S314


async def test_nothing_held_is_not_found_and_no_uid_a_bad_request(
    gateway: Gateway, client: aiohttp.ClientSession
) -> None:
    for path, status in (
        ("/studies/1.2.999/metadata", 404),
        (f"/studies/{STUDY}/series/9.9/metadata", 404),
        (f"/studies/{STUDY}/series/{SERIES}/instances/9.9/metadata", 404),
        ("/studies/..%2f..%2fetc/metadata", 400),
        ("/studies/1.2.3;drop/metadata", 400),
    ):
        async with client.get(gateway.url(f"/dicom-web{path}")) as answer:
            assert answer.status == status, path
            assert (await answer.json())["error"]


async def test_an_instance_that_a_client_has_is_not_sent_again(
    gateway: Gateway, client: aiohttp.ClientSession
) -> None:
    url = gateway.of(gateway.gallery.hang(bundled("CT_small.dcm")), "/metadata")
    async with client.get(url) as answer:
        tag = answer.headers["ETag"]
    for known, accept, status in (
        (tag, "*/*", 304),
        ('"other"', "*/*", 200),
        (tag, "application/dicom+xml", 200),
    ):
        headers = {"If-None-Match": known, "Accept": accept}
        async with client.get(url, headers=headers) as answer:
            assert answer.status == status


async def test_metadata_of_a_study_that_a_client_has_are_not_sent_again(
    gateway: Gateway, client: aiohttp.ClientSession
) -> None:
    gateway.gallery.hang(bundled("CT_small.dcm"), "1.2.84", "1.2.84.1")
    url = gateway.url("/dicom-web/studies/1.2.84/metadata")
    async with client.get(url) as answer:
        known = {"If-None-Match": answer.headers["ETag"]}
    async with client.get(url, headers=known) as answer:
        assert answer.status == 304
    gateway.gallery.hang(bundled("MR_small.dcm"), "1.2.84", "1.2.84.2")
    async with client.get(url, headers=known) as answer:
        assert (answer.status, len(json.loads(await answer.read()))) == (200, 2)


async def test_the_event_loop_goes_on_while_descriptions_are_written(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = set()

    def noted(*_: object) -> Description:
        threads.add(threading.get_ident())
        return Description(b"{}")

    monkeypatch.setattr("gateway.serve.descriptions.describe", noted)
    held = [gateway.gallery.hang(bundled("CT_small.dcm"), "1.2.83") for _ in range(3)]
    assert await Descriptions(gateway.serving).of(held) == [b"{}"] * 3
    assert threading.get_ident() not in threads


async def test_head_says_the_same_without_a_body(
    gateway: Gateway, client: aiohttp.ClientSession
) -> None:
    instance = gateway.gallery.hang(bundled("CT_small.dcm"))
    async with client.head(gateway.of(instance, "/metadata")) as answer:
        assert (answer.status, answer.content_type) == (200, "application/dicom+json")
        assert await answer.read() == b""


async def test_a_damaged_instance_is_described_as_far_as_it_can_be_read(
    gateway: Gateway, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    file = tmp_path / "cut.dcm"
    meta = encode_file_meta(
        sop_class_uid="1.2.840.10008.5.1.4.1.1.7",
        sop_instance_uid="1.2.3.4.5",
        transfer_syntax=EXPLICIT_LE,
    )
    data = element(0x00080060, "CS", b"CT") + head(0x7FE00010, "OB", 5000) + b"\0" * 100
    file.write_bytes(meta + data)
    held = [
        gateway.gallery.hang(one, "1.2.79", "1.2.79.1")
        for one in (bundled("CT_small.dcm"), file, bundled("MR_small.dcm"))
    ]
    found = await described(client, gateway.url("/dicom-web/studies/1.2.79/metadata"))
    assert len(found) == 3
    assert found[1] == {
        "00080016": {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.7"]},
        "00080018": {"vr": "UI", "Value": [held[1].sop_instance_uid]},
        "00080060": {"vr": "CS", "Value": ["CT"]},
        "00083002": {"vr": "UI", "Value": [EXPLICIT_LE]},
        "0020000D": {"vr": "UI", "Value": ["1.2.79"]},
        "0020000E": {"vr": "UI", "Value": ["1.2.79.1"]},
    }


@pytest.mark.data
@needs_real_files
@pytest.mark.parametrize("name", CUT)
async def test_a_file_that_ends_early_is_described_up_to_its_last_element(
    name: str, gateway: Gateway, client: aiohttp.ClientSession
) -> None:
    instance = gateway.gallery.hang(FOLDER / name)
    (found,) = await described(client, gateway.of(instance, "/metadata"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the file breaks the Standard; pydicom says so
        there = [f"{int(each.tag):08X}" for each in pydicom.dcmread(FOLDER / name, force=True)]
    assert found.keys() == {*there[:-1], *OWN}


async def test_a_missing_file_is_a_temporary_failure(
    gateway: Gateway, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    file = tmp_path / "gone.dcm"
    file.write_bytes(bundled("CT_small.dcm").read_bytes())
    instance = gateway.gallery.hang(file, "1.2.80")
    file.unlink()
    async with client.get(gateway.of(instance, "/metadata")) as answer:
        assert answer.status == 503
        assert answer.headers["Retry-After"]


async def test_uris_are_absolute_where_a_root_is_configured(tmp_path: Path) -> None:
    tables = lambda serving: [metadata.routes(serving)]  # noqa: E731
    root = "https://pacs.example/imaging/"
    async with (
        opened_gateway(tmp_path, tables, root_url=root) as gateway,
        aiohttp.ClientSession() as client,
    ):
        instance = gateway.gallery.hang(bundled("CT_small.dcm"))
        (found,) = await described(client, gateway.of(instance, "/metadata"))
    uri = found["7FE00010"]["BulkDataURI"]
    path = f"studies/{STUDY}/series/{SERIES}/instances/2.25.1/bulkdata/7FE00010"
    assert uri == f"https://pacs.example/imaging/dicom-web/{path}"


async def test_an_encapsulated_icon_is_described_as_it_is_decoded(
    gateway: Gateway, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    instance = gateway.gallery.hang(with_icon(tmp_path))
    (found,) = await described(client, gateway.of(instance, "/metadata"))
    (icon,) = found["00880200"]["Value"]
    assert icon["00280004"]["Value"] == ["RGB"]
    assert icon["7FE00010"]["BulkDataURI"].endswith("/bulkdata/00880200/1/7FE00010")


def with_icon(folder: Path) -> Path:
    """A JPEG 2000 object whose icon is itself again, header and codestream."""
    file = bundled("SC_rgb_gdcm_KY.dcm")
    dataset = pydicom.dcmread(file)
    dataset.PhotometricInterpretation = "YBR_RCT"
    icon = Dataset()
    for tag in (2, 4, 6, 0x10, 0x11, 0x100, 0x101, 0x102, 0x103):
        if (0x0028, tag) in dataset:
            icon[0x0028, tag] = dataset[0x0028, tag]
    icon.PixelData = dataset.PixelData
    icon["PixelData"].VR = "OB"
    icon["PixelData"].is_undefined_length = True
    dataset.IconImageSequence = [icon]
    dataset.save_as(folder / "icon.dcm")
    return folder / "icon.dcm"


async def test_descriptions_are_kept_within_bounds(gateway: Gateway) -> None:
    keeping = Descriptions(gateway.serving, most=20_000)
    held = [gateway.gallery.hang(bundled("CT_small.dcm"), "1.2.81") for _ in range(10)]
    copies: list[Instance] = []
    for number, instance in enumerate(held):
        file = gateway.shelf.folder / f"copy-{number}"
        file.write_bytes(instance.file.read_bytes())
        copies.append(
            type(instance)(
                **{name: getattr(instance, name) for name in Instance.__dataclass_fields__}
                | {"file": file}
            )
        )
    first = await keeping.of(copies)
    assert len(first) == 10
    assert keeping._size <= 20_000
    assert await keeping.of(copies) == first


async def test_what_is_kept_answers_without_the_file(gateway: Gateway, tmp_path: Path) -> None:
    keeping = Descriptions(gateway.serving)
    file = tmp_path / "kept.dcm"
    file.write_bytes(bundled("CT_small.dcm").read_bytes())
    instance = gateway.gallery.hang(file, "1.2.82")
    first = await keeping.of([instance])
    file.unlink()
    assert await keeping.of([instance]) == first
