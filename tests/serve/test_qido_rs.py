"""QIDO-RS over real HTTP, of instances that came through the one door."""

import io
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid

from gateway.config import load_text
from gateway.incoming import IncomingFile
from gateway.index import Index
from gateway.intake import Intake
from gateway.model import Arrival, Origin
from gateway.route.rules import compile_rules
from gateway.serve import qido_rs
from gateway.serve.app import application
from gateway.serve.holdings import LocalHoldings
from gateway.serve.serving import ServeSettings
from gateway.spool import Spool
from tests.serve.test_auth import running


def instance(**attributes: Any) -> bytes:
    """A CT image with other attributes; None takes one out."""
    data = pydicom.dcmread(str(get_testdata_file("CT_small.dcm")))
    data.SOPInstanceUID = generate_uid()
    for keyword, value in attributes.items():
        if value is None:
            delattr(data, keyword)
        else:
            setattr(data, keyword, value)
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    written = io.BytesIO()
    data.save_as(written, enforce_file_format=True)
    return written.getvalue()


class Archive:
    """A spool with its index, and QIDO-RS over it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.spool = Spool.open(folder, clock=lambda: datetime.now(UTC), refuse_below_free=1)
        self.index = Index.open(folder, ledger=self.spool.ledger, file_of=self.spool.file_of)
        self.holdings = LocalHoldings(self.index, self.spool)
        self.intake = Intake(
            self.spool,
            compile_rules(load_text("version: 1\n", "test")),
            kept=lambda kept, _: self.index.kept(kept),
            clock=lambda: datetime.now(UTC),
        )
        self.url = ""
        self.session: aiohttp.ClientSession

    async def take(self, *files: bytes) -> None:
        for each in files:
            incoming = IncomingFile(self.intake, Origin(Arrival.STOW_RS), max_size=1 << 30)
            incoming.write(each)
            await incoming.admit()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Archive"]:
        app = application([qido_rs.routes(self.index, ServeSettings())])
        async with running(app) as self.url, aiohttp.ClientSession() as self.session:
            yield self

    async def get(self, path: str, **headers: str) -> tuple[int, Any, aiohttp.ClientResponse]:
        async with self.session.get(f"{self.url}/dicom-web{path}", headers=headers) as response:
            if "json" in response.content_type:
                return response.status, await response.json(content_type=None), response
            return response.status, await response.text(), response

    async def aclose(self) -> None:
        await self.index.aclose()
        await self.spool.aclose()


@pytest.fixture
async def archive(tmp_path: Path) -> AsyncIterator[Archive]:
    archive = Archive(tmp_path / "spool")
    yield archive
    await archive.aclose()


def values(answer: Sequence[dict[str, Any]], tag: str) -> list[Any]:
    return [each.get(tag, {}).get("Value", [None])[0] for each in answer]


STUDIES = {
    "a": {
        "StudyInstanceUID": "1.2.1",
        "SeriesInstanceUID": "1.2.1.1",
        "PatientName": "Doe^Jane",
        "PatientID": "P-1",
        "StudyDate": "20260105",
        "StudyTime": "101500",
        "AccessionNumber": "A1",
        "StudyDescription": "Stroke protocol",
    },
    "b": {
        "StudyInstanceUID": "1.2.2",
        "SeriesInstanceUID": "1.2.2.1",
        "PatientName": "Müller^Jörg=山田^太郎",
        "SpecificCharacterSet": "ISO_IR 192",
        "PatientID": "P-2",
        "StudyDate": "20260210",
        "StudyTime": "235959.5",
        "AccessionNumber": "A[2]",
        "StudyDescription": "Knee",
        "Modality": "MR",
    },
    "c": {
        "StudyInstanceUID": "1.2.3",
        "SeriesInstanceUID": "1.2.3.1",
        "PatientName": "Doerr^Max",
        "PatientID": "P-10",
        "StudyDate": "",
        "StudyTime": "",
        "AccessionNumber": "",
        "StudyDescription": "Thorax",
        "StationName": "ROOM7",
    },
}


@pytest.fixture
async def three(archive: Archive) -> AsyncIterator[Archive]:
    await archive.take(*(instance(**attributes) for attributes in STUDIES.values()))
    async with archive.running() as at:
        yield at


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("", "bac"),
        ("PatientID=P-1", "a"),
        ("00100020=P-1", "a"),
        ("PatientID=P-1*", "ac"),
        ("PatientID=P-?", "ba"),
        ("PatientID=*", "bac"),
        ("PatientID=", "bac"),
        ("PatientID=p-1", ""),
        ("PatientName=doe^jane", "a"),
        ("PatientName=DOE*", "ac"),
        ("PatientName=muller*", "b"),
        ("PatientName=%E5%B1%B1%E7%94%B0*", "b"),
        ("PatientName=jane", ""),
        ("PatientName=jane&fuzzymatching=true", "a"),
        ("PatientName=jan%20do&fuzzymatching=true", "a"),
        ("StudyDate=20260105", "a"),
        ("StudyDate=20260101-20260131", "a"),
        ("StudyDate=20260106-", "b"),
        ("StudyDate=-20260131", "a"),
        ("StudyDate=20260105-20260210&StudyTime=1000-2300", "a"),
        ("StudyTime=1000-1100", "a"),
        ("AccessionNumber=A[2]", "b"),
        ("AccessionNumber=A*", "ba"),
        ("StudyInstanceUID=1.2.1,1.2.3", "ac"),
        ("StudyInstanceUID=1.2.1%5C1.2.3", "ac"),
        ("StudyInstanceUID=1.2.9", ""),
        ("ModalitiesInStudy=MR", "b"),
        ("ModalitiesInStudy=MR%2CCT", "bac"),
        ("ModalitiesInStudy=XA", ""),
        ("StudyDescription=*o*", "ac"),
        ("StationName=ROOM7", "c"),
        ("StationName=ROOM7&PatientID=P-1", ""),
        ("PatientID=P-2&StudyDescription=Knee", "b"),
        ("limit=1", "b"),
        ("limit=1&offset=1", "a"),
        ("offset=2", "c"),
        ("offset=9", ""),
        ("limit=0", ""),
    ],
)
async def test_studies_are_found_by_every_kind_of_matching(
    three: Archive, asked: str, expected: str
) -> None:
    status, answer, _ = await three.get(f"/studies?{asked}")
    wanted = [STUDIES[name]["StudyInstanceUID"] for name in expected]
    assert (status, values(answer, "0020000D")) == (200, wanted)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ("PatientNme=x", "PatientName"),
        ("StudyDate=yesterday", "YYYYMMDD"),
        ("StudyInstanceUID=1.2.*", "no UID"),
        ("limit=-1", "limit"),
        ("offset=x", "offset"),
        ("fuzzymatching=perhaps", "fuzzymatching"),
    ],
)
async def test_what_cannot_be_answered_is_refused_with_what_is_right(
    three: Archive, asked: str, says: str
) -> None:
    status, answer, _ = await three.get(f"/studies?{asked}")
    assert status == 400
    assert says in answer["error"]


async def test_each_level_answers_with_the_attributes_of_the_standard(archive: Archive) -> None:
    same = STUDIES["a"]
    await archive.take(
        instance(**same, InstanceNumber=2),
        instance(**same, InstanceNumber=1),
        instance(**{**same, "SeriesInstanceUID": "1.2.1.2", "Modality": "SR", "SeriesNumber": 9}),
    )
    async with archive.running() as at:
        _, (study,), _ = await at.get("/studies")
        _, series, _ = await at.get("/studies/1.2.1/series")
        _, instances, _ = await at.get("/studies/1.2.1/series/1.2.1.1/instances")
        _, everywhere, _ = await at.get("/instances?PatientID=P-1")
    assert study["00201206"]["Value"] == [2]
    assert study["00201208"]["Value"] == [3]
    assert sorted(study["00080061"]["Value"]) == ["CT", "SR"]
    assert study["00081190"]["Value"] == ["/dicom-web/studies/1.2.1"]
    assert pydicom.Dataset.from_json(study).PatientName == "Doe^Jane"
    assert values(series, "00201209") == [2, 1]
    assert values(series, "00080060") == ["CT", "SR"]
    assert values(instances, "00200013") == [1, 2]
    assert values(instances, "00280010") == [128, 128]
    assert "00100010" not in instances[0]
    assert values(everywhere, "00100010") == [{"Alphabetic": "Doe^Jane"}] * 3
    for answer in (series, instances):
        for each in answer:
            pydicom.Dataset.from_json(each)


async def test_fields_come_when_asked_for_from_the_index_or_the_header(three: Archive) -> None:
    asked = "includefield=00081030%2C00101010&includefield=StationName,Nonsense"
    _, answer, response = await three.get(f"/series?PatientID=P-10&{asked}")
    assert values(answer, "00081010") == ["ROOM7"]
    assert values(answer, "00101010") == ["000Y"]
    assert "Nonsense" in response.headers["Warning"]
    _, answer, _ = await three.get("/instances?PatientID=P-10&includefield=all")
    assert "00180050" in answer[0]
    assert "7FE00010" not in answer[0]


async def test_the_total_comes_with_every_page(three: Archive) -> None:
    _, answer, response = await three.get("/instances?limit=2")
    assert (len(answer), response.headers["X-Total-Count"]) == (2, "3")
    _, answer, response = await three.get("/instances?StationName=ROOM7")
    assert (len(answer), response.headers["X-Total-Count"]) == (1, "1")


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", "application/dicom+json"),
        ("*/*", "application/dicom+json"),
        ("application/dicom+json", "application/dicom+json"),
        ("application/json", "application/json"),
        ('multipart/related; type="application/dicom+xml"', "multipart/related"),
        ("text/html", "application/json"),
    ],
)
async def test_the_client_says_in_what_form(
    three: Archive, accept: str, content_type: str
) -> None:
    headers = {"Accept": accept} if accept else {}
    status, answer, response = await three.get("/studies", **headers)
    assert response.content_type == content_type
    assert status == (406 if accept == "text/html" else 200)
    if content_type == "multipart/related":
        assert answer.count("<NativeDicomModel") == 3


async def test_an_instance_that_comes_again_counts_once_and_the_last_one_serves(
    archive: Archive,
) -> None:
    uid = generate_uid()
    first = instance(**STUDIES["a"], SOPInstanceUID=uid)
    again = instance(**{**STUDIES["a"], "StudyDescription": "Corrected"}, SOPInstanceUID=uid)
    await archive.take(first, again)
    async with archive.running() as at:
        _, (study,), _ = await at.get("/studies")
        assert study["00081030"]["Value"] == ["Corrected"]
        assert study["00201208"]["Value"] == [1]
        (kept,) = [each async for each in archive.holdings.instances("1.2.1")]
        archive.index.removed([kept.spool_id])
        (before,) = [each async for each in archive.holdings.instances("1.2.1")]
        assert before.spool_id < kept.spool_id
        archive.index.removed([before.spool_id])
        _, answer, _ = await at.get("/studies")
    assert answer == []


async def test_a_header_that_cannot_be_read_is_found_by_its_uids(archive: Archive) -> None:
    await archive.take(instance(**STUDIES["a"]))
    (kept,) = [each async for each in archive.holdings.instances("1.2.1")]
    whole = kept.file.read_bytes()
    kept.file.write_bytes(whole[:400])
    async with archive.running() as at:
        _, answer, _ = await at.get("/instances")
    assert values(answer, "0020000D") == ["1.2.1"]
