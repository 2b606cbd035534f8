"""A compressed C-STORE in, a decompressed C-STORE out, with every real file that can be sent."""

import sys

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

EXCEPTIONS: dict[str, str] = {}
"""File name -> why what arrives may differ from the reference; a held file names its reason."""

_SENDERS = {"storescu": main_job.by_storescu, "pynetdicom": main_job.by_pynetdicom}


@pytest.fixture(scope="module", params=sorted(_SENDERS))
def job(request, tmp_path_factory):
    """The report of one run over all files by one sender."""
    sender = request.param
    if sender == "storescu" and (reason := absent("storescu", "dcmsend")):
        pytest.skip(reason)
    objects, unsuitable = suitable()
    if sender == "pynetdicom":
        objects = [one for one in objects if one.meta_agrees]
    report = main_job.run(objects, _SENDERS[sender], tmp_path_factory.mktemp(sender))
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        sys.stdout.write("\n" + report.text(sender, len(objects)))
        sys.stdout.write(f"  {len(unsuitable)} files beside these cannot be sent\n")
    return report


def test_every_real_file_arrives_as_it_was_sent(job):
    """Pixels by the reference's digest; every attribute that decompression may not touch."""
    wrong = {name: what for name, what in job.wrong().items() if name not in EXCEPTIONS}
    assert not wrong, "\n".join(f"{name}: {what}" for name, what in sorted(wrong.items()))


def test_no_acknowledged_object_is_lost(job):
    assert not job.lost


def test_no_exception_is_listed_that_is_none(job):
    """Every listed exception still happens, or is no longer sent by this sender."""
    stale = {name for name in EXCEPTIONS if name in job.equal}
    assert not stale
