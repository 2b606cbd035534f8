"""Every event in every state, generated from Table 9-10."""

import pytest
from pynetdicom import fsm

from gateway.upper_layer import pdu
from gateway.upper_layer.association import Association, LocalProtocolError, Role, State
from gateway.upper_layer.events import Abort, AssociateRequest, Closed, Need
from tests.upper_layer.pair import REQUEST, broken, drain, told
from tests.upper_layer.table_9_10 import INVALID_PDU, NEXT, RECEIVED, SENT, TABLE, WAYS, after

SITUATIONS = [pytest.param(*key, id=f"Sta{key[0]}-{key[1].value}") for key in WAYS]
EVERY_RECEIVED = [pytest.param(number, id=f"Evt{number}") for number in RECEIVED]
EVERY_SENT = [pytest.param(number, id=f"Evt{number}") for number in SENT]

USER_ABORT = pdu.encode(Abort(0, 0))
UNEXPECTED_PDU = pdu.encode(Abort(2, 2))


def test_another_reader_of_the_standard_has_read_the_same_table():
    theirs = {
        (int(event[3:]), int(state[3:])): action
        for (event, state), action in fsm.TRANSITION_TABLE.items()
    }
    assert theirs == TABLE
    # AE-6 and AR-8 have two outcomes; pynetdicom names both.
    actions = {name: row[2] for name, row in fsm.ACTIONS.items()}
    assert {name: actions[name] for name in NEXT if name != "AE-6"} == {
        name: state for name, state in NEXT.items() if name != "AE-6"
    }


@pytest.mark.parametrize(("state", "role"), SITUATIONS)
def test_the_way_into_a_state_leads_there(state, role):
    machine = WAYS[state, role]()
    assert (machine.state.value, machine.role) == (f"Sta{state}", role)


@pytest.mark.parametrize("number", EVERY_RECEIVED)
@pytest.mark.parametrize(("state", "role"), SITUATIONS)
def test_a_received_pdu_does_what_the_table_says(state, role, number):
    machine = WAYS[state, role]()
    action = TABLE[number, state]
    data = pdu.encode(RECEIVED[number])
    if action in ("AA-1", "AA-7", "AA-8"):
        error = broken(machine, data)
        assert error.answer == (USER_ABORT if action == "AA-1" else UNEXPECTED_PDU)
    elif action == "AA-6":
        assert told(machine, data) == []
    else:
        assert told(machine, data) == [RECEIVED[number]]
    assert machine.state.value == after(action, role)
    assert drain(machine) == []


@pytest.mark.parametrize(("state", "role"), SITUATIONS)
def test_an_unrecognized_pdu_does_what_the_table_says(state, role):
    machine = WAYS[state, role]()
    action = TABLE[19, state]
    error = broken(machine, INVALID_PDU)
    assert error.answer == (USER_ABORT if action == "AA-1" else pdu.encode(Abort(2, 1)))
    assert machine.state.value == after(action, role) == "Sta13"


@pytest.mark.parametrize(("state", "role"), SITUATIONS)
def test_a_closed_connection_ends_everything(state, role):
    machine = WAYS[state, role]()
    assert told(machine, b"") == [Closed()]
    assert machine.state.value == after(TABLE[17, state], role) == "Sta1"
    assert machine.finished


@pytest.mark.parametrize("number", EVERY_SENT)
@pytest.mark.parametrize(("state", "role"), SITUATIONS)
def test_what_we_send_does_what_the_table_says(state, role, number):
    machine = WAYS[state, role]()
    action = TABLE.get((number, state))
    if action is None:
        with pytest.raises(LocalProtocolError, match=f"Sta{state}"):
            machine.send(SENT[number])
        assert machine.state.value == f"Sta{state}"
    else:
        assert machine.send(SENT[number]) == pdu.encode(SENT[number])
        assert machine.state.value == after(action, role)


@pytest.mark.parametrize(("state", "role"), SITUATIONS)
def test_a_request_is_sent_only_on_a_new_connection(state, role):
    machine = WAYS[state, role]()
    with pytest.raises(LocalProtocolError):
        machine.send(REQUEST)


def test_a_request_on_a_new_connection_leads_to_sta5_by_way_of_sta4():
    machine = Association(Role.REQUESTOR)
    assert machine.send(REQUEST) == pdu.encode(REQUEST)
    assert TABLE[1, 1] == "AE-1"
    assert machine.state.value == after(TABLE[2, 4], machine.role)


@pytest.mark.parametrize(("state", "role"), SITUATIONS)
def test_artim_runs_exactly_where_its_expiry_is_in_the_table(state, role):
    assert WAYS[state, role]().artim_runs == ((18, state) in TABLE)


@pytest.mark.parametrize(("state", "role"), SITUATIONS)
def test_p_data_may_be_sent_exactly_where_the_table_has_it(state, role):
    machine = WAYS[state, role]()
    if (9, state) in TABLE:
        machine.check_sending_data()
    else:
        with pytest.raises(LocalProtocolError):
            machine.check_sending_data()


@pytest.mark.parametrize("number", EVERY_RECEIVED)
@pytest.mark.parametrize("ending", ["abort", "reject", "release"])
def test_after_the_end_nothing_is_told_nor_sent(ending, number):
    """Sta1 has no row for a PDU: what stands behind the last one is no longer ours to judge."""
    way, last = {
        "abort": ((6, Role.ACCEPTOR), 16),
        "reject": ((5, Role.REQUESTOR), 4),
        "release": ((7, Role.REQUESTOR), 13),
    }[ending]
    machine = WAYS[way]()
    data = pdu.encode(RECEIVED[last]) + pdu.encode(RECEIVED[number]) + INVALID_PDU
    assert told(machine, data) == [RECEIVED[last]]
    assert machine.finished
    assert machine.next_event() is Need.DATA
    for event in (REQUEST, *SENT.values()):
        with pytest.raises(LocalProtocolError):
            machine.send(event)


@pytest.mark.parametrize("number", EVERY_RECEIVED)
def test_a_peer_that_speaks_before_our_request_is_aborted(number):
    machine = Association(Role.REQUESTOR)
    if number == 16:
        assert told(machine, pdu.encode(Abort())) == [Abort()]
        return
    assert broken(machine, pdu.encode(RECEIVED[number])).answer == UNEXPECTED_PDU
    assert machine.state is State.AWAITING_CLOSE
    with pytest.raises(LocalProtocolError):
        machine.send(REQUEST)
    assert told(machine, b"") == [Closed()]
    assert machine.finished


def test_protocol_version_needs_bit_0_only():
    version_3 = pdu.encode(REQUEST).replace(b"\0\x01\0\0GATEWAY", b"\0\x03\0\0GATEWAY")
    (event,) = told(Association(Role.ACCEPTOR), version_3)
    assert isinstance(event, AssociateRequest)
    assert event.protocol_version == 3


def test_a_request_without_protocol_version_1_is_rejected_by_the_provider():
    """AE-6, the other outcome: A-ASSOCIATE-RJ, source 2, reason 2, and Sta13."""
    machine = Association(Role.ACCEPTOR)
    version_2 = pdu.encode(REQUEST).replace(b"\0\x01\0\0GATEWAY", b"\0\x02\0\0GATEWAY")
    assert broken(machine, version_2).answer == b"\x03\0\0\0\0\x04\0\x01\x02\x02"
    assert machine.state is State.AWAITING_CLOSE
    assert machine.artim_runs
