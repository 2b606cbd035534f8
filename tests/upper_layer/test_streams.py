"""What hypothesis can do to a byte stream: cut it anywhere, or make it up."""

import struct
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.upper_layer import pdu
from gateway.upper_layer.association import Association, RemoteProtocolError, Role, State
from gateway.upper_layer.events import Event, Fragment, Need
from tests.upper_layer.pair import ACCEPT, REQUEST, merged
from tests.upper_layer.table_9_10 import RECEIVED, WAYS

LONGEST = 4096

fragments = st.builds(
    Fragment,
    st.integers(0, 255),
    st.booleans(),
    st.booleans(),
    st.one_of(st.binary(max_size=40), st.integers(0, LONGEST - 6).map(bytes)),
)


def in_one_pdu(values: list[Fragment]) -> bytes:
    """Several presentation data values in one P-DATA-TF."""
    body = b"".join(pdu.encode(value)[6:] for value in values)
    return struct.pack(">BxL", 4, len(body)) + body


small = fragments.map(lambda event: event._replace(data=bytes(event.data)[:40]))
data_pdus = st.lists(st.lists(small, min_size=1, max_size=4), max_size=5)


def feed(machine: Association, data: bytes, cuts: list[int]) -> tuple[list[Event], bytes]:
    """Events and answers while ``data`` comes in pieces; the buffer is always the same."""
    buffer = machine.receive_buffer().obj
    events: list[Event] = []
    answers = b""
    bounds = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    for start, end in pairwise(bounds):
        left = data[start:end]
        while left:
            left = left[machine.receive_data(left) :]
            assert machine.receive_buffer().obj is buffer
            while True:
                try:
                    event = machine.next_event()
                except RemoteProtocolError as error:
                    answers += error.answer
                    continue
                if event is Need.DATA:
                    break
                if isinstance(event, Fragment):
                    event = event._replace(data=bytes(event.data))
                events.append(event)
            assert len(machine.receive_buffer()) > 0
    return events, answers


def acceptor(longest: int = LONGEST) -> Association:
    """An acceptor in Sta6."""
    machine = Association(Role.ACCEPTOR, max_pdu_length=longest)
    feed(machine, pdu.encode(REQUEST), [])
    machine.send(ACCEPT)
    return machine


cuts = st.lists(st.integers(0, 2**31), max_size=30)


@given(st.lists(fragments, max_size=6), data_pdus, cuts)
def test_wherever_a_stream_is_cut_the_same_is_told(alone, together, cuts):
    data = b"".join(map(pdu.encode, alone)) + b"".join(map(in_one_pdu, together))
    data += pdu.encode(RECEIVED[12])
    expected = [*alone, *(value for values in together for value in values), RECEIVED[12]]
    events, answers = feed(acceptor(), data, cuts)
    assert merged(events) == merged(expected)
    assert answers == b""


@given(cuts)
def test_wherever_a_request_is_cut_it_is_told_once_it_is_whole(cuts):
    assert feed(Association(Role.ACCEPTOR), pdu.encode(REQUEST), cuts) == ([REQUEST], b"")


@settings(max_examples=30)
@given(st.sampled_from(sorted(WAYS, key=str)), st.lists(st.sampled_from(sorted(RECEIVED))), cuts)
def test_wherever_a_wrong_dialogue_is_cut_the_outcome_is_the_same(way, numbers, cuts):
    data = b"".join(pdu.encode(RECEIVED[number]) for number in numbers)
    whole, cut = WAYS[way](), WAYS[way]()
    (events, answers), (cut_events, cut_answers) = feed(whole, data, []), feed(cut, data, cuts)
    assert merged(cut_events) == merged(events)
    assert (cut_answers, cut.state) == (answers, whole.state)


heads = st.builds(
    lambda kind, length, body: struct.pack(">BxL", kind, length) + body,
    st.integers(0, 9),
    st.one_of(st.integers(0, 200), st.integers(0, 2**32 - 1)),
    st.binary(max_size=120),
)
noise = st.lists(
    st.one_of(
        st.binary(max_size=60),
        heads,
        st.sampled_from([pdu.encode(event) for event in RECEIVED.values()]),
        fragments.map(pdu.encode),
    ),
    max_size=8,
).map(b"".join)


@settings(max_examples=300)
@given(st.sampled_from(sorted(WAYS, key=str)), noise, cuts)
def test_whatever_comes_only_a_protocol_error_is_raised(way, data, cuts):
    machine = WAYS[way]()
    _, answers = feed(machine, data, cuts)
    if answers:
        assert machine.state in (State.AWAITING_CLOSE, State.IDLE)
        assert answers[0] in (pdu.ABORT, pdu.ASSOCIATE_RJ)
    machine.receive_data(b"")
    feed(machine, b"", [])


@settings(max_examples=200)
@given(st.data())
def test_a_damaged_request_is_told_or_refused(data):
    whole = bytearray(pdu.encode(REQUEST))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(6, len(whole) - 1))
        whole[at] = data.draw(st.integers(0, 255))
    machine = Association(Role.ACCEPTOR)
    events, answers = feed(machine, bytes(whole), [])
    assert (len(events), bool(answers)) in ((1, False), (0, True))
