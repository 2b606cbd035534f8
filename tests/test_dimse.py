"""Command sets as bytes, with pynetdicom as the other reader and writer; what statuses mean."""

import struct
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.uid import UID
from pynetdicom import status as known_statuses
from pynetdicom.dimse_messages import (
    C_CANCEL_RQ,
    C_ECHO_RQ,
    C_ECHO_RSP,
    C_STORE_RQ,
    C_STORE_RSP,
    DIMSEMessage,
)
from pynetdicom.dimse_primitives import C_CANCEL, C_ECHO, C_STORE
from pynetdicom.dsutils import decode, encode

from gateway import dimse
from gateway.dimse import Command, MalformedCommand, decode_command, encode_command
from gateway.failures import AlreadyThere, PermanentFailure, TemporaryFailure

CT = "1.2.840.10008.5.1.4.1.1.2"
VERIFICATION = "1.2.840.10008.1.1"
ids = st.integers(0, 0xFFFF)
uids = st.sampled_from(["1.2.3", "1.2.34", "2.25." + "9" * 39, "1." + "3" * 62])


def written_by_pynetdicom(message: DIMSEMessage, primitive: object) -> bytes:
    """The command set of a message."""
    message.primitive_to_message(primitive)
    encoded = encode(message.command_set, True, True)
    assert encoded is not None
    return encoded


def read_by_pynetdicom(command: Command) -> DIMSEMessage:
    """The message that pynetdicom makes of our command set."""
    data = encode_command(command)
    message = DIMSEMessage()
    message.command_set = decode(BytesIO(data), True, True)
    assert message.command_set.CommandGroupLength == len(data) - 12
    return message


def elements(*pairs: tuple[int, bytes]) -> bytes:
    """A command set of these elements, without a group length."""
    return b"".join(struct.pack("<HHL", 0, number, len(value)) + value for number, value in pairs)


def us(value: int) -> bytes:
    return struct.pack("<H", value)


@given(ids, uids, uids)
def test_pynetdicom_reads_our_store_request(message_id, sop_class, sop_instance):
    ours = Command(dimse.C_STORE_RQ, message_id, sop_class, sop_instance, has_data_set=True)
    read = read_by_pynetdicom(ours).command_set
    assert read.CommandField == 0x0001
    assert read.MessageID == message_id
    assert read.AffectedSOPClassUID == sop_class
    assert read.AffectedSOPInstanceUID == sop_instance
    assert read.Priority == 0
    assert read.CommandDataSetType != 0x0101
    assert "Status" not in read


@given(ids, uids, ids, st.sampled_from(["", "out of space", "x" * 63, "y" * 64]))
def test_pynetdicom_reads_our_store_response(message_id, uid, status, comment):
    request = Command(dimse.C_STORE_RQ, message_id, CT, uid, has_data_set=True)
    read = read_by_pynetdicom(request.answer(status, comment)).command_set
    assert read.CommandField == 0x8001
    assert read.MessageIDBeingRespondedTo == message_id
    assert (read.AffectedSOPClassUID, read.AffectedSOPInstanceUID) == (CT, uid)
    assert (read.Status, read.get("ErrorComment", "")) == (status, comment)
    assert read.CommandDataSetType == 0x0101
    assert "MessageID" not in read
    assert "Priority" not in read


def test_pynetdicom_reads_our_echo_response():
    request = Command(dimse.C_ECHO_RQ, 7, VERIFICATION)
    read = read_by_pynetdicom(request.answer(dimse.SUCCESS)).command_set
    assert (read.CommandField, read.MessageIDBeingRespondedTo, read.Status) == (0x8030, 7, 0)
    assert read.AffectedSOPClassUID == VERIFICATION
    assert "AffectedSOPInstanceUID" not in read


@given(ids, uids, uids, st.sampled_from([0, 1, 2]))
def test_we_read_pynetdicoms_store_request(message_id, sop_class, sop_instance, priority):
    primitive = C_STORE()
    primitive.MessageID = message_id
    primitive.AffectedSOPClassUID = UID(sop_class)
    primitive.AffectedSOPInstanceUID = UID(sop_instance)
    primitive.Priority = priority
    primitive.MoveOriginatorApplicationEntityTitle = "MOVER"
    primitive.MoveOriginatorMessageID = 9
    primitive.DataSet = BytesIO(b"data")
    assert decode_command(written_by_pynetdicom(C_STORE_RQ(), primitive)) == Command(
        dimse.C_STORE_RQ, message_id, sop_class, sop_instance, has_data_set=True
    )


@given(ids, uids, ids)
def test_we_read_pynetdicoms_store_response(message_id, uid, status):
    primitive = C_STORE()
    primitive.MessageIDBeingRespondedTo = message_id
    primitive.AffectedSOPClassUID = UID(CT)
    primitive.AffectedSOPInstanceUID = UID(uid)
    primitive.Status = status
    primitive.ErrorComment = "why"
    read = decode_command(written_by_pynetdicom(C_STORE_RSP(), primitive))
    assert read == Command(
        dimse.C_STORE_RSP, message_id, CT, uid, status=status, error_comment="why"
    )
    assert read.is_response


def test_we_read_pynetdicoms_echo_and_cancel():
    echo = C_ECHO()
    echo.MessageID = 3
    echo.AffectedSOPClassUID = UID(VERIFICATION)
    read = decode_command(written_by_pynetdicom(C_ECHO_RQ(), echo))
    assert read == Command(dimse.C_ECHO_RQ, 3, VERIFICATION)
    assert not read.is_response
    answer = C_ECHO()
    answer.MessageIDBeingRespondedTo = 3
    answer.Status = 0
    assert decode_command(written_by_pynetdicom(C_ECHO_RSP(), answer)).status == 0
    cancel = C_CANCEL()
    cancel.MessageIDBeingRespondedTo = 5
    assert decode_command(written_by_pynetdicom(C_CANCEL_RQ(), cancel)).field == 0x0FFF


commands = st.builds(
    Command,
    st.sampled_from([0x0001, 0x8001, 0x0030, 0x8030, 0x0020, 0x8140]),
    ids,
    st.sampled_from(["", "1.2.3", CT]),
    st.sampled_from(["", "1.2.3", "1.2.34"]),
    st.booleans(),
    st.none() | ids,
    st.sampled_from(["", "odd", "even"]),
)


@given(commands)
def test_every_command_survives_a_round_trip(command):
    assert decode_command(encode_command(command)) == command


@given(commands)
def test_elements_stand_in_tag_order_with_even_lengths(command):
    data, offset, tags = encode_command(command), 0, []
    while offset < len(data):
        group, number, length = struct.unpack_from("<HHL", data, offset)
        assert (group, length % 2) == (0, 0)
        tags.append(number)
        offset += 8 + length
    assert offset == len(data)
    assert tags == sorted(set(tags))
    assert tags[0] == 0


def test_an_error_comment_fits_its_vr():
    answer = Command(1, 1).answer(0xC000, "ü" * 100)
    assert decode_command(encode_command(answer)).error_comment == "?" * 64


def test_padding_and_unknown_elements_are_skipped():
    data = elements(
        (0x0001, b"\0\0\0\0"),
        (0x0002, b"1.2.3 \0"),
        (0x0100, us(1)),
        (0x0110, us(4)),
        (0x0800, us(0)),
        (0x1000, b" 1.2.4\0\0"),
        (0x1030, b"MOVER "),
        (0x5010, b"retired!"),
    )
    assert decode_command(data) == Command(1, 4, "1.2.3", "1.2.4", has_data_set=True)


def test_a_response_without_a_status_has_none():
    data = elements((0x0100, us(0x8001)), (0x0120, us(4)))
    assert decode_command(data) == Command(0x8001, 4)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", r"\(0000,0100\) is missing"),
        (elements((0x0110, us(1))), r"\(0000,0100\) is missing"),
        (elements((0x0100, us(1))), r"\(0000,0110\) is missing"),
        (elements((0x0100, us(0x8001)), (0x0110, us(1))), r"\(0000,0120\) is missing"),
        (elements((0x0100, b"")), r"\(0000,0100\) is missing"),
        (elements((0x0100, us(1)), (0x0110, b"\1")), r"\(0000,0110\) is missing"),
        (elements((0x0100, us(1)), (0x0110, us(1)), (0x0900, b"")), r"\(0000,0900\) is missing"),
        (elements((0x0100, us(1)))[:-1], r"of 2 bytes at 0 of 9"),
        (elements((0x0100, us(1))) + b"\0\0\0", "3 bytes after the last element"),
        (struct.pack("<HHL", 0, 0x0100, 0xFFFFFFFF), "of 4294967295 bytes"),
        (struct.pack("<HHL", 8, 0x0018, 2) + b"1\0", r"\(0008,0018\)"),
        (b"\0\0\0\1UL\4\0" + us(1), r"\(0000,0100\)"),
    ],
)
def test_bytes_that_are_no_command_set_are_refused(data, words):
    with pytest.raises(MalformedCommand, match=words):
        decode_command(data)


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(data):
    try:
        decode_command(data)
    except MalformedCommand:
        return


STORED = {0x0000, 0x0001, 0x0107, 0x0116, *range(0xB000, 0xC000)}
PEERS_CONDITION = {0x0110, 0x0124, 0x0213, 0xFE00, *range(0xA700, 0xA800)}


def test_every_status_is_stored_temporary_or_permanent():
    """PS3.4 Table B.2-1 and PS3.7 Annex C, all 65,536 of them."""
    for status in range(0x10000):
        failure = dimse.failure_for(status)
        if status in STORED:
            assert failure is None
            assert dimse.is_warning(status) == (status != 0)
        else:
            kind = TemporaryFailure if status in PEERS_CONDITION else PermanentFailure
            assert type(failure) is (AlreadyThere if status == 0x0111 else kind)
            assert f"0x{status:04X}" in str(failure)
            assert not dimse.is_warning(status)


def test_what_pynetdicom_calls_a_warning_is_one():
    table = known_statuses.STORAGE_SERVICE_CLASS_STATUS | known_statuses.GENERAL_STATUS
    assert len(table) > 4500
    for code, (category, _) in table.items():
        if category == "Warning":
            assert dimse.is_warning(code), f"0x{code:04X}"
        if category == "Failure":
            assert dimse.failure_for(code) is not None, f"0x{code:04X}"


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (0x0000, "success"),
        (0x0111, "duplicate SOP instance"),
        (0x0122, "SOP class not supported"),
        (0xA700, "out of resources"),
        (0xA7FF, "out of resources"),
        (0xA900, "data set does not match SOP class"),
        (0xB000, "coercion of data elements"),
        (0xB123, "stored with a warning"),
        (0xC123, "cannot understand"),
        (0xDEAD, "a status the standard does not define"),
    ],
)
def test_a_status_is_said_in_words(status, words):
    assert dimse.meaning(status) == words


def test_a_failure_keeps_the_peers_comment_out_of_its_text():
    """It may quote a patient's data, and the text is logged."""
    failure = dimse.failure_for(0xA700, "no room for Doe^Jane")
    assert str(failure) == "the destination answered 0xA700, out of resources"
    assert failure.remark == "no room for Doe^Jane"
