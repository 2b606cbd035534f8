"""Deliveries to real receivers, to receivers that misbehave, and across a restart."""

from contextlib import ExitStack

import pytest
from pydicom import dcmread

from tests.deliver.test_charset import YAMADA, written
from tests.interop import wire
from tests.interop.main_job import wait_settled
from tests.peers import Orthanc, PynetdicomReceiver, Storescp, free_port, start_gateway, until
from tests.peers.senders import pynetdicom_store

pytestmark = pytest.mark.interop


def node(name: str, port: int, can_read: str = "") -> str:
    """One entry of ``nodes``."""
    dimse = f"dimse: {{ ae_title: {name.upper()}, host: 127.0.0.1, port: {port} }}"
    reads = f"\n    can_read: {{ syntaxes: [{can_read}] }}" if can_read else ""
    return f"  {name}:\n    {dimse}{reads}\n"


def route(*names: str, retry: str = "1s..2s", give_up_after: str = "1h") -> str:
    """One entry of ``routes``, which sends everything to these nodes."""
    return (
        f"  - name: to-{names[0]}\n    send_to: [{', '.join(names)}]\n"
        f"    delivery: {{ retry: {retry}, give_up_after: {give_up_after} }}\n"
    )


def routes(*names: str) -> str:
    """``routes`` with one route to these nodes."""
    return "routes:\n" + route(*names)


def receive(gateway, files):
    """Send files; all must be acknowledged."""
    assert wire.store(gateway.port, files) == [0] * len(files), gateway.log_text()


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


REAL = {"storescp": Storescp, "pynetdicom": PynetdicomReceiver, "orthanc": Orthanc}


@pytest.fixture(scope="module")
def real(tmp_path_factory, some):
    """The real receivers that can run here, by name, after a gateway has sent them 10 images."""
    folder = tmp_path_factory.mktemp("real")
    peers = {name: peer(folder / name) for name, peer in REAL.items() if not peer.missing()}
    nodes = "nodes:\n" + "".join(node(name, peer.port) for name, peer in peers.items())
    with ExitStack() as started:
        for peer in peers.values():
            started.enter_context(peer)
        gateway = started.enter_context(start_gateway(nodes + routes(*peers), folder / "gateway"))
        receive(gateway, some(10))
        delivered = "gateway_delivered_total"
        until(
            lambda: all(gateway.metric(delivered, destination=name) == 10 for name in peers),
            f"all delivered\n{gateway.log_text()}",
        )
        yield peers, gateway.queue()


@pytest.mark.parametrize("name", REAL)
def test_a_real_receiver_gets_everything(real, name):
    if reason := REAL[name].missing():
        pytest.skip(reason)
    peers, rows = real
    assert peers[name].arrived() == 10
    assert {row["state"] for row in rows if row["destination"] == name} == {"delivered"}


def test_an_object_goes_on_byte_for_byte_where_nothing_has_to_change(real, some):
    receiver = real[0]["pynetdicom"]
    sent = sorted(wire.data_set_of(file) for file in some(10))
    assert sorted(wire.data_set_of(file) for file in receiver.files()) == sent


@pytest.mark.skipif(bool(Storescp.missing()), reason=Storescp.missing())
def test_storescp_gets_text_in_the_character_set_that_it_reads(tmp_path):
    file = written(tmp_path / "in.dcm", "GB18030")
    reads = "    can_read: { charset: [ISO_IR 100, ISO_IR 192], syntaxes: [rle] }\n"
    with Storescp(tmp_path / "peer", "+xr") as receiver:
        config = "nodes:\n" + node("receiver", receiver.port) + reads + routes("receiver")
        with start_gateway(config, tmp_path / "gateway") as gateway:
            (reply,) = pynetdicom_store(gateway.port, [file])
            assert reply.status == 0
            receiver.wait_for(1)
            wait_settled(gateway)
    got = dcmread(receiver.files()[0])
    assert (got.SpecificCharacterSet, str(got.PatientName)) == ("ISO_IR 192", YAMADA)
    assert got.PixelData == dcmread(file).PixelData


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
    "a700": (("--status", "A700"), "owed", "A700"),
    "a900": (("--status", "A900"), "held", "A900"),
    "c000": (("--status", "C000"), "held", "C000"),
    "b000": (("--status", "B000"), "delivered", "B000"),
    "rejecting": (("--reject",), "owed", "reject"),
    "refusing": (("--refuse",), "held", "accepted nothing"),
}
"""What a receiver answers, or does to associations and their contexts -> state, and its reason."""

RECOVERING = ("--status", "A700", "--once", "2")

TOLD = {"owed": "delivery deferred", "held": "delivery held", "delivered": "instance delivered"}
"""State in the ledger -> the event in the log."""


@pytest.fixture(scope="module")
def beside(tmp_path_factory, some):
    """Receivers that misbehave by name, one that does not, and a gateway that got 3 images."""
    folder = tmp_path_factory.mktemp("beside")
    options = {name: facts[0] for name, facts in WRONG.items()}
    options |= {"recovering": RECOVERING, "absent": (), "well": ()}
    peers = {name: PynetdicomReceiver(folder / name, *each) for name, each in options.items()}
    nodes = "nodes:\n" + "".join(node(name, peer.port) for name, peer in peers.items())
    lasting = [name for name in peers if name != "absent"]
    brief = route("absent", retry="1s..1s", give_up_after="2s")
    with ExitStack() as started:
        for name in lasting:
            started.enter_context(peers[name])
        config = nodes + routes(*lasting) + brief
        gateway = started.enter_context(start_gateway(config, folder / "gateway"))
        receive(gateway, some(3))
        yield peers, gateway


def test_a_receiver_gets_its_own_beside_others_that_misbehave(beside):
    peers, _ = beside
    peers["well"].wait_for(3)


@pytest.fixture(scope="module")
def verdicts(beside):
    """The queue, once each receiver that misbehaves has been tried, and tried again."""
    _, gateway = beside
    for name, (_, state, _) in WRONG.items():
        wait_event(gateway, TOLD[state], destination=name)
        if state == "owed":
            wait_event(gateway, TOLD[state], destination=name, attempts=2)
    return gateway.queue()


@pytest.mark.parametrize("name", WRONG)
def test_the_verdict_of_a_receiver_stands_in_the_queue_with_the_reason(verdicts, name):
    _, state, reason = WRONG[name]
    mine = [row for row in verdicts if row["destination"] == name]
    first = min(mine, key=lambda row: row["delivery_id"])
    assert first["state"] == state
    assert reason.lower() in f"{first['reason']} {first['warning']}".lower()


def test_a_refusal_for_want_of_resources_is_tried_again_until_it_is_taken(beside):
    """0xA700 twice, then success: PS3.4 B.2.3."""
    peers, gateway = beside
    peers["recovering"].wait_for(3)
    refused = [
        line
        for line in gateway.events()
        if (line["event"], line.get("destination")) == ("delivery deferred", "recovering")
    ]
    assert [("A700" in str(line)) for line in refused] == [True, True]


def test_what_was_given_up_is_held_and_goes_out_when_a_person_retries(beside):
    peers, gateway = beside
    wait_event(gateway, "delivery held", destination="absent")
    held = [row for row in gateway.queue("held") if row["destination"] == "absent"]
    with peers["absent"] as receiver:
        gateway.act("retry", str(held[0]["delivery_id"]))
        receiver.wait_for(1, 20.0)


def test_a_destination_goes_on_while_others_are_down_or_hang(tmp_path, some):
    """All instances reach the live destination while the others answer nothing."""
    hanging = PynetdicomReceiver(tmp_path / "hanging", "--hang")
    well = PynetdicomReceiver(tmp_path / "well")
    nodes = node("down", free_port()) + node("hanging", hanging.port) + node("well", well.port)
    config = "nodes:\n" + nodes + routes("down", "hanging", "well")
    with hanging, well, start_gateway(config, tmp_path / "gateway") as gateway:
        receive(gateway, some(20))
        assert well.wait_for(20) < 10.0
        dead = [row for row in gateway.queue() if row["destination"] != "well"]
        assert {row["state"] for row in dead} == {"owed"}
        assert len(dead) == 40


def test_a_destination_that_comes_back_gets_everything(tmp_path, some):
    receiver = PynetdicomReceiver(tmp_path / "peer")
    config = "nodes:\n" + node("receiver", receiver.port) + routes("receiver")
    with start_gateway(config, tmp_path / "gateway") as gateway:
        receive(gateway, some(20))
        wait_event(gateway, "delivery deferred", destination="receiver")
        with receiver:
            receiver.wait_for(20)
