"""Two machines talk: associations as they happen, and PDUs that are none."""

import struct

import pytest

from gateway.upper_layer import pdu
from gateway.upper_layer.association import Association, RemoteProtocolError, Role, State
from gateway.upper_layer.events import (
    REJECT_CALLED,
    Abort,
    Closed,
    Fragment,
    Need,
    ReleaseReply,
    ReleaseRequest,
)
from tests.upper_layer.pair import ACCEPT, REQUEST, AssociationPair, broken, pieces, told
from tests.upper_layer.table_9_10 import P_DATA, WAYS

REQUESTOR, ACCEPTOR = Role.REQUESTOR, Role.ACCEPTOR
INVALID_VALUE = pdu.encode(Abort(2, 6))


def test_associate_transfer_and_release():
    pair = AssociationPair()
    assert pair.states == (State.IDLE, State.AWAITING_REQUEST)
    pair.send(REQUESTOR, REQUEST)
    assert pair.states == (State.AWAITING_ANSWER, State.DECIDING)
    pair.send(ACCEPTOR, ACCEPT)
    assert pair.states == (State.ESTABLISHED, State.ESTABLISHED)
    pair.send(REQUESTOR, *pieces(b"command", is_command=True), *pieces(b"some", b"", b"data"))
    pair.send(ACCEPTOR, *pieces(b"answer", is_command=True))
    pair.send(REQUESTOR, ReleaseRequest())
    assert pair.states == (State.RELEASING, State.RELEASE_ASKED)
    pair.send(ACCEPTOR, ReleaseReply())
    assert pair.states == (State.IDLE, State.AWAITING_CLOSE)
    assert pair.requestor.finished
    pair.close(REQUESTOR)


def test_the_acceptor_may_release_too():
    pair = AssociationPair.associated()
    pair.send(ACCEPTOR, ReleaseRequest())
    pair.send(REQUESTOR, ReleaseReply())
    assert pair.acceptor.finished
    pair.close(ACCEPTOR)


def test_an_answer_may_still_be_sent_when_the_peer_has_asked_for_release():
    pair = AssociationPair.associated()
    pair.send(REQUESTOR, ReleaseRequest())
    pair.send(ACCEPTOR, P_DATA, ReleaseReply())
    assert pair.requestor.finished


def test_a_release_collision_is_resolved_by_the_requestor_replying_first():
    pair = AssociationPair.associated()
    from_requestor = pair.on_the_way(REQUESTOR, ReleaseRequest())
    from_acceptor = pair.on_the_way(ACCEPTOR, ReleaseRequest())
    assert told(pair.requestor, from_acceptor) == [ReleaseRequest()]
    assert told(pair.acceptor, from_requestor) == [ReleaseRequest()]
    assert pair.states == (State.COLLISION_REQUESTOR, State.COLLISION_ACCEPTOR)
    pair.send(REQUESTOR, ReleaseReply())
    assert pair.states == (State.COLLISION_REQUESTOR_REPLIED, State.COLLISION_ACCEPTOR_RELEASED)
    pair.send(ACCEPTOR, ReleaseReply())
    assert pair.states == (State.IDLE, State.AWAITING_CLOSE)
    pair.close(REQUESTOR)


def test_a_rejected_requestor_closes_and_the_acceptor_waits_for_it():
    pair = AssociationPair()
    pair.send(REQUESTOR, REQUEST)
    pair.send(ACCEPTOR, REJECT_CALLED)
    assert pair.requestor.finished
    assert pair.acceptor.artim_runs
    pair.close(REQUESTOR)


@pytest.mark.parametrize("role", [REQUESTOR, ACCEPTOR])
def test_an_abort_ends_the_other_side_at_once(role):
    pair = AssociationPair.associated()
    pair.send(role, *pieces(b"half")[:1], Abort(0, 0))
    assert State.IDLE in pair.states
    assert State.AWAITING_CLOSE in pair.states
    pair.close(REQUESTOR if role is ACCEPTOR else ACCEPTOR)


def test_an_abort_is_heard_in_the_middle_of_a_data_set():
    pair = AssociationPair.associated()
    pair.send(REQUESTOR, Fragment(1, is_command=False, is_last=False, data=b"half"), Abort(2, 6))
    assert pair.acceptor.finished


def test_a_connection_lost_in_the_middle_of_a_pdu_is_told_once():
    pair = AssociationPair.associated()
    data = pair.on_the_way(REQUESTOR, P_DATA)
    assert told(pair.acceptor, data[:9]) == []
    assert told(pair.acceptor, b"") == [Closed()]
    assert told(pair.acceptor, b"") == []


def test_a_piece_is_told_before_its_pdu_is_complete():
    pair = AssociationPair.associated()
    data = pair.on_the_way(REQUESTOR, Fragment(1, False, True, b"0123456789"))
    assert told(pair.acceptor, data[:16]) == [Fragment(1, False, False, b"0123")]
    assert told(pair.acceptor, data[16:]) == [Fragment(1, False, True, b"456789")]


def test_the_data_of_a_fragment_is_a_view_into_the_one_buffer():
    machine = WAYS[6, ACCEPTOR]()
    machine.receive_data(pdu.encode(P_DATA))
    event = machine.next_event()
    assert isinstance(event, Fragment)
    assert isinstance(event.data, memoryview)
    assert event.data.obj is machine.receive_buffer().obj


def test_several_values_in_one_pdu_are_told_one_by_one():
    machine = WAYS[6, ACCEPTOR]()
    values = struct.pack(">LBB", 5, 1, 3) + b"com" + struct.pack(">LBB", 6, 1, 2) + b"data"
    assert told(machine, b"\x04\0" + struct.pack(">L", len(values)) + values) == [
        Fragment(1, True, True, b"com"),
        Fragment(1, False, True, b"data"),
    ]


@pytest.mark.parametrize("longest", [4096, 131_072])
def test_a_pdu_as_long_as_agreed_is_taken_and_one_byte_more_is_not(longest):
    for length in (longest, longest + 1):
        machine = Association(ACCEPTOR, max_pdu_length=longest)
        told(machine, pdu.encode(REQUEST))
        machine.send(ACCEPT)
        data = pdu.encode(Fragment(1, False, True, bytes(length - 6)))
        if length == longest:
            assert sum(len(event.data) for event in told(machine, data)) == length - 6
        else:
            head = data[:6]
            error = broken(machine, head)  # before any of its body is there
            assert error.answer == INVALID_VALUE
            assert f"{length} bytes" in str(error)
            assert told(machine, data[6:]) == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\0\0\0\x02\x01",
        struct.pack(">LBB", 1, 1, 2),
        struct.pack(">LBB", 0, 1, 2),
        struct.pack(">LBB", 7, 1, 2) + b"data",
        struct.pack(">LBB", 6, 1, 2) + b"data" + b"\0",
        struct.pack(">LBB", 6, 1, 2) + b"data" + b"\0\0\0\x03\x01",
        struct.pack(">LBB", 0xFFFFFFFF, 1, 2) + b"data",
    ],
    ids=[
        "empty",
        "no room for a value",
        "a value without its control byte",
        "a value without anything",
        "a value longer than its PDU",
        "a byte after the last value",
        "half a value after the last",
        "a value of four gigabytes",
    ],
)
def test_values_that_do_not_fill_their_pdu_are_invalid(body):
    machine = WAYS[6, ACCEPTOR]()
    data = b"\x04\0" + struct.pack(">L", len(body)) + body
    assert broken(machine, data).answer == INVALID_VALUE
    assert machine.state is State.AWAITING_CLOSE


@pytest.mark.parametrize(
    ("first", "words"),
    [
        (b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03", "TLS"),
        (b"GET / HTTP/1.1\r\n\r\n", "HTTP"),
        (b"PRI * HTTP/2.0\r\n", "HTTP"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "SSH"),
        (b"HTTP/1.1 400 Bad Request\r\n", "HTTP"),
        (b"\xff" * 20, "0xFF"),
    ],
)
def test_a_foreign_protocol_is_named(first, words):
    error = broken(Association(ACCEPTOR), first)
    assert words in str(error)
    assert error.answer == pdu.encode(Abort(0, 0))


@pytest.mark.parametrize("kind", [1, 2, 3, 5, 6, 7])
def test_a_control_pdu_that_claims_too_much_is_refused_before_its_body(kind):
    limit = pdu.MAX_ASSOCIATE_LENGTH if kind in (1, 2) else 4
    machine = WAYS[6, ACCEPTOR]()
    head = struct.pack(">BxL", kind, limit + 1)
    assert broken(machine, head).answer == INVALID_VALUE


@pytest.mark.parametrize("length", [0, 1, 3])
@pytest.mark.parametrize("kind", [3, 7])
def test_a_control_pdu_that_is_too_short_is_invalid(kind, length):
    machine = WAYS[6, ACCEPTOR]()
    assert (
        broken(machine, struct.pack(">BxL", kind, length) + bytes(length)).answer == INVALID_VALUE
    )


def test_after_an_invalid_pdu_all_is_dropped_until_the_peer_closes():
    machine = WAYS[6, ACCEPTOR]()
    broken(machine, b"\x42\0\0\0\0\0")
    assert told(machine, b"\x42\0\0\0\0\0" + pdu.encode(REQUEST) + bytes(300_000)) == []
    assert told(machine, b"") == [Closed()]


def test_after_an_unexpected_pdu_the_peers_abort_is_heard():
    """AA-8 leaves the byte stream in step: Sta13 goes on reading PDUs, and AA-2 closes at once."""
    machine = WAYS[6, ACCEPTOR]()
    assert broken(machine, pdu.encode(ReleaseReply())).answer == pdu.encode(Abort(2, 2))
    assert told(machine, pdu.encode(P_DATA) + pdu.encode(Abort())) == [Abort()]
    assert machine.finished


def test_unexpected_p_data_is_neither_told_nor_kept():
    machine = Association(ACCEPTOR, max_pdu_length=4096)
    huge = struct.pack(">BxL", 4, 0xFFFFFFFF)
    assert broken(machine, huge + bytes(1000)).answer == pdu.encode(Abort(0, 0))
    assert told(machine, bytes(200_000)) == []
    assert machine.state is State.AWAITING_CLOSE


def test_a_flood_of_small_pdus_in_sta13_is_ignored_without_end():
    machine = WAYS[13, ACCEPTOR]()
    assert told(machine, struct.pack(">BxL", 4, 0) * 60_000) == []
    assert told(machine, pdu.encode(P_DATA) * 20_000 + pdu.encode(Abort())) == [Abort()]


def test_an_abort_in_the_middle_of_a_long_pdu_that_is_ignored_is_heard_after_it():
    machine = WAYS[6, ACCEPTOR]()
    data = pdu.encode(Fragment(1, False, True, bytes(100_000)))
    told(machine, data[:5000])
    machine.send(Abort())
    assert told(machine, data[5000:] + pdu.encode(Abort())) == [Abort()]


def test_garbage_that_fills_the_buffer_leaves_room_for_the_next_read():
    machine = Association(ACCEPTOR)
    space = machine.receive_buffer()
    space[:] = b"\xff" * len(space)
    machine.received(len(space))
    with pytest.raises(RemoteProtocolError):
        machine.next_event()
    assert machine.next_event() is Need.DATA
    assert len(machine.receive_buffer()) == len(space)


def test_an_association_request_of_the_greatest_length_fits_beside_a_small_maximum():
    machine = Association(ACCEPTOR, max_pdu_length=4096)
    filler = pdu.encode(REQUEST)[6:]
    room = pdu.MAX_ASSOCIATE_LENGTH - len(filler)
    items = b""
    while room:
        size = min(room, 60_000)
        size -= 4 if 0 < room - size < 4 else 0
        items += struct.pack(">BxH", 0x99, size - 4) + bytes(size - 4)
        room -= size
    assert told(machine, struct.pack(">BxL", 1, len(filler + items)) + filler + items) == [REQUEST]
