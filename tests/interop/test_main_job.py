"""A compressed C-STORE in, a decompressed C-STORE out, with every real file that can be sent."""

import warnings

import pytest

from tests.interop import main_job
from tests.interop.real_objects import suitable
from tests.peers import Storescp, absent
from tests.real_files import needs_real_files

pytestmark = [
    pytest.mark.interop,
    pytest.mark.data,
    needs_real_files,
    pytest.mark.skipif(bool(Storescp.missing()), reason=Storescp.missing()),
]

HELD = {
    "healthcare-dicom-dicomweb-adapter__example3.dcm": "its Pixel Data is no JPEG",
    "pydicom__JPEG2000-embedded-sequence-delimiter.dcm": "its codestream is garbled",
    "pydicom__MR_truncated.dcm": "the file ends before its Pixel Data does",
    "weasis-dicom-tools__NeurosurgeryPlan.dcm": "storescp takes no Hanging Protocol",
}
"""File name -> why it is right to hold it."""

DIFFERENT = {
    "pylibjpeg-data__JPEGLossless_1s_1f_i_16_16_bad.dcm": "DCMTK sends a blank DS as empty",
}
"""File name -> why it is not the gateway that made the difference."""

_SENDERS = {"storescu": main_job.by_storescu, "pynetdicom": main_job.by_pynetdicom}


@pytest.fixture(scope="module", params=sorted(_SENDERS))
def job(request, tmp_path_factory):
    """The report of one run over all files by one sender."""
    sender = request.param
    if sender == "storescu" and (reason := absent("storescu", "dcmsend")):
        pytest.skip(reason)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # many real files break the Standard; pydicom says so
        objects, unsuitable = suitable()
        if sender == "pynetdicom":
            objects = [one for one in objects if one.meta_agrees]
        report = main_job.run(objects, _SENDERS[sender], tmp_path_factory.mktemp(sender))
    told = report.text(sender, len(objects))
    report.told = f"{told}  {len(unsuitable)} files beside these cannot be sent"
    return report


def test_every_real_file_arrives_as_it_was_sent(job, figures):
    """Pixels by the reference's digest; every attribute that decompression may not touch."""
    figures(job.told)
    listed = HELD.keys() | DIFFERENT.keys()
    wrong = {name: what for name, what in job.wrong().items() if name not in listed}
    assert not wrong, "\n".join(f"{name}: {what}" for name, what in sorted(wrong.items()))


def test_no_acknowledged_object_is_lost(job):
    assert not job.lost


def test_what_cannot_be_delivered_truthfully_is_held_with_a_reason(job):
    """Whatever of these was sent: never delivered, and the queue says why."""
    sent = HELD.keys() & job.sent
    assert {name for name in sent if name not in job.held} == set()
    assert not HELD.keys() & job.equal
