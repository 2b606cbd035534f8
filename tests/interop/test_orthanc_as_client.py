"""Orthanc's DICOMweb plugin as a client of the gateway: it searches, retrieves and stores."""

import io
import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.data import get_testdata_file

from tests.peers import Orthanc, RunningGateway, until
from tests.peers.receivers import DICOMWEB

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(not DICOMWEB.is_file(), reason="orthanc-dicomweb is not installed"),
]
FILES = ("CT_small.dcm", "MR_small_RLE.dcm", "JPEG2000.dcm")


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[RunningGateway]:
    running = RunningGateway("", tmp_path / "gateway").start()
    yield running
    running.stop()


@pytest.fixture
def orthanc(tmp_path: Path, gateway: RunningGateway) -> Iterator[Orthanc]:
    servers = {"gw": f"http://127.0.0.1:{gateway.web_port}/dicom-web/"}
    with Orthanc(tmp_path / "orthanc", servers=servers) as running:
        yield running


def post(port: int, path: str, body: bytes, content_type: str) -> Any:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}",
        body,
        {"Content-Type": content_type, "Accept": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310 - loopback
        return json.loads(response.read() or b"null")


def ask(orthanc: Orthanc, what: str, **facts: Any) -> Any:
    body = json.dumps(facts).encode()
    return post(orthanc.web_port, f"/dicom-web/servers/gw/{what}", body, "application/json")


def file_of(name: str) -> bytes:
    return Path(str(get_testdata_file(name))).read_bytes()


def test_orthanc_finds_and_retrieves_what_the_gateway_holds(
    gateway: RunningGateway, orthanc: Orthanc
) -> None:
    for name in FILES:
        url = "/dicom-web/studies"
        answer = post(gateway.web_port, url, file_of(name), "application/dicom")
        assert "00081199" in answer
    found = ask(orthanc, "qido", Uri="/studies", Arguments={"PatientID": "*"})
    assert len(found) == len(FILES)
    files = [pydicom.dcmread(io.BytesIO(file_of(name))) for name in FILES]
    sent = {each.SOPInstanceUID: each.pixel_array for each in files}
    studies = {str(each.StudyInstanceUID) for each in files}
    ask(orthanc, "retrieve", Resources=[{"Study": study} for study in sorted(studies)])
    assert orthanc.arrived() == len(FILES)
    instances = orthanc.get("/instances")
    assert isinstance(instances, list)
    for each in instances:
        got = pydicom.dcmread(io.BytesIO(orthanc.file_of(each)))
        assert (got.pixel_array == sent[got.SOPInstanceUID]).all()


def test_orthanc_stores_into_the_gateway(gateway: RunningGateway, orthanc: Orthanc) -> None:
    stored = [
        post(orthanc.web_port, "/instances", file_of(name), "application/dicom")["ID"]
        for name in FILES
    ]
    ask(orthanc, "stow", Resources=stored, Synchronous=True)
    until(lambda: gateway.metric("gateway_received_total") == len(FILES), "all stored")
