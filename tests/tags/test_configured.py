"""A route's tags of the configuration, below the top level, from YAML to bytes."""

import hashlib
import hmac

import pytest
from pydicom.dataset import Dataset

from gateway.config import load_text
from gateway.dataset.elements import elements
from gateway.tags import Change, TagChanges
from gateway.tags.configured import configured
from gateway.transfer_syntax import TransferSyntax
from tests.dataset.samples import ELE, NATIVE, element, encode, head
from tests.tags.samples import CREATOR, KEY, REQUEST, STEP, made, made_bytes, patient

ITEM, ITEM_END, END, UNDEFINED = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD, 0xFFFFFFFF


def changes(tags: str) -> tuple[Change, ...]:
    """As a route has them."""
    config = load_text(
        "version: 1\nnodes: { n: { dimse: { ae_title: N, host: h } } }\n"
        f"routes: [{{ name: r, send_to: n, tags: {{ {tags} }} }}]\n",
        environment={"KEY": "x" * 16},
    )
    route = config.routes[0].tags
    assert route is not None
    return configured(route, KEY)


def requests() -> Dataset:
    """A data set with two requests, of which the second lacks most."""
    first, second = Dataset(), Dataset()
    first.AccessionNumber, first.StudyInstanceUID = "A-1", "1.2.3"
    first.ScheduledProcedureStepDescription = "Kopf nativ"
    first.ScheduledProcedureStepID, first.RequestedProcedureID = "S-1", "R-1"
    first.ScheduledProcedureStepStartDate = "20240229"
    first.private_block(0x0041, CREATOR, create=True).add_new(0x01, "LO", "private")
    second.RequestedProcedureID = "R-2"
    return patient(RequestAttributesSequence=[first, second])


@pytest.mark.parametrize("syntax", NATIVE, ids=lambda syntax: syntax.name)
def test_every_kind_of_change_reaches_into_items(syntax: TransferSyntax) -> None:
    new = made(
        requests(),
        syntax,
        *changes(
            "identity: true, key: '${KEY}',"
            " set: { RequestAttributesSequence.Modality: MR },"
            " remove: ['RequestAttributesSequence.(0041,xx01,ACME 1.0)'],"
            " copy: { RequestAttributesSequence.ScheduledProcedureStepID:"
            " RequestAttributesSequence.RequestedProcedureID },"
            " template: { SeriesDescription: '{RequestAttributesSequence.AccessionNumber}/CT' },"
            " hash: [RequestAttributesSequence.AccessionNumber,"
            " RequestAttributesSequence.StudyInstanceUID],"
            " replace: { RequestAttributesSequence.ScheduledProcedureStepDescription:"
            " { find: '(\\w+) nativ', with: '\\1' } },"
            " shift_dates: { attributes:"
            " [RequestAttributesSequence.ScheduledProcedureStepStartDate], days: 1 }"
        ),
    )
    first, second = new.RequestAttributesSequence
    assert (first.Modality, second.Modality) == ("MR", "MR")
    assert 0x00411001 not in first
    assert (first.ScheduledProcedureStepID, second.ScheduledProcedureStepID) == ("R-1", "R-2")
    assert new.SeriesDescription == "A-1/CT"
    digest = hmac.digest(bytes(KEY), b"A-1", hashlib.sha256).hex().upper()
    assert first.AccessionNumber == digest[:16]
    assert first.StudyInstanceUID.startswith("2.25.")
    assert first.ScheduledProcedureStepDescription == "Kopf"
    assert first.ScheduledProcedureStepStartDate == "20240301"
    assert sorted(each.keyword for each in second) == [
        "Modality",
        "RequestedProcedureID",
        "ScheduledProcedureStepID",
    ]
    assert new.StudyInstanceUID == "1.2.3"


@pytest.mark.parametrize("undefined", [False, True])
def test_lengths_around_a_change_are_right_and_all_else_keeps_its_bytes(undefined: bool) -> None:
    """Also where an attribute elsewhere is odd, such as text of the wrong length."""

    def sequence(tag: int, *items: bytes) -> bytes:
        if not undefined:
            return element(tag, "SQ", b"".join(element(ITEM, "", item) for item in items))
        ends = head(ITEM_END, "", 0, ELE)
        body = b"".join(head(ITEM, "", UNDEFINED, ELE) + item + ends for item in items)
        return head(tag, "SQ", UNDEFINED, ELE) + body + head(END, "", 0, ELE)

    odd = element(0x00400007, "LO", b"  odd padding \0\0")
    codes = sequence(0x00400008, element(0x00080100, "SH", b"C1"))
    before = element(0x00100010, "PN", b"Doe^J \0\0")
    old, new = (element(STEP, "SH", text) for text in (b"S-1 ", b"A longer step ID"))
    data = before + sequence(REQUEST, odd + codes + old, odd) + element(0x00880140, "UI", b"1.2\0")
    (change,) = changes(
        "set: { RequestAttributesSequence.ScheduledProcedureStepID: A longer step ID }"
    )
    made = made_bytes(data, ELE, TagChanges((change,)))
    expected = before + sequence(REQUEST, odd + codes + new, odd + new)
    assert made == expected + element(0x00880140, "UI", b"1.2\0")
    assert [each.tag for each in elements(made, 0, len(made), ELE)] == [
        0x00100010,
        REQUEST,
        0x00880140,
    ]


def test_a_sequence_may_go_as_a_whole_and_an_absent_one_changes_nothing() -> None:
    data = encode(requests(), ELE)
    without = made(requests(), ELE, *changes("remove: RequestAttributesSequence"))
    assert "RequestAttributesSequence" not in without
    absent = changes("set: { ProcedureCodeSequence.CodeValue: X }, remove: ProtocolName")
    assert made_bytes(data, ELE, TagChanges(absent)) == data
