"""The whole street over DICOMweb: fetched from one Orthanc, decompressed, stored to another."""

import subprocess
import urllib.request

import numpy as np
import pytest
from dicomweb_client import DICOMwebClient
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.filebase import DicomBytesIO
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from tests.peers import Orthanc, start_gateway, until
from tests.peers.receivers import DICOMWEB
from tests.peers.running_gateway import REPOSITORY, gateway_command

pytestmark = pytest.mark.interop
NAMES = ("JPEG2000.dcm", "MR_small_RLE.dcm", "MR_small_jpeg_ls_lossless.dcm", "CT_small.dcm")
CONFIG = """
nodes:
  archive: {{ dicomweb: {{ url: "http://127.0.0.1:{archive}/dicom-web" }} }}
  cloud:
    dicomweb: {{ url: "http://127.0.0.1:{cloud}/dicom-web" }}
    can_read: {{ syntaxes: [explicit-le] }}
routes:
  - {{ name: fetched, from: [archive], send_to: [cloud] }}
serve: {{ upstream: [archive] }}
fetch:
  - {{ name: new, from: archive, every: 1s, filter: {{ PatientID: RULE }} }}
"""


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    if reason := Orthanc.missing() or ("" if DICOMWEB.is_file() else "orthanc-dicomweb is absent"):
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("archives")
    with Orthanc(folder / "archive") as archive, Orthanc(folder / "cloud") as cloud:
        yield archive, cloud


@pytest.fixture(scope="module")
def gateway(archives, tmp_path_factory):
    archive, cloud = archives
    config = CONFIG.format(archive=archive.web_port, cloud=cloud.web_port)
    with start_gateway(config, tmp_path_factory.mktemp("gateway")) as running:
        yield running


def fill(orthanc, patient="SOMEBODY"):
    """A study of compressed images in Orthanc: its UID, and the pixels by SOP Instance UID."""
    study, pixels = generate_uid(), {}
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for name in NAMES:
        data = dcmread(str(get_testdata_file(name)))
        data.StudyInstanceUID, data.PatientID = study, patient
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        pixels[data.SOPInstanceUID] = data.pixel_array
        buffer = DicomBytesIO()
        data.save_as(buffer)
        address = f"http://127.0.0.1:{orthanc.web_port}/instances"
        direct.open(urllib.request.Request(address, buffer.getvalue()), timeout=30).close()
    return study, pixels


def stored(orthanc):
    """What Orthanc holds, by SOP Instance UID."""
    found = (
        dcmread(DicomBytesIO(orthanc.file_of(identifier)))
        for identifier in orthanc.get("/instances")
    )
    return {data.SOPInstanceUID: data for data in found}


def wait_for(cloud, pixels, gateway):
    """All have arrived uncompressed, with the pixels that were encoded."""
    until(
        lambda: set(pixels) <= set(stored(cloud)),
        f"all stored\n{gateway.log_text()}",
        60,
        poll=0.2,
    )
    found = stored(cloud)
    for uid, encoded in pixels.items():
        assert found[uid].file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
        assert np.array_equal(found[uid].pixel_array, encoded)


def fetched(gateway, study):
    call = gateway_command("fetch", study, "--from", "archive", "-c", gateway.config)
    return subprocess.run(call, cwd=REPOSITORY, capture_output=True, text=True, timeout=60)


def test_what_the_archive_holds_is_served_decompressed_as_if_it_were_here(archives, gateway):
    archive, cloud = archives
    study, pixels = fill(archive)
    client = DICOMwebClient(f"http://127.0.0.1:{gateway.web_port}/dicom-web")
    found = client.search_for_studies(search_filters={"StudyInstanceUID": study})
    assert [each["0020000D"]["Value"] for each in found] == [[study]]
    instances = client.retrieve_study(study)
    assert {each.SOPInstanceUID for each in instances} == set(pixels)
    for each in instances:
        assert each.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
        assert np.array_equal(each.pixel_array, pixels[each.SOPInstanceUID])
    assert not set(pixels) & set(stored(cloud)), "what is only looked at is owed to nobody"
    assert "4 fetched, 0 here before" in fetched(gateway, study).stdout
    wait_for(cloud, pixels, gateway)


def test_a_study_fetched_from_the_shell_arrives_decompressed_by_stow(archives, gateway):
    archive, cloud = archives
    study, pixels = fill(archive)
    said = fetched(gateway, study)
    assert said.returncode == 0, said.stdout + said.stderr + gateway.log_text()
    assert f"{study}  done: 4 fetched" in said.stdout
    wait_for(cloud, pixels, gateway)
    said = fetched(gateway, "1.2.3")
    assert said.returncode == 1
    assert "archive has none of it" in said.stdout


def test_a_rule_fetches_what_is_new_and_each_instance_once(archives, gateway):
    archive, cloud = archives
    before = gateway.metric("gateway_received_total")
    for _ in range(2):
        _, pixels = fill(archive, "RULE")
        wait_for(cloud, pixels, gateway)
    assert gateway.metric("gateway_received_total") - before == 2 * len(NAMES)
