"""What QIDO-RS answers: attributes at each level, paging, forms, and what viewers ask (HTTP)."""

import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from pydicom.dataset import Dataset

from gateway.index import index as index_module
from gateway.serve import qido_rs
from gateway.serve.app import application
from gateway.serve.serving import ServeSettings
from tests.index.archive import SR, Archive, image, opened_archive, value
from tests.serve.parts import parts_of
from tests.serve.test_auth import running

pytestmark = pytest.mark.asyncio(loop_scope="module")

JSON = "application/dicom+json"


class Web:
    """QIDO-RS over an archive, and a client."""

    def __init__(self, archive: Archive, url: str, session: aiohttp.ClientSession) -> None:
        self.archive, self.url, self.session = archive, url, session

    async def get(self, path: str, status: int = 200, **headers: str) -> list[dict[str, Any]]:
        """The results of a search, each read by pydicom as well."""
        async with self.session.get(f"{self.url}/dicom-web{path}", headers=headers) as answer:
            assert answer.status == status, await answer.text()
            results: list[dict[str, Any]] = await answer.json(content_type=None)
        for result in results if status == 200 else ():
            Dataset.from_json(result)
            assert list(result) == sorted(result)
        return results

    async def headers(self, path: str) -> dict[str, str]:
        """Those of an answer; several Warnings are joined."""
        async with self.session.get(f"{self.url}/dicom-web{path}") as answer:
            assert answer.status == 200, await answer.text()
            warnings = " | ".join(answer.headers.getall("Warning", []))
            return {**answer.headers, "Warning": warnings}


def _request(step: str, procedure: str) -> Dataset:
    item = Dataset()
    item.ScheduledProcedureStepID, item.RequestedProcedureID = step, procedure
    return item


def _code(value: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodeMeaning = value, "Head"
    return item


HEAD = {
    "PatientName": "Müller^Jörg",
    "PatientID": "P1",
    "StudyDate": "20260301",
    "StudyDescription": "Head CT",
    "AccessionNumber": "A1",
    "PatientAge": "045Y",
}
KNEE = {
    "PatientName": "Doe^Jane",
    "PatientID": "P2",
    "StudyDate": "20250110",
    "StudyDescription": "Knee",
    "AccessionNumber": "A2",
    "Modality": "MR",
}


def objects() -> list[Dataset]:
    """A study of two CT slices and a report, and one of three MR slices."""
    asked = [_request("S1", "R1"), _request("S2", "R2")]
    slices = [
        image(
            "1.1",
            "1.1.1",
            f"1.1.1.{number}",
            **HEAD,
            InstanceNumber=number,
            SeriesDescription="Axial",
            SeriesDate="20260301",
            SliceLocation=number * 2.5,
            ImageType=["ORIGINAL", "PRIMARY"],
            RequestAttributesSequence=asked,
            AnatomicRegionSequence=[_code("T-D1100")],
            StationName="CT1",
        )
        for number in (1, 2)
    ]
    report = image("1.1", "1.1.2", "1.1.2.1", **HEAD, Modality="SR", SOPClassUID=SR, Rows=None)
    report.SeriesNumber = 99
    knee = [
        image("1.2", "1.2.1", f"1.2.1.{number}", **KNEE, InstanceNumber=number)
        for number in (3, 1, 2)
    ]
    return [*slices, report, *knee]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def web(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Web]:
    folder: Path = tmp_path_factory.mktemp("qido")
    async with opened_archive(folder) as archive, aiohttp.ClientSession() as session:
        await archive.keep(*objects())
        app = application([qido_rs.routes(archive.index, ServeSettings())])
        async with running(app) as url:
            yield Web(archive, url, session)


def uids(results: list[dict[str, Any]], tag: str = "0020000D") -> list[str]:
    return [value(result, tag) for result in results]


@pytest.mark.parametrize(
    ("path", "found"),
    [
        # the study list, with its filters
        (
            "/studies?limit=101&offset=0&fuzzymatching=true"
            "&includefield=00081030%2C00080060%2C00080090%2C00100030",
            ["1.1", "1.2"],
        ),
        ("/studies?limit=101&offset=0&fuzzymatching=true&PatientName=*oe*", ["1.2"]),
        ("/studies?limit=101&offset=0&fuzzymatching=false&00100020=*1*", ["1.1"]),
        ("/studies?limit=101&StudyDescription=*Head*&fuzzymatching=true", ["1.1"]),
        ("/studies?limit=101&ModalitiesInStudy=MR%2CUS", ["1.2"]),
        ("/studies?limit=101&ModalitiesInStudy=SR", ["1.1"]),
        ("/studies?limit=101&StudyDate=20250101-20260228", ["1.2"]),
        (
            "/studies?limit=101&offset=0&fuzzymatching=true&PatientName=*m%C3%BCl*"
            "&ModalitiesInStudy=CT&StudyDate=20250101-20261231&00100020=*P*",
            ["1.1"],
        ),
        ("/studies?limit=101&offset=0&fuzzymatching=true&StudyInstanceUID=1.2", ["1.2"]),
        ("/studies?00100020=P1&limit=101&offset=0&fuzzymatching=false", ["1.1"]),
        ("/studies?00100020=NOBODY&limit=101&offset=0", []),
        # a study's series
        ("/studies/1.1/series?includefield=0008103E%2C00080021", ["1.1", "1.1"]),
        (
            "/studies/1.1/series?includefield=00080021%2C00080031%2C0008103E%2C00200011",
            ["1.1", "1.1"],
        ),
    ],
)
async def test_ohif_finds_what_it_asks_for(web: Web, path: str, found: list[str]) -> None:
    assert uids(await web.get(path, Accept=JSON)) == found


@pytest.mark.parametrize(
    ("path", "tag", "found"),
    [
        ("/studies", "0020000D", ["1.1", "1.2"]),
        ("/series", "0020000E", ["1.1.1", "1.1.2", "1.2.1"]),
        ("/instances?Modality=MR", "00080018", ["1.2.1.1", "1.2.1.2", "1.2.1.3"]),
        ("/studies/1.1/series", "0020000E", ["1.1.1", "1.1.2"]),
        ("/studies/1.1/instances", "00080018", ["1.1.1.1", "1.1.1.2", "1.1.2.1"]),
        ("/studies/1.1/series/1.1.2/instances", "00080018", ["1.1.2.1"]),
        ("/studies/1.1/series/1.2.1/instances", "00080018", []),
        ("/studies/1.1/instances?InstanceNumber=2", "00080018", ["1.1.1.2"]),
        ("/studies?SeriesInstanceUID=1.2.1", "0020000D", ["1.2"]),
        ("/studies?SOPClassUID=" + SR, "0020000D", ["1.1"]),
        ("/series?PatientID=P2", "0020000E", ["1.2.1"]),
        ("/series?SOPInstanceUID=1.1.2.1", "0020000E", ["1.1.2"]),
        ("/instances?StudyDate=20260301&SeriesNumber=99", "00080018", ["1.1.2.1"]),
        # in a sequence that the index has: what is asked of one item holds in one item
        ("/series?RequestAttributesSequence.ScheduledProcedureStepID=S2", "0020000E", ["1.1.1"]),
        ("/series?00400275.00400009=S1&00400275.00401001=R1", "0020000E", ["1.1.1"]),
        ("/series?00400275.00400009=S1&00400275.00401001=R2", "0020000E", []),
        ("/studies?00400275.00401001=R*", "0020000D", ["1.1"]),
        # what only the files have
        ("/studies?AnatomicRegionSequence.CodeValue=T-D1100", "0020000D", []),
        ("/series?AnatomicRegionSequence.CodeValue=T-D1100", "0020000E", ["1.1.1"]),
        ("/instances?StationName=CT*", "00080018", ["1.1.1.1", "1.1.1.2"]),
        ("/instances?SliceLocation=5", "00080018", ["1.1.1.2"]),
        ("/instances?ImageType=PRIMARY&SliceLocation=2.50", "00080018", ["1.1.1.1"]),
        ("/instances?Columns=3", "00080018", []),
        ("/studies?PatientAge=045Y", "0020000D", ["1.1"]),
    ],
)
async def test_each_path_finds_by_attributes_of_any_level(
    web: Web, path: str, tag: str, found: list[str]
) -> None:
    assert uids(await web.get(path), tag) == found


ALWAYS = {
    "study": {
        "00080020",
        "00080030",
        "00080050",
        "00080056",
        "00080061",
        "00080090",
        "00081030",
        "00081190",
        "00100010",
        "00100020",
        "00100030",
        "00100040",
        "0020000D",
        "00200010",
        "00201206",
        "00201208",
    },
    "series": {
        "00080056",
        "00080060",
        "00081190",
        "0020000D",
        "0020000E",
        "00200011",
        "00201209",
    },
    "instance": {
        "00080016",
        "00080018",
        "00080056",
        "00081190",
        "00083002",
        "0020000D",
        "0020000E",
        "00200013",
    },
}


async def test_results_hold_the_attributes_of_the_standard(web: Web) -> None:
    (study,) = await web.get("/studies?PatientID=P2")
    assert set(study) == ALWAYS["study"]
    (series,) = await web.get("/studies/1.2/series")
    assert set(series) == ALWAYS["series"]
    (instance,) = await web.get("/studies/1.1/series/1.1.2/instances")
    assert set(instance) == ALWAYS["instance"] | {"00280011", "00280100"}
    assert study["00100030"] == {"vr": "DA"}


async def test_higher_levels_come_along_where_the_path_does_not_name_them(web: Web) -> None:
    series = (await web.get("/series?PatientID=P2"))[0]
    assert set(series) == ALWAYS["study"] | ALWAYS["series"]
    instance = (await web.get("/studies/1.2/instances"))[0]
    assert ALWAYS["series"] <= set(instance)
    assert "00100010" not in instance
    instance = (await web.get("/instances?PatientID=P2"))[0]
    assert ALWAYS["study"] | ALWAYS["series"] | ALWAYS["instance"] <= set(instance)


@pytest.mark.parametrize(
    ("path", "there", "absent"),
    [
        ("/studies?PatientID=P1&includefield=PatientAge,Modality", "00101010", "00080060"),
        ("/studies?PatientAge=045Y", "00101010", "00200011"),
        ("/studies?PatientID=P1&includefield=all", "00101010", "00081010"),
        ("/studies/1.1/series?includefield=PatientName", "00100010", "00100020"),
        ("/studies/1.1/series?includefield=StationName,SliceLocation", "00081010", "00201041"),
        ("/studies/1.1/series?includefield=PatientAge", "00101010", "00100010"),
        ("/studies/1.1/series?includefield=all", "00081010", "00100010"),
        ("/studies/1.1/instances?includefield=SliceLocation", "00201041", "00080008"),
        ("/studies/1.1/instances?includefield=AnatomicRegionSequence", "00082218", "00201041"),
        ("/studies/1.1/instances?includefield=00100010", "00100010", "00100020"),
        ("/studies/1.1/instances?includefield=all", "00080008", "7FE00010"),
        ("/studies/1.1/instances?SliceLocation=5", "00201041", "00080008"),
    ],
)
async def test_other_attributes_come_where_they_are_asked_for_and_belong(
    web: Web, path: str, there: str, absent: str
) -> None:
    result = (await web.get(path))[0]
    assert there in result
    assert absent not in result


async def test_urls_name_what_was_found_from_the_configured_root(web: Web) -> None:
    (study,) = await web.get("/studies?PatientID=P1")
    assert value(study, "00081190") == "/dicom-web/studies/1.1"
    instance = (await web.get("/studies/1.1/instances"))[0]
    url = "/dicom-web/studies/1.1/series/1.1.1/instances/1.1.1.1"
    assert value(instance, "00081190") == url
    settings = ServeSettings(root_url="https://pacs.example/")
    async with running(application([qido_rs.routes(web.archive.index, settings)])) as at:
        (study,) = await Web(web.archive, at, web.session).get("/studies?PatientID=P1")
    assert value(study, "00081190") == "https://pacs.example/dicom-web/studies/1.1"


async def test_pages_together_are_the_whole_and_say_how_much_there_is(web: Web) -> None:
    whole = await web.get("/instances")
    assert len(whole) == 6
    pages = []
    for offset in range(0, 8, 2):
        pages += await web.get(f"/instances?limit=2&offset={offset}")
    assert pages == whole
    headers = await web.headers("/instances?limit=2&offset=2")
    assert headers["X-Total-Count"] == "6"
    assert headers["Warning"] == (
        '299 /dicom-web "There are 2 additional results that can be requested"'
    )
    assert (await web.headers("/instances?limit=6"))["Warning"] == ""
    assert (await web.headers("/instances?offset=9"))["X-Total-Count"] == "6"


async def test_pages_of_what_the_files_say_are_the_whole_too(web: Web) -> None:
    found = await web.get("/instances?StationName=CT1")
    pages = [await web.get(f"/instances?StationName=CT1&limit=1&offset={at}") for at in range(3)]
    assert [one for page in pages for one in page] == found
    headers = await web.headers("/instances?StationName=CT1&limit=1")
    assert "X-Total-Count" not in headers
    assert "There are additional results" in headers["Warning"]
    assert (await web.headers("/instances?StationName=CT1"))["X-Total-Count"] == "2"


async def test_what_is_passed_over_is_said_in_a_warning(web: Web) -> None:
    headers = await web.headers("/studies?orderby=%22x%C3%BC&includefield=Nonsense")
    assert "'orderby' is not supported" in headers["Warning"]
    assert "'Nonsense' is not known" in headers["Warning"]


async def test_a_search_that_would_read_too_many_files_is_refused(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_module, "_FILES", 2)
    monkeypatch.setattr(index_module, "_FILES_AT_ONCE", 1)
    refusal: Any = await web.get("/instances?StationName=CT1", status=413)
    assert "more than 2 files" in refusal["error"]
    assert len(await web.get("/instances?StationName=CT1&limit=1")) == 1
    assert len(await web.get("/studies/1.1/series/1.1.1/instances?StationName=CT1")) == 2


async def test_results_are_made_page_by_page(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = await web.get("/instances")
    monkeypatch.setattr(index_module, "_RESULTS_AT_ONCE", 1)
    assert await web.get("/instances") == whole


async def test_an_index_that_is_behind_is_to_be_asked_again(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_module, "_PATIENCE", -1.0)
    web.archive.index._compare(7)
    async with web.session.get(f"{web.url}/dicom-web/studies") as answer:
        assert answer.status == 503
        assert answer.headers["Retry-After"]
    monkeypatch.undo()
    assert uids(await web.get("/studies")) == ["1.1", "1.2"]


async def test_xml_says_what_json_says(web: Web) -> None:
    accept = {"Accept": 'multipart/related; type="application/dicom+xml"'}
    async with web.session.get(f"{web.url}/dicom-web/studies", headers=accept) as answer:
        parts = await parts_of(answer)
    studies = await web.get("/studies")
    for (headers, document), study in zip(parts, studies, strict=True):
        assert headers["content-type"] == "application/dicom+xml"
        attributes = {one.get("tag"): one for one in ET.fromstring(document)}  # noqa: S314
        assert set(attributes) == set(study)
        (uid,) = [child.text for child in attributes["0020000D"]]
        assert uid == value(study, "0020000D")


async def test_nothing_found_is_an_empty_array_or_no_part(web: Web) -> None:
    assert await web.get("/studies?PatientID=NOBODY") == []
    accept = {"Accept": 'multipart/related; type="application/dicom+xml"'}
    url = f"{web.url}/dicom-web/studies?PatientID=NOBODY"
    async with web.session.get(url, headers=accept) as answer:
        assert (answer.status, await parts_of(answer)) == (200, [])


async def test_head_has_the_headers_alone(web: Web) -> None:
    async with web.session.head(f"{web.url}/dicom-web/studies?limit=1") as answer:
        assert (answer.status, answer.headers["X-Total-Count"]) == (200, "2")
        assert await answer.read() == b""


async def test_a_path_that_names_no_uid_is_refused(web: Web) -> None:
    refusal: Any = await web.get("/studies/abc/series", status=400)
    assert "'abc' is not a UID" in refusal["error"]


async def test_names_in_every_character_set_are_found_and_shown(tmp_path: Path) -> None:
    names = {"ISO_IR 100": "Buc^Jérôme", "\\ISO 2022 IR 87": "Yamada^Tarou=山田^太郎"}
    async with opened_archive(tmp_path) as archive, aiohttp.ClientSession() as session:
        for number, (charset, name) in enumerate(names.items(), 1):
            ds = image(f"1.{number}", f"1.{number}.1", f"1.{number}.1.1", PatientName=name)
            ds.SpecificCharacterSet = charset.split("\\")
            await archive.keep(ds)
        async with running(application([qido_rs.routes(archive.index, ServeSettings())])) as at:
            web = Web(archive, at, session)
            assert uids(await web.get("/studies?PatientName=buc^jerome")) == ["1.1"]
            (study,) = await web.get("/studies?PatientName=%E5%B1%B1%E7%94%B0*")
    assert value(study, "00100010") == {"Alphabetic": "Yamada^Tarou", "Ideographic": "山田^太郎"}
