"""Splicing: what was asked for changes, every other byte stays, at any depth, in any encoding."""

from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.dataset.elements import elements, items
from gateway.dataset.heads import MalformedDataSet
from gateway.dataset.rewrite import NewValue
from gateway.dataset.splice import Edits, InItems, splice
from gateway.failures import PermanentFailure
from gateway.transfer_syntax import TransferSyntax
from tests.dataset.samples import (
    CUT,
    EBE,
    ELE,
    ILE,
    NATIVE,
    NO_DATA_SET,
    UNDEFINED,
    DataSet,
    data_set,
    element,
    every_file,
    head,
)

NAME, ID, UIDS, REQUEST = 0x00100010, 0x00100020, 0x00081140, 0x00400275
STEP, INSTANCE = 0x00400009, 0x00081155
ITEM, ITEM_END, END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD


class Seq(NamedTuple):
    """A sequence of a model: whether its length is undefined, and that of each of its items."""

    undefined: bool
    items: "list[tuple[bool, Model]]"


Model = dict[int, tuple[str, bytes] | Seq]


def written(model: Model, syntax: TransferSyntax) -> bytes:
    """A model's bytes, put together by hand."""
    return b"".join(
        _sequence(tag, value, syntax) if isinstance(value, Seq) else _plain(tag, *value, syntax)
        for tag, value in sorted(model.items())
    )


def _plain(tag: int, vr: str, value: bytes, syntax: TransferSyntax) -> bytes:
    if vr == "US" and not syntax.little_endian:
        value = value[::-1]
    value += b" " * (len(value) & 1)
    return element(tag, vr, value, syntax)


def _sequence(tag: int, sequence: Seq, syntax: TransferSyntax) -> bytes:
    body = b"".join(_item(*item, syntax) for item in sequence.items)
    if sequence.undefined:
        return head(tag, "SQ", UNDEFINED, syntax) + body + head(END, "", 0, syntax)
    return element(tag, "SQ", body, syntax)


def _item(undefined: bool, model: Model, syntax: TransferSyntax) -> bytes:
    body = written(model, syntax)
    if undefined:
        return head(ITEM, "", UNDEFINED, syntax) + body + head(ITEM_END, "", 0, syntax)
    return element(ITEM, "", body, syntax)


def changed(model: Model, edits: Edits) -> Model:
    """What the edits ought to make of a model."""
    made = dict(model)
    for tag, edit in edits.items():
        if edit is None:
            made.pop(tag, None)
        elif isinstance(edit, NewValue):
            made[tag] = (edit.vr, edit.value)
        elif isinstance(sequence := made.get(tag), Seq):
            items = [
                (undefined, changed(item, edit.items.get(number, {})))
                for number, (undefined, item) in enumerate(sequence.items, 1)
            ]
            made[tag] = Seq(sequence.undefined, items)
    return made


PLAIN = (NAME, ID, 0x00080005, 0x00280010, 0x00400009, 0x00411001)
SEQUENCES = (UIDS, REQUEST, 0x00081115)
TEXT = st.binary(max_size=9).map(lambda value: bytes(32 + byte % 60 for byte in value))
VALUES = st.one_of(
    st.tuples(st.just("LO"), TEXT), st.tuples(st.just("US"), st.binary(min_size=2, max_size=2))
)
MODELS: st.SearchStrategy[Model] = st.recursive(
    st.dictionaries(st.sampled_from(PLAIN), VALUES, max_size=4),
    lambda inner: st.builds(
        lambda plain, nested: {**plain, **nested},
        st.dictionaries(st.sampled_from(PLAIN), VALUES, max_size=4),
        st.dictionaries(
            st.sampled_from(SEQUENCES),
            st.builds(Seq, st.booleans(), st.lists(st.tuples(st.booleans(), inner), max_size=3)),
            max_size=2,
        ),
    ),
    max_leaves=6,
)
EDITS: st.SearchStrategy[Edits] = st.recursive(
    st.dictionaries(
        st.sampled_from(PLAIN), st.none() | VALUES.map(lambda one: NewValue(*one)), max_size=3
    ),
    lambda inner: st.builds(
        lambda plain, nested: {**plain, **nested},
        st.dictionaries(st.sampled_from(PLAIN), st.none(), max_size=2),
        st.dictionaries(
            st.sampled_from(SEQUENCES),
            st.dictionaries(st.integers(1, 4), inner, min_size=1, max_size=2).map(InItems),
            max_size=2,
        ),
    ),
    max_leaves=4,
)


@settings(max_examples=300, deadline=None)
@given(MODELS, EDITS, st.sampled_from(NATIVE))
def test_edits_give_the_bytes_that_a_data_set_with_them_would_have(
    model: Model, edits: Edits, syntax: TransferSyntax
) -> None:
    data = written(model, syntax)
    made = b"".join(splice(data, 0, len(data), syntax, edits))
    assert made == written(changed(model, edits), syntax)


def test_text_gets_a_space_a_uid_a_zero_for_an_odd_length() -> None:
    new = {NAME: NewValue("PN", b"ABC"), 0x0020000D: NewValue("UI", b"1.2")}
    assert b"".join(splice(b"", 0, 0, ELE, new)) == element(NAME, "PN", b"ABC ") + element(
        0x0020000D, "UI", b"1.2\0"
    )


def test_the_group_length_of_a_changed_group_goes_the_others_stay() -> None:
    lengths = [element(group << 16, "UL", b"\4\0\0\0") for group in (8, 0x10, 0x40)]
    inner = element(0x00400000, "UL", b"\4\0\0\0") + element(STEP, "SH", b"OLD ")
    sequence = element(REQUEST, "SQ", element(ITEM, "", inner))
    data = lengths[0] + lengths[1] + element(NAME, "PN", b"AB") + lengths[2] + sequence
    edits = {NAME: None, REQUEST: InItems({1: {STEP: NewValue("SH", b"NEW ")}})}
    made = b"".join(splice(data, 0, len(data), ELE, edits))
    item = element(ITEM, "", element(STEP, "SH", b"NEW "))
    assert made == lengths[0] + element(REQUEST, "SQ", item)


def test_the_group_length_goes_too_where_only_an_item_changed() -> None:
    sequence = element(REQUEST, "SQ", element(ITEM, "", element(STEP, "SH", b"OLD ")))
    data = element(0x00400000, "UL", b"\4\0\0\0") + sequence
    made = b"".join(splice(data, 0, len(data), ELE, {REQUEST: InItems({1: {STEP: None}})}))
    assert made == element(REQUEST, "SQ", element(ITEM, "", b""))


def test_an_element_out_of_order_is_replaced_all_the_same() -> None:
    """Nothing that was to go may stay because it stands where it should not."""
    sequence = element(REQUEST, "SQ", element(ITEM, "", element(STEP, "SH", b"OLD ")))
    data = sequence + element(NAME, "PN", b"SECRET")
    edits = {NAME: NewValue("PN", b"AB"), REQUEST: InItems({1: {STEP: None}})}
    made = b"".join(splice(data, 0, len(data), ELE, edits))
    assert made == element(NAME, "PN", b"AB") + element(REQUEST, "SQ", element(ITEM, "", b""))


def test_items_in_un_stay_implicit() -> None:
    """PS3.5 6.2.2."""
    inner = element(STEP, "SH", b"OLD ", ILE)
    data = element(0x00411001, "UN", element(ITEM, "", inner, ILE))
    edits = {0x00411001: InItems({1: {STEP: NewValue("SH", b"NEWER ")}})}
    made = b"".join(splice(data, 0, len(data), ELE, edits))
    new = element(STEP, "SH", b"NEWER ", ILE)
    assert made == element(0x00411001, "UN", element(ITEM, "", new, ILE))


@pytest.mark.parametrize("syntax", [ELE, EBE])
def test_what_is_no_sequence_has_no_items_to_change(syntax: TransferSyntax) -> None:
    data = element(REQUEST, "LO", b"TEXT", syntax)
    with pytest.raises(PermanentFailure, match=r"\(0040,0275\) is of VR LO"):
        splice(data, 0, len(data), syntax, {REQUEST: InItems({1: {STEP: None}})})


def raw(data: bytes, syntax: TransferSyntax) -> list[tuple[int, bytes]]:
    found = elements(data, 0, len(data), syntax)
    return [(each.tag, data[each.start : each.end]) for each in found]


def first_item(data: bytes, syntax: TransferSyntax) -> int | None:
    """The first sequence that has items, all of them whole."""
    for each in elements(data, 0, len(data), syntax):
        with suppress(MalformedDataSet):
            if each.vr == "SQ" and list(items(data, each, syntax)):
                return each.tag
    return None


@pytest.mark.parametrize("path", every_file(frozenset((*CUT, NO_DATA_SET))))
def test_in_every_file_all_but_the_change_keeps_its_bytes(path: Path) -> None:
    found: DataSet = data_set(path)
    syntax = found.syntax if found.syntax in NATIVE else ELE
    edits: dict[int, NewValue | InItems | None] = {
        NAME: NewValue("PN", b"Doe^Jane"),
        0x00080080: None,
    }
    inside = first_item(found.data, syntax)
    if inside is not None:
        edits[inside] = InItems({1: {0x00491010: NewValue("LO", b"IN THE ITEM ")}})
    made = b"".join(splice(found.data, 0, len(found.data), syntax, edits))
    touched = {*edits, *(tag & 0xFFFF0000 for tag in edits)}
    before = [one for one in raw(found.data, syntax) if one[0] not in touched]
    after = [one for one in raw(made, syntax) if one[0] not in touched]
    assert [tag for tag, _ in before] == [tag for tag, _ in after]
    assert before == after or _bare(found.data, syntax)
    there = dict(raw(made, syntax))
    assert there[NAME] == element(NAME, "PN", b"Doe^Jane", syntax)
    assert not there.keys() & {0x00080080, 0x00080000}
    if inside is not None:
        old = dict(raw(found.data, syntax))[inside]
        assert b"IN THE ITEM " in there[inside]
        assert len(there[inside]) == len(old) + 20
        assert first_item(made, syntax) == inside


def _bare(data: bytes, syntax: TransferSyntax) -> bool:
    """Whether some heads lack the VR that they are given on the way."""
    return syntax.explicit and any(not one.vr for one in elements(data, 0, len(data), syntax))
