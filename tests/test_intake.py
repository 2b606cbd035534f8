"""The one door: what is read of an instance, to whom it is owed, and what is said of it."""

import asyncio
import errno
import threading
from datetime import UTC, datetime

import pytest
from structlog.testing import capture_logs

from gateway import intake as intake_module
from gateway.config import load_text
from gateway.failures import PermanentFailure, TemporaryFailure
from gateway.intake import Announced, Intake
from gateway.model import Arrival, Origin, is_uid
from gateway.route.rules import compile_rules
from gateway.spool import Spool

CT = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT_LE = "1.2.840.10008.1.2.1"
ROUTES = """
version: 1
nodes:
  pacs: { dimse: { ae_title: PACS, host: 127.0.0.1, port: 104 } }
routes:
  - { name: ct-to-pacs, match: { Modality: CT }, send_to: [pacs] }
"""


def element(group: int, number: int, vr: str, value: bytes) -> bytes:
    value += b"\0" * (len(value) % 2)
    head = group.to_bytes(2, "little") + number.to_bytes(2, "little") + vr.encode()
    if vr in ("OB", "UN", "SQ"):
        return head + bytes(2) + len(value).to_bytes(4, "little") + value
    return head + len(value).to_bytes(2, "little") + value


def data_set(modality: bytes = b"CT", private: int = 0) -> bytes:
    """Names, modality, ``private`` bytes of a vendor's elements, and UIDs of study and series."""
    return b"".join(
        (
            element(0x0008, 0x0016, "UI", CT.encode()),
            element(0x0008, 0x0018, "UI", b"1.2.3"),
            element(0x0008, 0x0060, "CS", modality),
            *(element(0x0009, 0x1001, "UN", bytes(1000)) for _ in range(private // 1000)),
            element(0x0020, 0x000D, "UI", b"1.2.3.4"),
            element(0x0020, 0x000E, "UI", b"1.2.3.5"),
        )
    )


ANNOUNCED = Announced(
    Origin(Arrival.C_STORE, "CT1", "GATEWAY", "10.0.0.7"), CT, "1.2.3", EXPLICIT_LE
)


@pytest.fixture
async def spool(tmp_path):
    opened = Spool.open(tmp_path / "spool", clock=lambda: datetime.now(UTC), refuse_below_free=1)
    yield opened
    await opened.aclose()


def _intake(spool: Spool, routes: str = ROUTES) -> Intake:
    rules = compile_rules(load_text(routes, "test"))
    return Intake(spool, rules, kept=lambda *_: None, clock=lambda: datetime.now(UTC))


async def _admit(door: Intake, data: bytes):
    part = door.begin(ANNOUNCED)
    part.write(data)
    with capture_logs() as lines:
        instance = await door.admit(part, ANNOUNCED)
        await asyncio.sleep(0)
    return instance, lines


async def test_what_is_kept_is_owed_to_those_whose_route_takes_it(spool):
    instance, lines = await _admit(_intake(spool), data_set())
    assert (instance.study_uid, instance.series_uid) == ("1.2.3.4", "1.2.3.5")
    assert [line["owed_to"] for line in lines] == ["pacs"]


async def test_an_instance_that_no_route_takes_is_kept_and_somebody_is_told(spool):
    instance, lines = await _admit(_intake(spool), data_set(b"MR"))
    assert instance.file.is_file()
    (warning,) = [line for line in lines if line["log_level"] == "warning"]
    assert warning["event"] == "no route takes the instance"
    assert warning["calling"] == "CT1"


async def test_where_there_are_no_routes_nobody_is_told_of_each_instance(spool):
    _, lines = await _admit(_intake(spool, "version: 1\n"), data_set())
    assert [line["log_level"] for line in lines] == ["info"]


async def test_a_header_that_does_not_end_in_the_first_bytes_is_read_off_the_event_loop(
    spool, monkeypatch
):
    threads = []
    read = intake_module.read_header

    def spy(*arguments):
        threads.append(threading.current_thread())
        return read(*arguments)

    monkeypatch.setattr(intake_module, "read_header", spy)
    instance, _ = await _admit(_intake(spool), data_set(private=100_000))
    assert instance.study_uid == "1.2.3.4"
    assert threads
    assert threading.main_thread() not in threads


PIXELS = b"\xe0\x7f\x10\0OB\0\0"
FRAGMENTS = PIXELS + bytes.fromhex("ffffffff feff00e000000000 feffdde000000000")


@pytest.mark.parametrize("private", [0, 100_000])
async def test_fragments_under_a_native_transfer_syntax_are_marked_in_the_ledger(spool, private):
    instance, lines = await _admit(_intake(spool), data_set(private=private) + FRAGMENTS)
    assert instance.mislabelled
    assert [line.get("mislabelled") for line in lines] == [True]
    assert [one.mislabelled for one in await spool.instances([instance.spool_id])] == [True]
    (delivery,) = await spool.due("pacs", limit=1, now=datetime.now(UTC))
    assert delivery.instance.mislabelled


async def test_pixels_as_their_transfer_syntax_says_are_not_marked(spool):
    right = data_set() + PIXELS + (4).to_bytes(4, "little") + b"abcd"
    instance, lines = await _admit(_intake(spool), right)
    assert not instance.mislabelled
    assert "mislabelled" not in lines[0]


async def test_the_file_is_read_off_the_event_loop_where_its_first_bytes_do_not_tell(
    spool, monkeypatch
):
    threads = []
    look = intake_module.mislabelled

    def spy(*arguments):
        threads.append(threading.current_thread())
        return look(*arguments)

    monkeypatch.setattr(intake_module, "mislabelled", spy)
    await _admit(_intake(spool), data_set() + FRAGMENTS)
    assert threads
    assert threading.main_thread() not in threads


async def test_what_cannot_be_read_back_may_be_sent_again(spool, tmp_path, monkeypatch):
    def failing(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(intake_module, "read_header", failing)
    with pytest.raises(TemporaryFailure, match="Input/output error"):
        await _admit(_intake(spool), data_set(private=100_000))
    assert not list((tmp_path / "spool").rglob("*.part"))


async def test_a_data_set_without_names_is_refused_and_its_part_is_gone(spool, tmp_path):
    door = _intake(spool)
    with pytest.raises(PermanentFailure, match="names neither SOP class nor instance"):
        await _admit(door, element(0x0010, 0x0010, "PN", b"X"))
    assert not list((tmp_path / "spool").rglob("*.part"))


@pytest.mark.parametrize("uid", ["../../etc/passwd", "1.2.3\n", "", "1." * 40, "1.2.3 ", "a.b"])
def test_what_is_no_uid_never_becomes_one(uid):
    assert not is_uid(uid)
