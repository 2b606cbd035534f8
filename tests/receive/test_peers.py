"""Real senders and the real spool: what they were told to be stored is kept, byte for byte."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest
import pytest_asyncio
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, build_context
from pynetdicom.association import Association
from pynetdicom.sop_class import CTImageStorage, MRImageStorage, Verification

from gateway.config import load_text
from gateway.dataset.part10 import read_file_meta
from gateway.failures import PermanentFailure, TemporaryFailure
from gateway.intake import Announced, Intake
from gateway.model import Arrival, Delivery, Instance, Origin
from gateway.receive.store_scp import ScpSettings, StoreScp
from gateway.route.rules import compile_rules
from gateway.spool import Spool
from tests.peers import absent
from tests.scripted_peer import (
    CT,
    EXPLICIT_LE,
    IMPLICIT_LE,
    ScriptedPeer,
    data_set,
    part10,
    store,
    until,
)

CONFIGURATION = """\
version: 1
nodes:
  archive: { dimse: { ae_title: ARCHIVE, host: 127.0.0.1, port: 104 } }
routes:
  - { name: everything, send_to: [archive] }
"""
NOW = datetime(2024, 5, 6, 12, tzinfo=UTC)


@dataclass
class Door:
    """An SCP that listens, in front of a spool."""

    spool: Spool
    intake: Intake
    folder: Path
    port: int = 0
    kept: list[Instance] = field(default_factory=list)

    async def owed(self) -> list[Delivery]:
        return await self.spool.due("archive", limit=1000, now=NOW)

    def files(self) -> list[Path]:
        return sorted(path for path in self.folder.rglob("*") if path.suffix in (".dcm", ".part"))


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Door]:
    """A door without an SCP."""
    kept: list[Instance] = []
    rules = compile_rules(load_text(CONFIGURATION, "test.yaml"))
    spool = Spool.open(folder, clock=lambda: NOW, refuse_below_free=0)
    try:
        intake = Intake(
            spool, rules, kept=lambda instance, _: kept.append(instance), clock=lambda: NOW
        )
        yield Door(spool, intake, folder, kept=kept)
    finally:
        await spool.aclose()


@pytest_asyncio.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    async with opened(tmp_path / "spool") as opened_door:
        scp = StoreScp(opened_door.intake, ScpSettings())
        opened_door.port = await scp.start("127.0.0.1", 0)
        try:
            yield opened_door
        finally:
            await scp.stop(1.0)


def image(uid: str, sop_class: str = CT, rows: int = 64) -> Dataset:
    """A small CT or MR image."""
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, uid
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.3.1", "1.2.3.2"
    dataset.PatientName = "Nobody"
    dataset.Modality = "CT"
    dataset.Rows, dataset.Columns, dataset.BitsAllocated = rows, 64, 16
    dataset.PixelData = bytes(rows * 128)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return dataset


@contextmanager
def pynetdicom_scu(port: int, *contexts: object, max_pdu: int = 16_384) -> Iterator[Association]:
    """An association of pynetdicom's with the gateway."""
    entity = AE("PYNETDICOM")
    association = entity.associate("127.0.0.1", port, list(contexts), "GATEWAY", max_pdu)
    assert association.is_established
    try:
        yield association
    finally:
        association.release()
        association.join(10)
        entity.shutdown()


async def test_pynetdicom_stores_several_classes_in_one_association(door):
    images = [image(f"1.2.{n}", (CT, MRImageStorage)[n % 2], rows=n * 20) for n in range(1, 11)]

    def send() -> list[int]:
        contexts = (
            build_context(Verification),
            build_context(CTImageStorage, [ExplicitVRLittleEndian]),
            build_context(MRImageStorage, [ExplicitVRLittleEndian, ImplicitVRLittleEndian]),
        )
        with pynetdicom_scu(door.port, *contexts) as association:
            assert association.send_c_echo().Status == 0
            return [association.send_c_store(each).Status for each in images]

    assert await asyncio.to_thread(send) == [0] * 10
    assert [instance.sop_instance_uid for instance in door.kept] == [
        f"1.2.{n}" for n in range(1, 11)
    ]
    for instance, sent in zip(door.kept, images, strict=True):
        read = dcmread(instance.file)
        assert read == sent
        assert read.file_meta.TransferSyntaxUID == instance.transfer_syntax == EXPLICIT_LE
        assert read.file_meta.SourceApplicationEntityTitle == "PYNETDICOM"
        assert (instance.study_uid, instance.series_uid) == ("1.2.3.1", "1.2.3.2")
        assert "Nobody" not in repr(instance)
    assert [delivery.instance.sop_instance_uid for delivery in await door.owed()] == [
        f"1.2.{n}" for n in range(1, 11)
    ]


@pytest.mark.parametrize("max_pdu", [0, 4096, 1_000_000])
async def test_pynetdicom_stores_whatever_maximum_length_it_announces(door, max_pdu):
    data = image("1.2.3", rows=2000)

    def send() -> int:
        context = build_context(CTImageStorage, [ExplicitVRLittleEndian])
        with pynetdicom_scu(door.port, context, max_pdu=max_pdu) as association:
            return int(association.send_c_store(data).Status)

    assert await asyncio.to_thread(send) == 0
    assert dcmread(door.kept[0].file).PixelData == data.PixelData


async def dcmtk(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run one of DCMTK's programs."""
    command = [str(argument) for argument in arguments]
    return await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, timeout=60
    )


needs_dcmtk = pytest.mark.skipif(
    bool(absent("storescu", "echoscu")), reason=absent("storescu", "echoscu")
)


@needs_dcmtk
@pytest.mark.interop
async def test_dcmtk_echoes(door):
    ran = await dcmtk("echoscu", "--repeat", 5, "-pts", 30, "-ppc", 100, "127.0.0.1", door.port)
    assert ran.returncode == 0, ran.stderr


@needs_dcmtk
@pytest.mark.interop
@pytest.mark.parametrize(
    "options", [(), ("--max-send-pdu", 131_072), ("--max-pdu", 4096), ("-R",)]
)
async def test_dcmtk_stores_byte_for_byte(door, tmp_path, options):
    for number, pixels in enumerate((0, 100, 16_000, 300_000), 1):
        name = tmp_path / f"{number}.dcm"
        name.write_bytes(part10(f"1.2.{number}", pixels))
    files = sorted(tmp_path.glob("*.dcm"))
    ran = await dcmtk("storescu", *options, "-aec", "GATEWAY", "127.0.0.1", door.port, *files)
    assert ran.returncode == 0, ran.stderr
    assert len(door.kept) == len(files)
    for instance, sent in zip(door.kept, files, strict=True):
        assert dataset_bytes(instance.file) == dataset_bytes(sent)


def dataset_bytes(file: Path) -> bytes:
    """A Part 10 file without its file meta information."""
    data = file.read_bytes()
    return data[read_file_meta(data).dataset_offset :]


@needs_dcmtk
@pytest.mark.interop
async def test_dcmtk_that_aborts_leaves_what_was_acknowledged(door, tmp_path):
    file = tmp_path / "one.dcm"
    file.write_bytes(part10("1.2.3", 1000))
    await dcmtk("storescu", "--abort", "127.0.0.1", door.port, file)
    assert [instance.sop_instance_uid for instance in door.kept] == ["1.2.3"]


@pytest.mark.parametrize(
    "uid", ["../../etc/passwd", "/etc/passwd", "1.2\\..", "1.2.3/../4", "", "1" * 65, "1.2\xff"]
)
async def test_a_uid_that_is_none_is_refused_and_the_association_goes_on(door, uid, tmp_path):
    async with await ScriptedPeer.connect(door.port) as peer:
        await peer.associate()
        before = sorted(tmp_path.rglob("*"))
        await peer.send(store(uid, data_set("1.2.3")))
        assert (await peer.answer()).status in (0xC000, 0x0117)
        await peer.send(store("1.2.4", data_set("1.2.4")))
        assert (await peer.answer()).status == 0
        after = sorted(set(tmp_path.rglob("*")) - set(before))
    assert [path.suffix for path in after if path.is_file()] == [".dcm"]
    assert len(door.kept) == 1


@pytest.mark.parametrize(
    "data", [b"", b"\xff" * 4000, b"\0" * 4000, bytes(range(256)), data_set("1.2.3")[:30]]
)
async def test_a_data_set_that_is_none_is_refused_and_nothing_of_it_stays(door, data):
    async with await ScriptedPeer.connect(door.port) as peer:
        await peer.associate()
        await peer.send(store("1.2.3", data))
        assert (await peer.answer()).status == 0xC000
    assert door.kept == []
    assert door.files() == []


async def test_an_object_cut_in_the_middle_leaves_no_file(door):
    whole = store("1.2.3", data_set("1.2.3", pixels=100_000))
    async with await ScriptedPeer.connect(door.port) as peer:
        await peer.associate()
        await peer.send(whole[:50_000])
        await until(lambda: [path.suffix for path in door.files()] == [".part"])
    await until(lambda: not door.files())
    assert await door.owed() == []


async def test_the_same_instance_twice_is_kept_twice(door):
    async with await ScriptedPeer.connect(door.port) as peer:
        await peer.associate()
        for _ in range(2):
            await peer.send(store("1.2.3", data_set("1.2.3")))
            assert (await peer.answer()).status == 0
    assert len({instance.spool_id for instance in door.kept}) == 2


async def test_a_calling_title_outside_ascii_does_not_hinder(door):
    async with await ScriptedPeer.connect(door.port) as peer:
        await peer.associate(calling="RÖNTGEN")
        await peer.send(store("1.2.3", data_set("1.2.3")))
        assert (await peer.answer()).status == 0
    (instance,) = door.kept
    assert instance.origin.calling == "RÖNTGEN"
    assert dcmread(instance.file).file_meta.SourceApplicationEntityTitle == "R?NTGEN"


async def test_several_associations_at_once_are_kept_together(door):
    async def send(number: int) -> list[int | None]:
        async with await ScriptedPeer.connect(door.port) as peer:
            await peer.associate((CT, IMPLICIT_LE), (CT, EXPLICIT_LE))
            answers = []
            for each in range(5):
                uid = f"1.2.{number}.{each}"
                await peer.send(store(uid, data_set(uid, 20_000), context_id=3))
                answers.append((await peer.answer()).status)
            return answers

    assert await asyncio.gather(*map(send, range(1, 11))) == [[0] * 5] * 10
    assert len(await door.owed()) == 50


class ShortOfDisk:
    """A spool whose parts take nothing."""

    def __init__(self) -> None:
        self.aborted = 0

    def create(self) -> "ShortOfDisk":
        return self

    def write(self, data: bytes) -> None:
        raise TemporaryFailure("no space left")

    def abort(self) -> None:
        self.aborted += 1


ANNOUNCED = Announced(Origin(Arrival.C_STORE, "MODALITY"), CT, "1.2.3", EXPLICIT_LE)


def test_a_part_that_cannot_even_be_begun_is_given_back():
    spool = ShortOfDisk()
    rules = compile_rules(load_text(CONFIGURATION, "test.yaml"))
    intake = Intake(spool, rules, kept=lambda *_: None, clock=lambda: NOW)
    with pytest.raises(TemporaryFailure, match="no space left"):
        intake.begin(ANNOUNCED)
    assert spool.aborted == 1


async def test_a_header_that_cannot_be_read_costs_the_part(tmp_path):
    async with opened(tmp_path) as door:
        part = door.intake.begin(ANNOUNCED)
        part.write(b"\x08\0\x18\0UI\xff\xff1.2.3")
        with pytest.raises(PermanentFailure):
            await door.intake.admit(part, ANNOUNCED)
        assert door.files() == []
