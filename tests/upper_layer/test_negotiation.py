"""What an acceptor agrees to."""

from dataclasses import replace

import pytest
from pydicom._uid_dict import UID_dictionary
from pynetdicom import sop_class

from gateway.model import IMPLEMENTATION_CLASS_UID
from gateway.transfer_syntax import DEFLATED, EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE, KNOWN, RLE
from gateway.upper_layer import pdu
from gateway.upper_layer.events import (
    AnsweredContext,
    AssociateRequest,
    AsynchronousWindow,
    CommonExtendedNegotiation,
    ExtendedNegotiation,
    ProposedContext,
    RoleSelection,
    UserIdentity,
    UserInformation,
)
from gateway.upper_layer.negotiation import STORABLE, VERIFICATION, answer, is_storage
from tests.upper_layer.pair import CT, REQUEST

MPEG4 = "1.2.840.10008.1.2.4.102"
PAPYRUS = "1.2.840.10008.1.20"
GE_PRIVATE_BE = "1.2.840.113619.5.2"
QUERY = "1.2.840.10008.5.1.4.1.2.2.1"
WORKLIST = "1.2.840.10008.5.1.4.31"

ACCEPTED, USER, NO_ABSTRACT, NO_SYNTAX = 0, 1, 3, 4


def asked(*contexts: tuple[str, tuple[str, ...]], **user: object) -> AssociateRequest:
    """A request for these (abstract syntax, transfer syntaxes)."""
    proposed = tuple(
        ProposedContext(2 * number + 1, *context) for number, context in enumerate(contexts)
    )
    return replace(REQUEST, contexts=proposed, user=UserInformation(**user))


def answered(abstract: str, *syntaxes: str, **user: object) -> AnsweredContext:
    """The answer to a single context."""
    (context,) = answer(asked((abstract, syntaxes), **user), max_pdu_length=16_384).contexts
    return context


@pytest.mark.parametrize(
    "abstract",
    [
        CT,
        "1.2.840.10008.5.1.4.1.1.5",
        "1.2.840.10008.5.1.1.27",
        "1.2.840.10008.5.1.1.29",
        "1.2.840.10008.5.1.4.34.7",
        "1.2.840.10008.5.1.4.38.1",
        "1.2.840.10008.5.1.4.1.1.99999",
        "1.2.840.113619.4.27",
        "1.3.12.2.1107.5.9.1",
        "1.3.46.670589.2.3.1.1",
        "2.25.1",
    ],
    ids=[
        "CT",
        "retired NM",
        "retired stored print",
        "retired hardcopy",
        "RT beams delivery",
        "hanging protocol",
        "of tomorrow",
        "GE private",
        "Siemens private",
        "Philips private",
        "anybody's",
    ],
)
def test_a_storage_class_is_accepted_known_or_not(abstract):
    assert answered(abstract, EXPLICIT_LE) == AnsweredContext(1, ACCEPTED, EXPLICIT_LE)


@pytest.mark.parametrize(
    "abstract",
    [
        QUERY,
        "1.2.840.10008.5.1.4.1.2.2.2",
        "1.2.840.10008.5.1.4.1.2.2.3",
        WORKLIST,
        "1.2.840.10008.3.1.2.3.3",
        "1.2.840.10008.1.20.1",
        "1.2.840.10008.5.1.1.9",
        "1.2.840.10008.5.1.1.18.1",
        "1.2.840.10008.5.1.1.26",
        "1.2.840.10008.1.9",
        "1.2.840.10008.3.1.2.1.1",
        "1.2.840.10008.5.1.4.34.4.1",
        "1.2.840.10008.5.1.4.34.6.1",
        "1.2.840.10008.10.1",
        "",
        "1." * 50 + "1",
    ],
)
def test_what_is_no_storage_class_is_refused_as_not_supported(abstract):
    assert answered(abstract, EXPLICIT_LE) == AnsweredContext(1, NO_ABSTRACT, EXPLICIT_LE)


SOP_CLASSES = {
    uid: name
    for uid, (name, kind, *_) in UID_dictionary.items()
    if "SOP Class" in kind and name and not name.startswith("Media Storage")
}
CALLED_STORAGE = {
    "1.2.840.10008.1.20.1": False,  # Storage Commitment Push Model
    "1.2.840.10008.1.20.2": False,  # and Pull Model, retired
}


def test_the_whole_dictionary_is_sorted_by_its_names():
    """What the standard names "... Storage" is stored, and nothing else."""
    assert len(SOP_CLASSES) > 250
    expected = {
        uid: CALLED_STORAGE.get(uid, "Storage" in name) for uid, name in SOP_CLASSES.items()
    }
    assert {uid: is_storage(uid) for uid in SOP_CLASSES} == expected


def test_pynetdicoms_storage_classes_are_storage():
    classes = sop_class._STORAGE_CLASSES
    assert len(classes) > 150
    assert [name for name, uid in classes.items() if not is_storage(uid)] == []


@pytest.mark.parametrize(
    ("syntaxes", "chosen"),
    [
        ((IMPLICIT_LE, EXPLICIT_LE, RLE), IMPLICIT_LE),
        ((RLE, EXPLICIT_LE, IMPLICIT_LE), RLE),
        ((EXPLICIT_BE, EXPLICIT_LE), EXPLICIT_BE),
        ((PAPYRUS, GE_PRIVATE_BE, MPEG4, EXPLICIT_LE), MPEG4),
        ((DEFLATED,), DEFLATED),
    ],
)
def test_the_proposers_order_decides(syntaxes, chosen):
    assert answered(CT, *syntaxes) == AnsweredContext(1, ACCEPTED, chosen)


@pytest.mark.parametrize("syntax", [syntax.uid for syntax in KNOWN])
def test_every_known_transfer_syntax_can_be_stored(syntax):
    assert answered(CT, syntax).result == ACCEPTED


@pytest.mark.parametrize("syntaxes", [(GE_PRIVATE_BE,), (PAPYRUS, "1.2.3"), ("",), ()])
def test_unknown_transfer_syntaxes_are_refused(syntaxes):
    assert answered(CT, *syntaxes).result == NO_SYNTAX


def test_a_smaller_set_of_transfer_syntaxes_can_be_set():
    request = asked((CT, (MPEG4, EXPLICIT_LE)), (CT, (MPEG4,)))
    contexts = answer(request, max_pdu_length=1, storable=STORABLE - {MPEG4}).contexts
    assert contexts == (
        AnsweredContext(1, ACCEPTED, EXPLICIT_LE),
        AnsweredContext(3, NO_SYNTAX, MPEG4),
    )


def test_verification_is_accepted_in_a_native_syntax_only():
    assert answered(VERIFICATION, RLE, IMPLICIT_LE).transfer_syntax == IMPLICIT_LE
    assert answered(VERIFICATION, RLE).result == NO_SYNTAX


def test_128_contexts_are_answered_one_by_one_in_order():
    wanted = [(CT if n % 2 else QUERY, (IMPLICIT_LE,)) for n in range(128)]
    contexts = answer(asked(*wanted), max_pdu_length=16_384).contexts
    assert [context.context_id for context in contexts] == list(range(1, 256, 2))
    assert [context.result for context in contexts] == [NO_ABSTRACT, ACCEPTED] * 64


def test_the_same_class_in_several_contexts_gets_each_its_syntax():
    request = asked((CT, (EXPLICIT_LE,)), (CT, (RLE,)), (CT, ("1.2.3",)))
    contexts = answer(request, max_pdu_length=16_384).contexts
    assert contexts == (
        AnsweredContext(1, ACCEPTED, EXPLICIT_LE),
        AnsweredContext(3, ACCEPTED, RLE),
        AnsweredContext(5, NO_SYNTAX, "1.2.3"),
    )


@pytest.mark.parametrize(
    ("scu", "scp", "result"),
    [(True, False, ACCEPTED), (True, True, ACCEPTED), (False, True, USER), (False, False, USER)],
)
def test_the_requestor_may_be_scu_and_nothing_else(scu, scp, result):
    """PS3.7 D.3.3.4: what was not proposed is not granted, and the acceptor is no SCU."""
    request = asked((CT, (EXPLICIT_LE,)), roles=(RoleSelection(CT, scu, scp),))
    accept = answer(request, max_pdu_length=16_384)
    assert accept.user.roles == (RoleSelection(CT, scu, False),)
    assert accept.contexts[0].result == result


@pytest.mark.parametrize("window", [(0, 0), (1, 1), (8, 4), (65_535, 65_535)])
def test_an_asynchronous_window_is_answered_with_one(window):
    accept = answer(asked(window=AsynchronousWindow(*window)), max_pdu_length=16_384)
    assert accept.user.window == (1, 1)


def test_what_was_not_asked_is_not_answered():
    user = answer(asked((CT, (EXPLICIT_LE,))), max_pdu_length=16_384).user
    assert (user.window, user.roles, user.identity_response) == (None, (), None)


def test_identity_and_extended_negotiation_are_read_and_get_no_answer():
    request = asked(
        (CT, (EXPLICIT_LE,)),
        identity=UserIdentity(1, True, b"user"),
        extended=(ExtendedNegotiation(CT, b"\2\0\2\0\0"),),
        common_extended=(CommonExtendedNegotiation(CT, "1.2.840.10008.4.2", (CT,)),),
    )
    accept = answer(request, max_pdu_length=16_384)
    assert accept.contexts[0].result == ACCEPTED
    user = accept.user
    assert (user.identity, user.identity_response) == (None, None)
    assert (user.extended, user.common_extended) == ((), ())


def test_the_answer_names_us_and_echoes_the_titles():
    accept = answer(asked((CT, (EXPLICIT_LE,))), max_pdu_length=65_536)
    assert accept.user.max_length == 65_536
    assert accept.user.implementation_class == IMPLEMENTATION_CLASS_UID
    assert (accept.called, accept.calling) == (REQUEST.called, REQUEST.calling)
    assert pdu.decode(pdu.ASSOCIATE_AC, pdu.encode(accept)[6:]) == accept


def test_a_peer_that_invents_classes_does_not_fill_the_memory():
    for number in range(5000):
        is_storage(f"2.25.{number}")
    assert is_storage.cache_info().currsize <= 4096
