"""PDUs as bytes: round trips, pynetdicom as the other reader and writer, and what is malformed."""

import struct
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pynetdicom import pdu as theirs

from gateway.transfer_syntax import KNOWN
from gateway.upper_layer import pdu
from gateway.upper_layer.events import (
    Abort,
    AnsweredContext,
    AssociateAccept,
    AssociateReject,
    AssociateRequest,
    AsynchronousWindow,
    Closed,
    CommonExtendedNegotiation,
    Event,
    ExtendedNegotiation,
    Fragment,
    ProposedContext,
    ReleaseReply,
    ReleaseRequest,
    RoleSelection,
    UserIdentity,
    UserInformation,
)
from gateway.upper_layer.pdu import MalformedPDU
from tests.upper_layer import oracle
from tests.upper_layer.pair import ACCEPT, CT, EXPLICIT_LE, REQUEST

uids = st.lists(
    st.one_of(st.integers(0, 2), st.integers(0, 99_999), st.integers(0, 2**40)), min_size=1
).map(lambda parts: "1.2" + "".join(f".{part}" for part in parts)[:60].rstrip("."))
titles = (
    st.text("ABCxyz019-_. !/", min_size=1, max_size=16)
    .map(str.strip)
    .filter(lambda title: title != "")
)
shorts = st.integers(0, 0xFFFF)
odd_ids = st.integers(0, 127).map(lambda number: 2 * number + 1)
requested_roles = st.builds(RoleSelection, uids, st.booleans(), st.booleans()).filter(
    lambda role: role.scu or role.scp
)
identities = st.one_of(
    st.builds(UserIdentity, st.sampled_from([1, 3, 4, 5]), st.booleans(), st.binary(min_size=1)),
    st.builds(
        UserIdentity,
        st.just(2),
        st.booleans(),
        st.binary(min_size=1, max_size=300),
        st.binary(min_size=1, max_size=300),
    ),
)
commons = st.builds(CommonExtendedNegotiation, uids, uids, st.lists(uids, max_size=4).map(tuple))


def users(**more: st.SearchStrategy) -> st.SearchStrategy[UserInformation]:
    """User information; ``more`` are the items of one direction only."""
    return st.builds(
        UserInformation,
        max_length=st.integers(0, 2**32 - 1),
        implementation_class=uids,
        implementation_version=st.one_of(st.just(""), titles),
        window=st.none() | st.builds(AsynchronousWindow, shorts, shorts),
        roles=st.lists(requested_roles, max_size=3, unique_by=lambda role: role[0]).map(tuple),
        extended=st.lists(
            st.builds(ExtendedNegotiation, uids, st.binary(min_size=1, max_size=40)),
            max_size=3,
            unique_by=lambda item: item[0],
        ).map(tuple),
        **more,
    )


requests = st.builds(
    AssociateRequest,
    titles,
    titles,
    st.lists(
        st.builds(
            ProposedContext, odd_ids, uids, st.lists(uids, min_size=1, unique=True).map(tuple)
        ),
        min_size=1,
        max_size=5,
        unique_by=lambda context: context[0],
    ).map(tuple),
    users(
        common_extended=st.lists(commons, max_size=3, unique_by=lambda item: item[0]).map(tuple),
        identity=st.none() | identities,
    ),
    uids,
)
accepts = st.builds(
    AssociateAccept,
    titles,
    titles,
    st.lists(
        st.builds(AnsweredContext, odd_ids, st.integers(0, 4), uids),
        min_size=1,
        max_size=5,
        unique_by=lambda context: context[0],
    ).map(tuple),
    users(identity_response=st.none() | st.binary(min_size=1, max_size=100)),
    uids,
)
others = st.one_of(
    st.builds(AssociateReject, st.sampled_from([1, 2]), st.integers(1, 3), st.integers(0, 255)),
    st.just(ReleaseRequest()),
    st.just(ReleaseReply()),
    st.builds(Abort, st.sampled_from([0, 2]), st.integers(0, 6)),
)
slow = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def body_of(data: bytes) -> bytes:
    """A PDU's body; its length field is right."""
    kind, length = pdu.head(memoryview(data))
    assert (kind, length) == (data[0], len(data) - 6)
    return data[6:]


def decoded(data: bytes) -> Event:
    """What we read in a whole PDU."""
    return pdu.decode(data[0], body_of(data))


@slow
@given(requests | accepts | others)
def test_every_event_survives_a_round_trip(event):
    assert decoded(pdu.encode(event)) == event


@slow
@given(requests | accepts)
def test_pynetdicom_reads_what_we_write(event):
    assert oracle.decoded(pdu.encode(event)) == event


@slow
@given(requests | accepts)
def test_we_read_what_pynetdicom_writes(event):
    assert decoded(oracle.encoded(event)) == event


def test_both_write_the_same_bytes():
    assert pdu.encode(REQUEST) == oracle.encoded(REQUEST)
    assert pdu.encode(ACCEPT) == oracle.encoded(ACCEPT)


@given(others)
def test_pynetdicom_reads_our_short_pdus(event):
    kind = {
        AssociateReject: theirs.A_ASSOCIATE_RJ,
        ReleaseRequest: theirs.A_RELEASE_RQ,
        ReleaseReply: theirs.A_RELEASE_RP,
        Abort: theirs.A_ABORT_RQ,
    }[type(event)]
    read = kind()
    read.decode(pdu.encode(event))
    assert read.encode() == pdu.encode(event)
    if isinstance(event, AssociateReject):
        assert (read.result, read.source, read.reason_diagnostic) == (
            event.result,
            event.source,
            event.reason,
        )
    if isinstance(event, Abort):
        assert (read.source, read.reason_diagnostic) == (event.source, event.reason)


@given(odd_ids, st.booleans(), st.booleans(), st.binary(min_size=1, max_size=99))
def test_pynetdicom_reads_our_p_data(context_id, is_command, is_last, data):
    read = theirs.P_DATA_TF()
    read.decode(pdu.encode(Fragment(context_id, is_command, is_last, data)))
    (value,) = read.presentation_data_value_items
    assert value.context_id == context_id
    assert value.presentation_data_value == bytes((is_command + 2 * is_last,)) + data


@given(odd_ids, st.booleans(), st.binary(max_size=99))
def test_a_head_packed_into_a_buffer_is_the_head_of_a_data_set_fragment(context_id, is_last, data):
    buffer = bytearray(7 + pdu.P_DATA_OVERHEAD)
    pdu.pack_p_data_head(buffer, 7, context_id, is_last, len(data))
    whole = pdu.encode(Fragment(context_id, is_command=False, is_last=is_last, data=data))
    assert bytes(buffer[7:]) + data == whole


def test_a_closed_connection_has_no_pdu():
    with pytest.raises(TypeError):
        pdu.encode(Closed())


@pytest.mark.parametrize(("source", "reason"), [(1, 1), (1, 2), (1, 3), (1, 7), (2, 2), (3, 1)])
@pytest.mark.parametrize("result", [1, 2])
def test_a_rejection_says_why_in_words(result, source, reason):
    words = str(AssociateReject(result, source, reason))
    assert words.startswith("permanent" if result == 1 else "transient")
    assert str(reason) not in words


def test_a_rejection_with_an_unknown_reason_gives_the_number():
    assert str(AssociateReject(1, 3, 9)) == "permanent rejection: reason 9"


def test_an_abort_says_who_aborted():
    assert str(Abort(0, 0)) == "aborted by the peer's application"
    assert "invalid PDU parameter value" in str(Abort(2, 6))
    assert "unknown" in str(Abort(2, 99))


SECRET = b"hunter2-token"


def test_secrets_are_never_shown():
    request = replace(
        REQUEST,
        user=UserInformation(identity=UserIdentity(2, True, SECRET, SECRET)),
    )
    accept = replace(ACCEPT, user=UserInformation(identity_response=SECRET))
    for event in (request, accept):
        assert decoded(pdu.encode(event)) == event
        for text in (repr(event), str(event), f"{event}"):
            assert "hunter2" not in text


def test_a_malformed_identity_is_refused_without_showing_it():
    whole = pdu.encode(
        replace(REQUEST, user=UserInformation(identity=UserIdentity(2, False, SECRET, SECRET)))
    )
    at = whole.index(SECRET) - 2
    for length in (0xFFFF, len(SECRET) * 2 + 3):
        lying = whole[:at] + struct.pack(">H", length) + whole[at + 2 :]
        with pytest.raises(MalformedPDU) as refused:
            decoded(lying)
        assert "hunter2" not in str(refused.value)


def item(kind: int, value: bytes) -> bytes:
    """An item or sub-item."""
    return struct.pack(">BxH", kind, len(value)) + value


FIXED = struct.pack(">H2x16s16s32x", 1, b"GATEWAY".ljust(16), b"MODALITY".ljust(16))
APPLICATION = item(0x10, b"1.2.840.10008.3.1.1.1")
CONTEXT = item(0x20, b"\1\0\0\0" + item(0x30, CT.encode()) + item(0x40, EXPLICIT_LE.encode()))
USER = item(0x50, item(0x51, struct.pack(">L", 16_384)) + item(0x52, b"1.2.3"))


def request(*items: bytes) -> AssociateRequest:
    """The A-ASSOCIATE-RQ with these items."""
    event = pdu.decode(pdu.ASSOCIATE_RQ, FIXED + b"".join(items))
    assert isinstance(event, AssociateRequest)
    return event


def test_the_hand_made_request_is_the_one_we_know():
    assert request(APPLICATION, CONTEXT, USER) == REQUEST


def test_items_may_come_in_any_order():
    assert request(USER, CONTEXT, APPLICATION) == REQUEST


def test_unknown_items_are_skipped_at_every_level():
    strange = item(0xEE, b"whatever")
    context = item(0x20, b"\1\0\0\0" + strange + CONTEXT[8:])
    user = item(0x50, strange + USER[4:] + item(0x5F, b""))
    assert request(strange, APPLICATION, context, strange, user, strange) == REQUEST


@pytest.mark.parametrize("padding", [b"\0", b" ", b"\0\0"])
def test_padded_uids_and_titles_are_read_without_padding(padding):
    context = item(
        0x20,
        b"\1\0\0\0"
        + item(0x30, CT.encode() + padding)
        + item(0x40, EXPLICIT_LE.encode() + padding),
    )
    application = item(0x10, APPLICATION[4:] + padding)
    assert request(application, context, USER) == REQUEST
    fixed = struct.pack(">H2x16s16s32x", 1, b"  GATEWAY", b"MODALITY\0\0 ")
    body = fixed + APPLICATION + CONTEXT + USER
    assert pdu.decode(pdu.ASSOCIATE_RQ, body) == REQUEST


def test_a_title_outside_ascii_comes_back_as_it_was():
    title = "MÖGLICH"
    whole = pdu.encode(replace(REQUEST, calling=title))
    event = decoded(whole)
    assert isinstance(event, AssociateRequest)
    assert event.calling == title
    assert pdu.encode(replace(ACCEPT, calling=title))[26:42] == whole[26:42]


def test_a_uid_of_foreign_bytes_does_not_grow_when_it_is_sent_back():
    uid = request(APPLICATION, item(0x20, b"\1\0\0\0" + item(0x40, b"\xff" * 60_000)), USER)
    syntax = uid.contexts[0].transfer_syntaxes[0]
    answer = pdu.encode(replace(ACCEPT, contexts=(AnsweredContext(1, 4, syntax),)))
    assert len(answer) < 60_300


def test_128_contexts_of_every_syntax_we_know_fit():
    syntaxes = tuple(syntax.uid for syntax in KNOWN)
    longest = "1.2.840.10008.5.1.4.1.1.481.23"
    contexts = tuple(
        ProposedContext(2 * number + 1, longest, syntaxes) for number in range(pdu.MAX_CONTEXTS)
    )
    whole = pdu.encode(replace(REQUEST, contexts=contexts))
    assert len(body_of(whole)) <= pdu.MAX_ASSOCIATE_LENGTH
    assert decoded(whole) == replace(REQUEST, contexts=contexts)


def context(number: int, syntaxes: int = 1) -> bytes:
    """A proposed context's item."""
    abstract = item(0x30, CT.encode())
    return item(0x20, bytes((number & 255, 0, 0, 0)) + abstract + item(0x40, b"1.2") * syntaxes)


@pytest.mark.parametrize(
    ("items", "words"),
    [
        ([context(n) for n in range(129)], "129 presentation contexts"),
        ([CONTEXT, CONTEXT], "used twice"),
        ([context(1, 65)], "65 transfer syntaxes"),
        ([item(0x50, item(0x52, b"1") * 1025)], "user information items"),
        ([b"\x20"], "ends early"),
        ([b"\x20\0\0"], "ends early"),
        ([b"\x20\0\0\x08\1\0\0\0"], "claims 8 bytes, 4 left"),
        ([item(0x20, b"")], "ends early"),
        ([item(0x20, b"\1\0\0\0\x30\0\xff\xff1.2")], "claims 65535 bytes, 3 left"),
        ([item(0x20, b"\1\0\0\0\x30\0\0")], "ends early"),
        ([item(0x50, b"\x51\0\0\x08\0\0\0\0")], "claims 8 bytes, 4 left"),
        ([item(0x50, item(0x53, b"\0\1\0"))], "ends early"),
        ([item(0x50, item(0x54, b""))], "ends early"),
        ([item(0x50, item(0x54, b"\0\x031.2"))], "ends early"),
        ([item(0x50, item(0x54, b"\0\x041.2\1"))], "ends early"),
        ([item(0x50, item(0x54, b"\0\x091.2\1\1"))], "claims 9 bytes, 5 left"),
        ([item(0x50, item(0x56, b"\0"))], "ends early"),
        ([item(0x50, item(0x57, b"\0\x031.2"))], "ends early"),
        ([item(0x50, item(0x57, b"\0\x031.2\0\x031.2\0\x05\0\x091.2"))], "claims 9 bytes, 3 left"),
        ([item(0x50, item(0x58, b"\1"))], "ends early"),
        ([item(0x50, item(0x58, b"\1\0\0\x05user"))], "claims 5 bytes, 4 left"),
        ([item(0x50, item(0x59, b"\0"))], "ends early"),
    ],
)
def test_a_malformed_request_is_refused_with_the_reason(items, words):
    with pytest.raises(MalformedPDU, match=words) as refused:
        request(APPLICATION, *items)
    assert refused.value.reason == 6


@pytest.mark.parametrize("length", [0, 1, 41, 67])
def test_a_request_shorter_than_its_fixed_fields_is_refused(length):
    for kind in (pdu.ASSOCIATE_RQ, pdu.ASSOCIATE_AC):
        with pytest.raises(MalformedPDU, match="ends early"):
            pdu.decode(kind, FIXED[:length])


@pytest.mark.parametrize("kind", [0, 4, 8, 255])
def test_a_type_that_is_no_control_pdu_is_unrecognized(kind):
    with pytest.raises(MalformedPDU) as refused:
        pdu.decode(kind, bytes(4))
    assert refused.value.reason == 1


@given(st.sampled_from([1, 2, 3, 5, 6, 7]), st.binary(max_size=400), st.booleans())
def test_no_body_raises_anything_else(kind, body, with_head):
    try:
        pdu.decode(kind, FIXED * with_head + body)
    except MalformedPDU:
        return


def test_what_is_missing_is_empty():
    event = request()
    assert event == AssociateRequest("GATEWAY", "MODALITY", (), UserInformation(), "")
    (bare,) = request(item(0x20, b"\1\0\0\0")).contexts
    assert bare == ProposedContext(1, "", ())


def test_a_common_extended_item_of_the_old_form_without_related_classes_is_read():
    user = item(0x50, item(0x57, b"\0\x031.2\0\x031.3"))
    assert request(user).user.common_extended == (CommonExtendedNegotiation("1.2", "1.3", ()),)


def test_an_identity_without_a_secondary_field_is_read():
    user = item(0x50, item(0x58, b"\1\1\0\x04user"))
    assert request(user).user.identity == UserIdentity(1, True, b"user", b"")
