"""Orthanc's DICOMweb plugin as our origin server, our STOW-RS destination and our upstream."""

import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid

from gateway.dataset.part10 import read_file_meta
from gateway.deliver.session import Item
from gateway.deliver.stow_client import StowClient
from gateway.failures import Failure
from gateway.model import Arrival, Instance, Origin
from gateway.retrieval import Retrieval, Scope
from gateway.spool import Spool
from gateway.web_client import OriginServer, Patience, ServerSettings
from tests.peers import Orthanc
from tests.peers.receivers import DICOMWEB
from tests.retrieval.house import House
from tests.serve.test_upstream import Proxy

pytestmark = pytest.mark.interop
NAMES = (
    "CT_small.dcm", "JPEG-lossy.dcm", "JPEG2000.dcm", "MR_small_RLE.dcm", "SC_rgb_jpeg_dcmtk.dcm",
    "MR_small_jpeg_ls_lossless.dcm", "MR_small_implicit.dcm", "693_J2KI.dcm",
)  # fmt: skip


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory) -> Iterator[Orthanc]:
    if reason := Orthanc.missing() or ("" if DICOMWEB.is_file() else "orthanc-dicomweb is absent"):
        pytest.skip(reason)
    with Orthanc(tmp_path_factory.mktemp("orthanc")) as running:
        yield running


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """(Study Instance UID, files): images in many transfer syntaxes as one study."""
    folder, uid = tmp_path_factory.mktemp("study"), generate_uid()[:60].rstrip(".") + "7"
    files = []
    for number, name in enumerate(NAMES):
        data = dcmread(str(get_testdata_file(name)))
        data.StudyInstanceUID, data.SeriesInstanceUID = uid, f"{uid[:-1]}{number % 3}1"
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        file = folder / f"{number}.dcm"
        data.save_as(file)
        files.append(file)
    return uid, files


@pytest.fixture
async def server(orthanc):
    url = f"http://127.0.0.1:{orthanc.web_port}/dicom-web"
    patience = Patience(first_byte=30, between_bytes=30)
    async with OriginServer(ServerSettings("orthanc", url, patience=patience)) as opened:
        yield opened


@pytest.fixture
def filled(orthanc, study):
    """Orthanc with the study in it."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for file in study[1]:
        address = f"http://127.0.0.1:{orthanc.web_port}/instances"
        direct.open(urllib.request.Request(address, file.read_bytes()), timeout=30).close()
    return orthanc


def content(data: bytes) -> tuple[str, str, bytes]:
    """SOP Instance UID, transfer syntax and the data set."""
    meta = read_file_meta(data)
    return meta.sop_instance_uid, meta.transfer_syntax, data[meta.dataset_offset :]


async def test_a_study_of_many_syntaxes_comes_from_orthanc_as_it_is_stored(
    filled, server, study, tmp_path
):
    spool = Spool.open(tmp_path / "spool", clock=lambda: datetime.now(UTC), refuse_below_free=1)
    house = House(spool)
    result = await Retrieval(server, house.intake, Scope(study[0]), held=house.held).run()
    assert result.complete, result.differences
    assert (result.expected, result.received) == (len(NAMES), len(NAMES))
    got = {content(each.file.read_bytes()) for each in house.kept}
    assert got == {content(file.read_bytes()) for file in study[1]}
    series = house.kept[0].series_uid
    again = await Retrieval(server, house.intake, Scope(study[0], series), held=house.held).run()
    assert (again.complete, again.received) == (True, 0)
    await spool.aclose()


async def test_orthanc_knows_no_such_study(filled, server, tmp_path):
    spool = Spool.open(tmp_path / "spool", clock=lambda: datetime.now(UTC), refuse_below_free=1)
    house = House(spool)
    result = await Retrieval(server, house.intake, Scope("1.2.3.4"), held=house.held).run()
    assert not result.complete
    await spool.aclose()


async def test_orthanc_is_searched_in_pages(filled, server, study):
    matches = [each async for each in server.search("studies", [("StudyInstanceUID", study[0])])]
    assert len(matches) == 1
    assert len(await server.listed(study[0])) == len(NAMES)


async def test_orthanc_takes_a_batch_by_stow_and_says_so_of_each(orthanc, server, study):
    items = []
    for file in study[1]:
        meta = read_file_meta(file.read_bytes())
        instance = Instance(
            meta.sop_instance_uid, meta.sop_class_uid, meta.transfer_syntax, study[0], "",
            Origin(Arrival.C_STORE), file.stat().st_size, datetime.now(UTC), file=file,
        )  # fmt: skip
        items.append(Item(instance, file, meta.transfer_syntax))
    async with StowClient(server).connect([]) as session:
        assert await session.store_batch(items) == [""] * len(items)
        assert (
            await session.store(items[0].instance, items[0].file, items[0].transfer_syntax) == ""
        )
    identifiers = orthanc.get("/instances")
    stored = {content(orthanc.file_of(each)) for each in identifiers}
    assert {content(file.read_bytes()) for file in study[1]} <= stored


async def test_orthanc_refuses_what_is_no_dicom_file_and_it_is_held(orthanc, server, tmp_path):
    file = tmp_path / "broken.dcm"
    file.write_bytes(b"no DICOM at all" * 20)
    instance = Instance(
        "1.2.3", "1.2", "1.2.840.10008.1.2.1", "1.2", "1.3", Origin(Arrival.C_STORE),
        300, datetime.now(UTC), file=file,
    )  # fmt: skip
    async with StowClient(server).connect([]) as session:
        (answer,) = await session.store_batch([Item(instance, file, "1.2.840.10008.1.2.1")])
    assert isinstance(answer, Failure)


async def test_orthanc_as_upstream_is_searched_and_retrieved_as_if_it_were_here(
    filled, server, study, tmp_path
):
    proxy = Proxy(tmp_path / "spool", server)
    assert len(await proxy.get(study[0])) == len(NAMES)
    assert {content(each.file.read_bytes()) for each in proxy.kept} == {
        content(file.read_bytes()) for file in study[1]
    }
    assert len(await proxy.get(study[0])) == len(NAMES)
    assert len(proxy.kept) == len(NAMES)
    await proxy.aclose()
