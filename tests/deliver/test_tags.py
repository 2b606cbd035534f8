"""A route that changes attributes: what its destination gets, and what others never get."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from structlog.testing import capture_logs

from gateway import wiring
from gateway.config import load_text
from gateway.dataset.part10 import read_file_meta
from gateway.deliver.policy import Destination, RoutePolicy
from gateway.deliver.prepare import prepare
from gateway.derivation import Derivations, Derived, derived_key
from gateway.failures import PermanentFailure
from gateway.model import UID, Checks, Instance, Rendition
from gateway.service import Service
from gateway.tags import Change, Hash, Secret, Set, TagChanges
from gateway.transcode.instance import Transcoded
from gateway.transcode.reader import Reader
from gateway.transfer_syntax import EXPLICIT_LE, IMPLICIT_LE, RLE
from tests.deliver.calling import instance as sent_instance
from tests.deliver.calling import scu
from tests.deliver.fakes import CT, MR, FakeSpool, FakeTime
from tests.deliver.in_this_process import InThisProcess
from tests.deliver.unreliable_sender import UnreliableSender
from tests.scripted_peer import until
from tests.transcode.objects import encapsulated, header, rle_of

NAME, SOP_INSTANCE = 0x00100010, 0x00080018
KEY = Secret(b"sixteen bytes and more")
ANONYMOUS = Set(path=(NAME,), values=("Teaching^File",))
RENAMED = Hash(path=(SOP_INSTANCE,), secret=KEY, identity=True)
NATIVE_ONLY = (EXPLICIT_LE, IMPLICIT_LE)
FRAME = bytes(range(48))


def picture(path: Path, uid: str = "1.2.1", **more: Any) -> Path:
    """A compressed picture of a patient."""
    ds = header(8, 6, BitsAllocated=8, BitsStored=8, HighBit=7)
    ds.SOPClassUID, ds.SOPInstanceUID = CT, uid
    ds.StudyInstanceUID, ds.SeriesInstanceUID = "1.2", "1.3"
    ds.SpecificCharacterSet, ds.PatientName = "ISO_IR 100", "Müller^Käthe"
    for keyword, value in more.items():
        setattr(ds, keyword, value)
    return encapsulated(path, ds, RLE, [rle_of([FRAME])])


class Noting(InThisProcess):
    """Notes what it is asked for; fails first where told to."""

    def __init__(self) -> None:
        self.calls: list[tuple[UID, TagChanges | None]] = []
        self.failure: PermanentFailure | None = None

    async def transcode(
        self,
        source: Path,
        target: UID,
        out: Path,
        rendition: Rendition = Rendition(),  # noqa: B008 - a frozen value
        checks: Checks = Checks(),  # noqa: B008 - a frozen value
        tags: TagChanges | None = None,
    ) -> Transcoded:
        self.calls.append((target, tags))
        if self.failure is not None and target != RLE:
            raise self.failure
        return await super().transcode(source, target, out, rendition, checks, tags)


class Table:
    """Everything that ``prepare`` is given, with a picture in the spool."""

    def __init__(self, folder: Path) -> None:
        self.spool = FakeSpool(folder, FakeTime())
        self.transcoder = Noting()
        self.derivations = Derivations(self.spool, self.transcoder)

    def instance(self, **more: Any) -> Instance:
        self.spool.keep("viewer", syntax=RLE, SpecificCharacterSet="ISO_IR 100")
        stored = self.spool.rows[len(self.spool.rows)].delivery.instance
        picture(stored.file, stored.sop_instance_uid, **more)
        return stored

    async def prepare(
        self,
        stored: Instance,
        *tags: Change,
        accepted: tuple[UID, ...] = (RLE, *NATIVE_ONLY),
        policy: RoutePolicy | None = None,
        **reads: Any,
    ) -> Derived:
        destination = Destination(Reader("viewer", **reads), UnreliableSender())
        policy = replace(policy or RoutePolicy(), tags=tags)
        return await prepare(stored, accepted, destination, policy, self.derivations)


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return Table(tmp_path)


async def test_a_route_with_tags_always_derives_and_one_without_never_for_that(
    table: Table,
) -> None:
    stored = table.instance()
    plain = await table.prepare(stored)
    assert (plain.file, table.transcoder.calls) == (stored.file, [])
    ready = await table.prepare(stored, ANONYMOUS)
    assert ready.transfer_syntax == RLE
    assert table.transcoder.calls == [(RLE, TagChanges((ANONYMOUS,)))]
    made = pydicom.dcmread(ready.file)
    assert made.PatientName == "Teaching^File"
    assert made.PixelData == pydicom.dcmread(stored.file).PixelData


async def test_routes_with_other_tags_share_no_file_and_with_equal_ones_do(table: Table) -> None:
    stored = table.instance()
    other = replace(ANONYMOUS, values=("Other",))
    files = [(await table.prepare(stored, tags)).file for tags in (ANONYMOUS, other, ANONYMOUS)]
    assert files[0] == files[2] != files[1]
    assert len(table.transcoder.calls) == 2
    assert pydicom.dcmread(files[1]).PatientName == "Other"


def test_the_name_of_a_form_says_nothing_of_its_tags() -> None:
    key = derived_key(RLE, Rendition(), "", TagChanges((ANONYMOUS,)))
    assert key.startswith(f"{RLE}+tags-")
    assert "Teaching" not in key
    assert derived_key(RLE, Rendition(), "", None) == RLE == derived_key(RLE, Rendition())


async def test_what_cannot_be_decoded_goes_as_stored_with_its_changes_only(table: Table) -> None:
    stored = table.instance()
    table.transcoder.failure = PermanentFailure("the codestream is cut")
    policy = RoutePolicy(change="always", if_undecodable="forward-as-stored")
    with capture_logs() as logs:
        ready = await table.prepare(stored, ANONYMOUS, policy=policy)
    assert ready.transfer_syntax == RLE
    assert pydicom.dcmread(ready.file).PatientName == "Teaching^File"
    assert [log["event"] for log in logs if log["event"] == "sent as stored"] == ["sent as stored"]


async def test_where_a_change_cannot_be_made_nothing_goes(table: Table) -> None:
    stored = table.instance()
    policy = RoutePolicy(if_undecodable="forward-as-stored")
    wrong = Set(path=(NAME,), values=("山田",))
    for accepted in ((RLE,), NATIVE_ONLY):
        with pytest.raises(PermanentFailure, match=r"\(0010,0010\): a character that Specific"):
            await table.prepare(stored, wrong, accepted=accepted, policy=policy)


async def test_the_destination_is_told_the_uid_that_the_file_has(table: Table) -> None:
    stored = table.instance()
    for _ in range(2):
        ready = await table.prepare(stored, RENAMED)
        told = ready.instance(stored).sop_instance_uid
        assert told == read_file_meta(ready.file.read_bytes()).sop_instance_uid
        assert told.startswith("2.25.")
        table.derivations = Derivations(table.spool, table.transcoder)  # forgot how it was made
    assert (await table.prepare(stored, ANONYMOUS)).instance(stored) is stored


async def test_text_is_written_in_a_character_set_that_the_node_reads(table: Table) -> None:
    stored = table.instance()
    assert (await table.prepare(stored, charsets=("ISO_IR 192", "ISO_IR 100"))).file == stored.file
    ready = await table.prepare(stored, charsets=("ISO_IR 192",))
    made = pydicom.dcmread(ready.file)
    assert (made.SpecificCharacterSet, made.PatientName) == ("ISO_IR 192", "Müller^Käthe")
    with pytest.raises(PermanentFailure, match="cannot be written in 'ISO_IR 144'"):
        await table.prepare(stored, charsets=("ISO_IR 144",))


async def test_a_sop_class_that_is_not_read_is_held_with_the_reason(table: Table) -> None:
    stored = table.instance()
    assert await table.prepare(stored, sop_classes=frozenset({CT}))
    with pytest.raises(PermanentFailure, match=r"viewer does not read SOP class .*can_read"):
        await table.prepare(stored, sop_classes=frozenset({MR}))


async def test_more_bits_than_are_read_are_held_with_the_reason(table: Table) -> None:
    stored = table.instance()
    assert await table.prepare(stored, bits=8)
    with pytest.raises(PermanentFailure, match=r"8 bits per sample .*can_read.bits: 7"):
        await table.prepare(stored, bits=7)
    ready = table.prepare(stored, ANONYMOUS, accepted=(IMPLICIT_LE,), bits=7)
    with pytest.raises(PermanentFailure, match=r"8 bits per sample"):
        await ready


CONFIG = """
version: 1
gateway:
  dicom: {{ listen: "127.0.0.1:0" }}
  web: {{ listen: "127.0.0.1:0" }}
  spool: {{ path: "{spool}", refuse_below_free: 1MiB }}
  transcode: {{ workers: 1 }}
nodes:
  pacs: {{ dimse: {{ ae_title: PACS, host: 127.0.0.1, port: {pacs} }} }}
  teaching: {{ dimse: {{ ae_title: TEACHING, host: 127.0.0.1, port: {teaching} }} }}
routes:
  - {{ name: clinical, send_to: [pacs] }}
  - {{ name: teaching-files, send_to: [teaching] }}
"""


class Archive:
    """A Storage SCP by pynetdicom that keeps what it gets, as (Affected UID, data set)."""

    def __init__(self, *syntaxes: UID) -> None:
        self.got: list[tuple[str, Dataset]] = []
        entity = AE("ARCHIVE")
        entity.add_supported_context(CT, list(syntaxes))
        handlers = [(evt.EVT_C_STORE, self._keep)]
        self._server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
        self.port: int = self._server.server_address[1]

    def _keep(self, event: evt.Event) -> int:
        ds = event.dataset
        ds.file_meta = event.file_meta
        self.got.append((str(event.request.AffectedSOPInstanceUID), ds))
        return 0

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


async def test_one_destination_gets_the_changes_and_the_other_what_came(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From C-STORE to C-STORE, through spool and workers; no value and no secret is logged."""
    pacs, teaching = Archive(RLE, *NATIVE_ONLY), Archive(IMPLICIT_LE, RLE)
    ports = {"pacs": pacs.port, "teaching": teaching.port}
    config = load_text(CONFIG.format(spool=tmp_path / "spool", **ports), "test")
    plain: Callable[[Any], dict[str, RoutePolicy]] = wiring.policies

    def policies(config: Any) -> dict[str, RoutePolicy]:
        found = plain(config)
        return found | {
            "teaching-files": replace(found["teaching-files"], tags=(ANONYMOUS, RENAMED))
        }

    monkeypatch.setattr(wiring, "policies", policies)
    file = picture(tmp_path / "in.dcm")
    with capture_logs() as logs:
        async with Service(config) as service:
            async with scu(service.dicom_port).connect([(CT, RLE)]) as session:
                stored = replace(sent_instance("1.2.1"), transfer_syntax=RLE)
                assert await session.store(stored, file, RLE) == ""
            await service.warm()
            await until(lambda: pacs.got and teaching.got)
    pacs.close()
    teaching.close()
    ((uid, as_it_came),) = pacs.got
    ((new_uid, changed),) = teaching.got
    assert (uid, as_it_came.PatientName) == ("1.2.1", "Müller^Käthe")
    assert as_it_came == pydicom.dcmread(file)
    assert changed.PatientName == "Teaching^File"
    assert new_uid == changed.SOPInstanceUID != "1.2.1"
    assert changed.file_meta.TransferSyntaxUID == RLE
    assert changed.PixelData == as_it_came.PixelData
    said = repr(logs)
    for value in ("Müller", "Käthe", "Teaching^File", "sixteen bytes"):
        assert value not in said
    assert "changed by the route: (0008,0018), (0010,0010)" in said
