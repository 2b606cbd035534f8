"""Damaged data sets: they are changed, or held with a reason, and nothing else ever happens."""

import contextlib
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.failures import PermanentFailure
from gateway.tags import Copy, Hash, Remove, Replace, Set, ShiftDate, TagChanges, Template
from gateway.transfer_syntax import TransferSyntax
from tests.dataset.samples import ELE, NATIVE, element, encode
from tests.tags.samples import (
    ACQUIRED,
    BIRTH,
    COMMENTS,
    ID,
    INSTITUTION,
    KEY,
    NAME,
    PRIVATE,
    REFERENCED,
    REFERENCED_UID,
    REQUEST,
    SMALLEST,
    SOP_INSTANCE,
    STEP,
    STUDY,
    STUDY_DATE,
    made_bytes,
    patient,
)

EVERYTHING: Final = (
    Set(path=(SMALLEST,), values=("7",)),
    Set(path=(REQUEST, STEP), values=("é",)),
    Remove(path=(INSTITUTION,)),
    Copy(path=(COMMENTS,), source=(REFERENCED, REFERENCED_UID)),
    Template(path=(0x00081030,), parts=((NAME,), (PRIVATE,))),
    Hash(path=(ID,), secret=KEY, identity=True),
    Hash(path=(REFERENCED, REFERENCED_UID), secret=KEY, identity=True),
    Hash(path=(SOP_INSTANCE,), secret=KEY, identity=True),
    Copy(path=(STUDY,), source=(SOP_INSTANCE,), identity=True),
    Replace(path=(NAME,), pattern="[Mm]", replacement="n"),
    Replace(path=(PRIVATE,), pattern="s", replacement="z", vr="LO"),
    ShiftDate(path=(STUDY_DATE,), days=-3),
    ShiftDate(path=(ACQUIRED,), within=30, secret=KEY),
    ShiftDate(path=(BIRTH,), within=30, secret=KEY),
)
WHOLE: Final = {syntax.uid: encode(patient(), syntax) for syntax in NATIVE}


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(NATIVE),
    st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=6),
    st.integers(0, 2000) | st.none(),
    st.sampled_from([(), ("ISO_IR 192",), ("ISO_IR 144",)]),
)
def test_a_damaged_data_set_is_changed_or_held(
    syntax: TransferSyntax,
    damage: list[tuple[int, int]],
    cut: int | None,
    charsets: tuple[str, ...],
) -> None:
    data = bytearray(WHOLE[syntax.uid][:cut])
    for at, byte in damage:
        if at < len(data):
            data[at] = byte
    with contextlib.suppress(PermanentFailure):
        made_bytes(bytes(data), syntax, TagChanges(EVERYTHING, charsets))


def test_sequences_within_sequences_have_an_end() -> None:
    data = b""
    for _ in range(2000):
        data = element(REFERENCED, "SQ", element(0xFFFEE000, "", data))
    data = element(0x00080005, "CS", b"ISO_IR 100") + data
    with pytest.raises(PermanentFailure, match="64 sequences within each other"):
        made_bytes(data, ELE, TagChanges((), ("ISO_IR 192",)))
