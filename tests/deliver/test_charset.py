"""``can_read.charset`` from C-STORE to C-STORE: text as the node reads it, all else as it came."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pydicom
import pytest
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset

from gateway.clock import utc_now
from gateway.config import load_text
from gateway.service import Service
from gateway.spool import Queue
from gateway.transfer_syntax import RLE
from tests.deliver.calling import instance as sent_instance
from tests.deliver.calling import scu
from tests.deliver.fakes import CT
from tests.deliver.test_tags import NATIVE_ONLY, Archive, picture
from tests.scripted_peer import until

YAMADA = "Yamada^Tarou=山田^太郎=やまだ^たろう"
TEXT = ("SpecificCharacterSet", "InstitutionName", "PatientName")
CONFIG = """
version: 1
gateway:
  dicom: {{ listen: "127.0.0.1:0" }}
  web: {{ listen: "127.0.0.1:0" }}
  spool: {{ path: "{spool}", refuse_below_free: 1MiB }}
  transcode: {{ workers: 1 }}
nodes:
  old:
    dimse: {{ ae_title: OLD, host: 127.0.0.1, port: {port} }}
    can_read: {{ charset: {charset} }}
routes:
  - {{ name: all, send_to: [old] }}
"""


@pytest.fixture
def old() -> Iterator[Archive]:
    archive = Archive(RLE, *NATIVE_ONLY)
    yield archive
    archive.close()


def written(path: Path, charset: str, name: str = YAMADA, institution: str = "病院") -> Path:
    """A compressed picture with text in this character set, and bytes that could be text."""
    ds = Dataset()
    block = ds.private_block(0x0019, "ACME", create=True)
    block.add_new(0x01, "UN", b"M\xfcller")
    block.add_new(0x02, "OB", b"K\xe4the\x00")
    private = {element.tag: element for element in ds}
    picture(path, SpecificCharacterSet=charset, PatientName=name, InstitutionName=institution)
    whole = pydicom.dcmread(path)
    whole.update(private)
    whole.save_as(path)
    return path


async def passed_on(folder: Path, old: Archive, charset: str, file: Path) -> tuple[str, str]:
    """Send a file through a gateway; the state of the delivery then, and why it is held."""
    text = CONFIG.format(spool=folder / "spool", port=old.port, charset=charset)

    def standing() -> list[tuple[str, str]]:
        with Queue(folder / "spool", clock=utc_now) as queue:
            return [(row.state, row.reason) for row in queue.list() if row.state != "owed"]

    async with Service(load_text(text, "test")) as service:
        async with scu(service.dicom_port).connect([(CT, RLE)]) as session:
            stored = replace(sent_instance("1.2.1"), transfer_syntax=RLE)
            assert await session.store(stored, file, RLE) == ""
        await service.warm()
        await until(standing)
        return standing()[0]


def rest_of(ds: Dataset) -> dict[int, object]:
    """Every element that is no text, its value in bytes where pydicom has not touched it."""
    tags = list(ds.keys())
    items = {int(tag): ds.get_item(tag) for tag in tags}
    return {
        tag: (item.VR, item.value) if isinstance(item, RawDataElement) else item
        for tag, item in items.items()
        if pydicom.datadict.keyword_for_tag(tag) not in TEXT
    }


@pytest.mark.parametrize(
    ("charset", "declared"),
    [
        ("[ISO_IR 100, ISO_IR 192]", "ISO_IR 192"),
        ("[ISO_IR 100, ISO 2022 IR 6, ISO 2022 IR 87]", ["ISO 2022 IR 6", "ISO 2022 IR 87"]),
    ],
)
async def test_a_japanese_name_arrives_in_the_character_set_that_is_read(
    tmp_path: Path, old: Archive, charset: str, declared: str | list[str]
) -> None:
    file = written(tmp_path / "in.dcm", "GB18030")
    assert await passed_on(tmp_path, old, charset, file) == ("delivered", "")
    ((_, got),) = old.got
    assert rest_of(got) == rest_of(pydicom.dcmread(file))
    assert got.SpecificCharacterSet == declared
    assert (str(got.PatientName), got.InstitutionName) == (YAMADA, "病院")


async def test_text_in_a_character_set_that_is_read_keeps_its_bytes(
    tmp_path: Path, old: Archive
) -> None:
    file = written(tmp_path / "in.dcm", "ISO_IR 100", "Müller^Käthe", "Klinik Süd")
    await passed_on(tmp_path, old, "[ISO_IR 192, ISO_IR 100]", file)
    ((_, got),) = old.got
    assert got.get_item("PatientName").value == "Müller^Käthe".encode("latin-1")
    assert got == pydicom.dcmread(file)


async def test_a_name_that_cannot_be_written_is_held_with_the_reason(
    tmp_path: Path, old: Archive
) -> None:
    file = written(tmp_path / "in.dcm", "ISO_IR 192")
    state, reason = await passed_on(tmp_path, old, "ISO_IR 100", file)
    assert state == "held"
    assert "cannot be written in 'ISO_IR 100'" in reason
    assert "山田" not in reason
    assert old.got == []


async def test_without_a_word_in_the_configuration_no_text_is_touched(
    tmp_path: Path, old: Archive
) -> None:
    file = written(tmp_path / "in.dcm", "ISO_IR 192")
    await passed_on(tmp_path, old, "as-received", file)
    ((_, got),) = old.got
    assert got == pydicom.dcmread(file)
