"""Deliveries to real receivers, to receivers that misbehave, and across a restart."""

import pytest
from pydicom import dcmread

from tests.deliver.test_charset import YAMADA, written
from tests.interop.main_job import wait_settled
from tests.peers import Orthanc, PynetdicomReceiver, Storescp, free_port, start_gateway, until
from tests.peers.senders import pynetdicom_store

pytestmark = pytest.mark.interop


def node(name: str, port: int, can_read: str = "") -> str:
    """One entry of ``nodes``."""
    dimse = f"dimse: {{ ae_title: {name.upper()}, host: 127.0.0.1, port: {port} }}"
    reads = f"\n    can_read: {{ syntaxes: [{can_read}] }}" if can_read else ""
    return f"  {name}:\n    {dimse}{reads}\n"


def routes(*names: str, retry: str = "1s..2s", give_up_after: str = "1h") -> str:
    """One route that sends everything to these nodes."""
    return (
        "routes:\n  - name: everything\n"
        f"    send_to: [{', '.join(names)}]\n"
        f"    delivery: {{ retry: {retry}, give_up_after: {give_up_after} }}\n"
    )


def receive(gateway, files):
    """Send files; all must be acknowledged."""
    replies = pynetdicom_store(gateway.port, files)
    assert [reply.status for reply in replies] == [0] * len(files), gateway.log_text()


def rows(gateway, destination):
    """The ledger's rows of one destination, as ``queue list`` tells them."""
    return [row for row in gateway.queue() if row["destination"] == destination]


def wait_event(gateway, event, **facts):
    """The first line of the gateway's log that tells this event with these facts."""
    found = []

    def told():
        found[:] = [
            line
            for line in gateway.events()
            if line["event"] == event and facts.items() <= line.items()
        ]
        return found

    until(told, f"{event} {facts}\n{gateway.log_text()}", 30.0, poll=0.05)
    return found[0]


@pytest.mark.parametrize("peer", [Storescp, PynetdicomReceiver, Orthanc])
def test_a_real_receiver_gets_everything(tmp_path, some, peer):
    if reason := peer.missing():
        pytest.skip(reason)
    with peer(tmp_path / "peer") as receiver:
        config = "nodes:\n" + node("receiver", receiver.port) + routes("receiver")
        with start_gateway(config, tmp_path / "gateway") as gateway:
            receive(gateway, some(10))
            receiver.wait_for(10)
            wait_settled(gateway)
            assert {row["state"] for row in rows(gateway, "receiver")} == {"delivered"}


def test_an_object_goes_on_byte_for_byte_where_nothing_has_to_change(tmp_path, some):
    with PynetdicomReceiver(tmp_path / "peer") as receiver:
        config = "nodes:\n" + node("receiver", receiver.port) + routes("receiver")
        with start_gateway(config, tmp_path / "gateway") as gateway:
            receive(gateway, some(1))
            receiver.wait_for(1)
        assert _data_set(receiver.files()[0]) == _data_set(some(1)[0])


@pytest.mark.skipif(bool(Storescp.missing()), reason=Storescp.missing())
def test_storescp_gets_text_in_the_character_set_that_it_reads(tmp_path):
    file = written(tmp_path / "in.dcm", "GB18030")
    reads = "    can_read: { charset: [ISO_IR 100, ISO_IR 192], syntaxes: [rle] }\n"
    with Storescp(tmp_path / "peer", "+xr") as receiver:
        config = "nodes:\n" + node("receiver", receiver.port) + reads + routes("receiver")
        with start_gateway(config, tmp_path / "gateway") as gateway:
            receive(gateway, [file])
            receiver.wait_for(1)
            wait_settled(gateway)
    got = dcmread(receiver.files()[0])
    assert (got.SpecificCharacterSet, str(got.PatientName)) == ("ISO_IR 192", YAMADA)
    assert got.PixelData == dcmread(file).PixelData


def _data_set(file):
    """The bytes after the File Meta Information (PS3.10 7.1)."""
    length = dcmread(file, stop_before_pixels=True).file_meta.FileMetaInformationGroupLength
    return file.read_bytes()[128 + 4 + 12 + length :]


def test_a_restart_goes_on_where_it_stopped(tmp_path, some):
    receiver = PynetdicomReceiver(tmp_path / "peer")
    config = "nodes:\n" + node("receiver", receiver.port) + routes("receiver")
    gateway = start_gateway(config, tmp_path / "gateway")
    try:
        receive(gateway, some(5))
        assert gateway.stop() == 0, gateway.log_text()
        with receiver:
            gateway.start()
            receiver.wait_for(5)
    finally:
        gateway.kill()


WRONG = {
    "answers 0xA700": (("--status", "A700"), "owed", "A700"),
    "answers 0xA900": (("--status", "A900"), "held", "A900"),
    "answers 0xC000": (("--status", "C000"), "held", "C000"),
    "answers 0xB000": (("--status", "B000"), "delivered", "B000"),
    "rejects associations": (("--reject",), "owed", "reject"),
    "refuses the contexts": (("--refuse",), "held", "accepted nothing"),
}

TOLD = {"owed": "delivery deferred", "held": "delivery held", "delivered": "instance delivered"}
"""State in the ledger -> the event in the log."""


@pytest.mark.parametrize("case", sorted(WRONG))
def test_a_receiver_that(tmp_path, some, case):
    """Its verdict stands in the queue with the reason; the receiver beside it gets its own."""
    options, state, reason = WRONG[case]
    wrong = PynetdicomReceiver(tmp_path / "wrong", *options)
    well = PynetdicomReceiver(tmp_path / "well")
    nodes = "nodes:\n" + node("wrong", wrong.port) + node("well", well.port)
    with wrong, well, start_gateway(nodes + routes("wrong", "well"), tmp_path / "gw") as gateway:
        receive(gateway, some(3))
        well.wait_for(3)
        wait_event(gateway, TOLD[state], destination="wrong")
        if state == "owed":
            wait_event(gateway, TOLD[state], destination="wrong", attempts=2)
        first = min(rows(gateway, "wrong"), key=lambda row: row["delivery_id"])
        assert first["state"] == state
        assert reason.lower() in f"{first['reason']} {first['warning']}".lower()


def test_a_refusal_for_want_of_resources_is_tried_again_until_it_is_taken(tmp_path, some):
    """0xA700 twice, then success: PS3.4 B.2.3."""
    with PynetdicomReceiver(tmp_path / "peer", "--status", "A700", "--once", "2") as receiver:
        config = "nodes:\n" + node("receiver", receiver.port) + routes("receiver")
        with start_gateway(config, tmp_path / "gateway") as gateway:
            receive(gateway, some(1))
            receiver.wait_for(1)
            wait_event(gateway, "instance delivered", destination="receiver")
            assert (
                len([line for line in gateway.events() if line["event"] == "delivery deferred"])
                == 2
            )


def test_what_was_given_up_is_held_and_goes_out_when_a_person_retries(tmp_path, some):
    receiver = PynetdicomReceiver(tmp_path / "peer")
    config = "nodes:\n" + node("receiver", receiver.port)
    config += routes("receiver", retry="1s..1s", give_up_after="2s")
    with start_gateway(config, tmp_path / "gateway") as gateway:
        receive(gateway, some(1))
        wait_event(gateway, "delivery held", destination="receiver")
        (row,) = rows(gateway, "receiver")
        assert row["state"] == "held"
        with receiver:
            gateway.act("retry", str(row["delivery_id"]))
            receiver.wait_for(1, 20.0)


@pytest.mark.parametrize("kind", ["down", "hangs"])
def test_another_destination_goes_on_while_one(tmp_path, some, kind):
    """All instances reach the live destination while the other answers nothing."""
    dead = PynetdicomReceiver(tmp_path / "dead", "--hang", port=free_port())
    well = PynetdicomReceiver(tmp_path / "well")
    nodes = "nodes:\n" + node("dead", dead.port) + node("well", well.port)
    if kind == "hangs":
        dead.start()
    try:
        with well, start_gateway(nodes + routes("dead", "well"), tmp_path / "gw") as gateway:
            receive(gateway, some(20))
            assert well.wait_for(20) < 10.0
            states = {row["state"] for row in rows(gateway, "dead")}
            assert states == {"owed"}
    finally:
        dead.stop()


def test_a_destination_that_comes_back_gets_everything(tmp_path, some):
    receiver = PynetdicomReceiver(tmp_path / "peer")
    config = "nodes:\n" + node("receiver", receiver.port) + routes("receiver")
    with start_gateway(config, tmp_path / "gateway") as gateway:
        receive(gateway, some(20))
        wait_event(gateway, "delivery deferred", destination="receiver")
        with receiver:
            receiver.wait_for(20)
