"""Bad bytes on the port, bad objects in good messages: refused or held, and the others served."""

import ssl
import struct

import pytest
from pydicom import dcmread
from pydicom.encaps import encapsulate, get_frame

from tests.bench import objects
from tests.interop import wire
from tests.interop.wire import Hand
from tests.peers import Storescp, start_gateway, until
from tests.peers.senders import pynetdicom_store, storescu

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(bool(Storescp.missing()), reason=Storescp.missing()),
]

ROUTES = """\
nodes:
  legacy:
    dimse: {{ ae_title: LEGACY, host: 127.0.0.1, port: {port} }}
    can_read: {{ syntaxes: [explicit-le] }}
routes:
  - name: everything
    send_to: [legacy]
"""


@pytest.fixture(scope="module")
def legacy(tmp_path_factory):
    """A receiver that takes uncompressed objects only."""
    with Storescp(tmp_path_factory.mktemp("legacy"), "+xe", "+B") as receiver:
        yield receiver


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, legacy):
    """One gateway for all that is bad: it must live to the end."""
    running = start_gateway(ROUTES.format(port=legacy.port), tmp_path_factory.mktemp("gateway"))
    yield running
    assert running.stop() == 0, running.log_text()


@pytest.fixture(autouse=True)
def still_serving(gateway, legacy, some):
    """After every test a good object is received and delivered."""
    yield
    for file in legacy.files():
        file.unlink()
    assert storescu(gateway.port, some(1)).ok, gateway.log_text()
    legacy.wait_for(1)


@pytest.mark.parametrize(
    "garbage",
    [
        pytest.param(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n", id="http"),
        pytest.param(b"\0" * 64, id="zeros"),
        pytest.param(bytes(range(256)) * 8, id="all-bytes"),
        pytest.param(b"\x01\0\xff\xff\xff\xff", id="4-GiB-associate-request"),
        pytest.param(wire.pdu(4, b"\0\0\0\2\1\3"), id="data-before-association"),
        pytest.param(wire.pdu(1, b"\0" * 68), id="empty-associate-request"),
    ],
)
def test_garbage_is_answered_by_an_abort_or_a_closed_connection(gateway, garbage):
    with Hand(gateway.port) as hand:
        hand.send(garbage)
        kind, _ = hand.answer()
        assert kind in (0, wire.ABORT, wire.ASSOCIATE_RJ)


def test_a_tls_hello_is_named_as_such_in_the_log(gateway):
    with Hand(gateway.port) as hand:
        hand.socket.settimeout(5)
        context = ssl.create_default_context()
        with pytest.raises((ssl.SSLError, OSError)):
            context.wrap_socket(hand.socket, server_hostname="localhost")
    gateway.wait_logged("TLS")


def test_a_pdu_longer_than_agreed_is_refused_before_its_body(gateway):
    """PS3.8 9.3.1: the abort comes although not one byte of the body was sent."""
    with Hand(gateway.port) as hand:
        hand.associate()
        hand.send(struct.pack(">BBI", wire.P_DATA, 0, 1 << 30))
        kind, body = hand.answer()
        assert kind == wire.ABORT
        assert body[2] == 2, "the source of the abort is the service provider"


def test_an_object_cut_in_the_middle_is_not_kept(gateway):
    kept = gateway.metric("gateway_received_total")
    with Hand(gateway.port) as hand:
        hand.associate()
        hand.send(wire.fragment(wire.store_request("1.2.3.4.5"), command=True))
        hand.send(wire.fragment(wire.data_set("1.2.3.4.5"), last=False))
    until(lambda: not list(gateway.spool.rglob("*.part")), "no half object in the spool")
    assert gateway.metric("gateway_received_total") == kept


@pytest.mark.parametrize("uid", ["../../../../tmp/evil", "1.2/../../3", "..", "1.2\\..\\3"])
def test_a_uid_never_becomes_a_path(gateway, tmp_path, uid):
    """Refused, or kept under a name of the gateway's own."""
    before = set(gateway.spool.parent.iterdir())
    with Hand(gateway.port) as hand:
        hand.associate()
        hand.send(wire.fragment(wire.store_request(uid), command=True))
        hand.send(wire.fragment(wire.data_set(uid)))
        status = hand.status()
    assert status == 0 or status >> 12 in (0xA, 0xC) or status in (0x0106, 0x0115, 0x0117)
    assert set(gateway.spool.parent.iterdir()) == before
    names = [path.name for path in gateway.spool.rglob("*")]
    assert not [name for name in names if "evil" in name or ".." in name]


def test_a_data_set_that_is_none_is_refused(gateway):
    """0xC000: cannot understand (PS3.4 B.2.3), or 0xA900: does not match SOP class."""
    with Hand(gateway.port) as hand:
        hand.associate()
        hand.send(wire.fragment(wire.store_request("1.2.3.4.6"), command=True))
        hand.send(wire.fragment(b"\xff" * 4000))
        assert hand.status() >> 12 in (0xA, 0xC)


def cut_codestream(image):
    """Leave a third of the frame, in one well-formed fragment; the SOP Instance UID."""
    dataset = dcmread(image)
    frame = get_frame(dataset.PixelData, 0, number_of_frames=1)
    dataset.PixelData = encapsulate([frame[: len(frame) // 3]])
    dataset.save_as(image)
    return dataset.SOPInstanceUID


UNDECODABLE = {objects.JPEG_LOSSLESS: 701, objects.JPEG_LS: 801, objects.J2K: 901}


@pytest.mark.parametrize("syntax", sorted(UNDECODABLE))
def test_an_undecodable_bitstream_is_held_with_the_reason(gateway, legacy, tmp_path, syntax):
    """Acknowledged, because it is kept; held, because nobody can decode it; never sent on."""
    image = objects.copies(objects.template(syntax), tmp_path, 1, first=UNDECODABLE[syntax])[0]
    uid = cut_codestream(image)
    before = gateway.metric("gateway_held_total")
    assert [reply.status for reply in pynetdicom_store(gateway.port, [image])] == [0]

    until(lambda: gateway.metric("gateway_held_total") > before, "held", 30.0, poll=0.05)
    (row,) = [row for row in gateway.queue("held") if row["sop_instance_uid"] == uid]
    assert row["reason"]
    assert not [file for file in legacy.files() if file.name.endswith(uid)]
