"""What no route may change, what only on purpose, and what fits no attribute of its VR."""

import pytest

from gateway.tags import (
    Change,
    Copy,
    Hash,
    Private,
    Remove,
    Replace,
    Secret,
    Set,
    ShiftDate,
    Template,
    parse_template,
)
from gateway.tags.allowed import check, conflicts
from tests.tags.samples import (
    ACQUIRED,
    BIRTH,
    CHARACTER_SET,
    COMMENTS,
    ID,
    INSTITUTION,
    ISSUER,
    KEY,
    MODALITY,
    NAME,
    NUMBER,
    PRIVATE,
    REFERENCED,
    REFERENCED_UID,
    REQUEST,
    SERIES,
    SMALLEST,
    SOP_CLASS,
    SOP_INSTANCE,
    STEP,
    STUDY,
    STUDY_DATE,
    WEIGHT,
)


def text(path: tuple[int | Private, ...], *values: str, identity: bool = False) -> Set:
    return Set(path=path, values=values, identity=identity)


NEVER: list[tuple[Change, str]] = [
    (text((SOP_CLASS,), "1.2", identity=True), "SOP Class says what the object is"),
    (text((CHARACTER_SET,), "ISO_IR 192"), "can_read.charset"),
    (text((0x00280010,), "512"), "header and pixels have to agree"),
    (text((0x00280004,), "RGB"), "header and pixels have to agree"),
    (text((0x00880200, 0x00280011), "64"), "header and pixels have to agree"),
    (Remove(path=(0x00282110,)), "header and pixels have to agree"),
    (Remove(path=(0x7FE00010,)), "header and pixels have to agree"),
    (text((0x00020010,), "1.2.840.10008.1.2"), "no attribute of the data set"),
    (text((0x00100000,), "4"), "no attribute of the data set"),
    (Remove(path=(0xFFFEE000,)), "no attribute of the data set"),
    (Remove(path=()), "no attribute is named"),
    (Remove(path=(0x00190010,)), "with its creator"),
    (Remove(path=(NAME, STEP)), "through what is no sequence"),
    (Remove(path=(Private(0x0018, 1, "X"),)), "odd group"),
    (Remove(path=(Private(0x0019, 1, " "),)), "creator is empty"),
    (Remove(path=(Private(0x0019, 1, "A\\B"),)), "creator: a backslash"),
    (Remove(path=(STUDY,), identity=True), "no instance is without it"),
    (text((SERIES,), identity=True), "no instance is without it"),
    (text((SERIES,), "", identity=True), "no instance is without it"),
    (text((SOP_INSTANCE,), "1.2.3", identity=True), "all instances would have the same"),
    (
        Template(path=(SOP_INSTANCE,), parts=("1.2.3",), identity=True),
        "all instances would have the same",
    ),
]


@pytest.mark.parametrize(("change", "why"), NEVER)
def test_what_would_break_an_object_is_refused_even_on_purpose(change: Change, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        check(change)


@pytest.mark.parametrize(
    "path",
    [
        (STUDY,),
        (SERIES,),
        (SOP_INSTANCE,),
        (ID,),
        (ISSUER,),
        (0x00100024, 0x00400032),
        (0x00101002, ID),
        (0x00200052,),
        (REFERENCED, REFERENCED_UID),
    ],
)
def test_an_identity_is_changed_on_purpose_only(path: tuple[int, ...]) -> None:
    """The unique keys of PS3.4 C.6.1.1, what scopes the Patient ID, and UIDs."""
    with pytest.raises(ValueError, match="identity: true"):
        check(Hash(path=path, secret=KEY))
    check(Hash(path=path, secret=KEY, identity=True))


WRONG: list[tuple[Change, str]] = [
    (text((MODALITY,), "ct"), "VR CS: at most 16 capital"),
    (text((MODALITY,), "CT\\MR"), "VR CS"),
    (text((NAME,), "A^B^C^D^E^F"), "5 components"),
    (text((NAME,), "A" * 65), "64 characters in a group"),
    (text((INSTITUTION,), "A" * 65), "65 characters; a LO has at most 64"),
    (text((INSTITUTION,), "A\\B"), "backslash"),
    (text((INSTITUTION,), "A\nB"), r"control character, U\+000A"),
    (text((BIRTH,), "20230229"), "VR DA: a date"),
    (text((BIRTH,), "2023-02-28"), "VR DA: a date"),
    (text((ACQUIRED,), "202413"), "VR DT"),
    (text((ACQUIRED,), "20241301"), "VR DT"),
    (text((0x00080030,), "2561"), "VR TM"),
    (text((0x00080030,), "12:30"), "VR TM"),
    (text((NUMBER,), "7.5"), "VR IS"),
    (text((NUMBER,), "2147483648"), "VR IS: it does not fit into 32 bits"),
    (text((WEIGHT,), "heavy"), "VR DS"),
    (text((WEIGHT,), "1" * 17), "VR DS"),
    (text((STUDY,), "1.02", identity=True), "VR UI: a UID"),
    (text((STUDY,), "1." * 40 + "1", identity=True), "VR UI: a UID"),
    (text((0x00101010,), "42"), "VR AS: an age"),
    (text((COMMENTS,), "a", "b"), "2 values; a LT has one"),
    (text((SMALLEST,), "low"), "an integer is due"),
    (text((SMALLEST,), "65536"), "can hold"),
    (text((0x00280009,), "Rows"), "no tag"),
    (text((REQUEST,), "x"), "VR SQ: it can only be removed"),
    (text((0x60003000,), "x"), "it can only be removed"),
    (text((PRIVATE,), "x"), "say it, such as vr: LO"),
    (Set(path=(PRIVATE,), values=("x",), vr="XX"), "no such VR"),
    (Set(path=(PRIVATE,), values=("x",), vr="OB"), "it can only be removed"),
    (Set(path=(INSTITUTION,), values=("x",), vr="SH"), "it is of VR LO, not SH"),
    (Hash(path=(STUDY_DATE,), secret=KEY), "VR DA, which no hash is; a date is shifted"),
    (Hash(path=(NAME,), secret=Secret(b"short")), "less than 16 bytes"),
    (Hash(path=(NAME,), secret=KEY, length=7), "allowed: 8 to 16"),
    (Hash(path=(INSTITUTION,), secret=KEY, length=65), "allowed: 8 to 64"),
    (Replace(path=(NAME,), pattern="(", replacement=""), "is not a regular expression"),
    (Replace(path=(NAME,), pattern="a", replacement=r"\1"), "names no group"),
    (Replace(path=(SMALLEST,), pattern="a", replacement=""), "which is no text"),
    (ShiftDate(path=(NAME,), days=1), "VR PN, which is no date"),
    (ShiftDate(path=(BIRTH,)), "either a number of days or a range"),
    (ShiftDate(path=(BIRTH,), days=1, within=9, secret=KEY), "either a number of days or a range"),
    (ShiftDate(path=(BIRTH,), within=-9, secret=KEY), "either a number of days or a range"),
    (ShiftDate(path=(BIRTH,), within=9), "needs a secret"),
    (Copy(path=(NAME,), source=(REQUEST,)), "a source of VR SQ"),
    (Copy(path=(NAME,), source=(0x7FE00010,)), "a source of VR OB or OW"),
    (Template(path=(NAME,), parts=("x", (0x00190010,))), "with its creator"),
]


@pytest.mark.parametrize(("change", "why"), WRONG)
def test_what_does_not_fit_its_attribute_is_refused(change: Change, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        check(change)


RIGHT: list[Change] = [
    text((NAME,), "Doe^Jane=山田^太郎"),
    text((NAME,)),
    text((MODALITY,), ""),
    text((REQUEST,)),
    text((0x00080008,), "DERIVED", "SECONDARY"),
    text((BIRTH,), "20240229"),
    text((ACQUIRED,), "2024"),
    text((ACQUIRED,), "20240229123000.123456+0100"),
    text((0x00080030,), "235960.5"),
    text((WEIGHT,), "-1.5e3"),
    text((SMALLEST,), "65535"),
    text((COMMENTS,), "one\r\ntwo"),
    text((STUDY,), "1.2.0.3", identity=True),
    Remove(path=(0x60003000,)),
    Remove(path=(PRIVATE,)),
    Remove(path=(REQUEST, STEP)),
    Set(path=(PRIVATE,), values=("1",), vr="UL"),
    Set(path=(Private(0x0009, 0x02, "GEMS_IDEN_01"),), values=("CT01",)),
    Hash(path=(NAME,), secret=KEY, length=8),
    Replace(path=(NAME,), pattern=r"(\w+)\^(\w+)", replacement=r"\2^\1"),
    Template(path=(SOP_INSTANCE,), parts=((SOP_INSTANCE,), ".1"), identity=True),
]


@pytest.mark.parametrize("change", RIGHT)
def test_what_fits_is_taken(change: Change) -> None:
    check(change)


def test_changes_that_have_their_say_in_one_place_are_found() -> None:
    changes = (
        Remove(path=(REQUEST,)),
        text((NAME,), "A"),
        text((REQUEST, STEP), "B"),
        Remove(path=(NAME,)),
        text((INSTITUTION,), "C"),
    )
    assert conflicts(changes) == [(0, 2), (1, 3)]
    assert conflicts(changes[1:3]) == []


def test_a_template_has_text_and_attributes() -> None:
    names = {"PatientID": (ID,), "Modality": (MODALITY,)}
    parts = parse_template("{PatientID}-{{x}}{ Modality }", names.__getitem__)
    assert parts == ((ID,), "-", "{", "x", "}", (MODALITY,))
    for wrong in ("{PatientID", "a}b", "{{}"):
        with pytest.raises(ValueError, match="a lone"):
            parse_template(wrong, names.__getitem__)


def test_no_secret_is_ever_shown() -> None:
    change = Hash(path=(NAME,), secret=KEY)
    assert "sixteen" not in repr(change) + str(change) + f"{KEY}{KEY!s}{KEY!r}"
