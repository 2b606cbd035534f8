"""dicomweb-client (Python) against the running service: every method that a server meets."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from dicomweb_client import DICOMwebClient
from PIL import Image
from pydicom import Dataset, dcmread
from requests.exceptions import HTTPError

from tests.peers import RunningGateway, until
from tests.serve import objects
from tests.transcode.objects import JPEG_LS

pytestmark = pytest.mark.interop

ROOT = "1.2.826.0.1.3680043.8.498.77"
STUDIES = 3
SLICES = 4


def _image(folder: Path, study: int, number: int) -> Dataset:
    """A slice in JPEG-LS of study ``study``."""
    pictures = objects.pictures(1, seed=100 * study + number)
    image = dcmread(objects.jpeg_ls(folder / "one.dcm", pictures))
    image.StudyInstanceUID, image.SeriesInstanceUID = f"{ROOT}.{study}", f"{ROOT}.{study}.1"
    image.SOPInstanceUID = f"{ROOT}.{study}.1.{number}"
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
    image.PatientName, image.PatientID = f"Client^Test{study}", f"CLIENT-{study}"
    image.StudyDate, image.Modality, image.InstanceNumber = f"2026010{study}", "OT", number
    image.AccessionNumber = image.StudyID = image.StudyTime = image.PatientBirthDate = ""
    image.PatientSex = image.ReferringPhysicianName = ""
    image.SeriesNumber = 1
    return image


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DICOMwebClient]:
    folder = tmp_path_factory.mktemp("dicomweb-client")
    gateway = RunningGateway("", folder).start()
    try:
        client = DICOMwebClient(f"http://127.0.0.1:{gateway.web_port}/dicom-web")
        for study in range(1, STUDIES + 1):
            images = [_image(folder, study, number) for number in range(1, SLICES + 1)]
            answer = client.store_instances(images, f"{ROOT}.{study}")
            assert len(answer.ReferencedSOPSequence) == SLICES
            assert "FailedSOPSequence" not in answer
        until(lambda: len(client.search_for_instances()) == STUDIES * SLICES, "all are indexed")
        yield client
    finally:
        gateway.stop()


def _values(rows: list[dict[str, dict[str, object]]], tag: str) -> list[object]:
    return [value for row in rows for value in row[tag]["Value"]]  # type: ignore[attr-defined]


def test_studies_are_searched_for_and_paged(client: DICOMwebClient) -> None:
    everything = client.search_for_studies()
    assert sorted(_values(everything, "0020000D")) == [f"{ROOT}.{n}" for n in (1, 2, 3)]
    assert _values(everything, "00201208") == [SLICES] * STUDIES
    paged = client.search_for_studies(limit=2, get_remaining=True)
    assert [row["0020000D"] for row in paged] == [row["0020000D"] for row in everything]
    assert len(client.search_for_studies(limit=2, offset=2)) == 1
    for filters in (
        {"PatientID": "CLIENT-2"},
        {"PatientName": "*test2"},
        {"00080020": "20260102"},
        {"StudyDate": "20260102-20260102"},
        {"StudyInstanceUID": f"{ROOT}.2"},
    ):
        found = client.search_for_studies(search_filters=filters, fuzzymatching=True)
        assert _values(found, "0020000D") == [f"{ROOT}.2"], filters
    assert client.search_for_studies(search_filters={"PatientID": "NOBODY"}) == []


def test_series_and_instances_are_searched_for(client: DICOMwebClient) -> None:
    assert len(client.search_for_series()) == STUDIES
    (series,) = client.search_for_series(f"{ROOT}.1", search_filters={"Modality": "OT"})
    assert (series["0020000E"]["Value"], series["00201209"]["Value"]) == (
        [f"{ROOT}.1.1"],
        [SLICES],
    )
    rows = client.search_for_instances(f"{ROOT}.1", f"{ROOT}.1.1", fields=["InstanceNumber"])
    assert sorted(_values(rows, "00200013")) == [1, 2, 3, 4]
    one = client.search_for_instances(f"{ROOT}.1", search_filters={"InstanceNumber": "3"})
    assert _values(one, "00080018") == [f"{ROOT}.1.1.3"]


def test_what_was_stored_is_retrieved_uncompressed_and_as_it_was(client: DICOMwebClient) -> None:
    for study in (1, 2, 3):
        found = client.retrieve_study(f"{ROOT}.{study}")
        assert [one.InstanceNumber for one in found] == [1, 2, 3, 4]
        for one in found:
            expected = objects.pictures(1, seed=100 * study + one.InstanceNumber)
            assert one.file_meta.TransferSyntaxUID == objects.EXPLICIT_LE
            assert one.PixelData == expected.tobytes()
    assert len(client.retrieve_series(f"{ROOT}.1", f"{ROOT}.1.1")) == SLICES
    stored = client.retrieve_instance(*_uids(2, 3), media_types=(("application/dicom", "*"),))
    assert stored.file_meta.TransferSyntaxUID == JPEG_LS
    (octets,) = client.retrieve_instance_frames(*_uids(2, 3), [1])
    assert octets == objects.pictures(1, seed=203).tobytes()


def test_metadata_bulk_data_and_pictures(client: DICOMwebClient) -> None:
    assert len(client.retrieve_study_metadata(f"{ROOT}.1")) == SLICES
    assert len(client.retrieve_series_metadata(f"{ROOT}.1", f"{ROOT}.1.1")) == SLICES
    metadata = client.retrieve_instance_metadata(*_uids(1, 2))
    assert Dataset.from_json(metadata, lambda _: b"").PatientName == "Client^Test1"
    server = client.base_url.removesuffix("/dicom-web")
    (pixels,) = client.retrieve_bulkdata(server + metadata["7FE00010"]["BulkDataURI"])
    assert pixels == objects.pictures(1, seed=102).tobytes()
    png = client.retrieve_instance_rendered(*_uids(1, 2), media_types=("image/png",))
    assert np.asarray(Image.open(BytesIO(png))).shape[:2] == (6, 10)
    jpeg = client.retrieve_instance_frames_rendered(*_uids(1, 2), [1], media_types=("image/jpeg",))
    assert Image.open(BytesIO(jpeg)).size == (10, 6)


def test_what_is_off_is_refused(client: DICOMwebClient) -> None:
    with pytest.raises(HTTPError, match="405"):
        client.delete_instance(*_uids(1, 1))
    assert client.retrieve_instance(*_uids(1, 1)).InstanceNumber == 1


def test_what_is_not_held_is_not_found(client: DICOMwebClient) -> None:
    with pytest.raises(HTTPError, match="404"):
        client.retrieve_instance_frames(f"{ROOT}.1", f"{ROOT}.1.1", f"{ROOT}.9", [1])


def _uids(study: int, number: int) -> tuple[str, str, str]:
    return f"{ROOT}.{study}", f"{ROOT}.{study}.1", f"{ROOT}.{study}.1.{number}"
