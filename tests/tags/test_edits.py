"""Changes worked out from a data set and written into it, in every native encoding."""

import hashlib
import hmac

import pytest
from pydicom.dataset import Dataset

from gateway.failures import PermanentFailure
from gateway.tags import (
    Change,
    Copy,
    Hash,
    Private,
    Remove,
    Replace,
    Set,
    ShiftDate,
    TagChanges,
    Template,
)
from gateway.tags.edits import edits
from gateway.tags.reading import read
from gateway.transfer_syntax import TransferSyntax
from gateway.value_representation import check as check_value
from tests.dataset.samples import EBE, ELE, ILE, NATIVE, element, encode
from tests.tags.samples import (
    ACQUIRED,
    BIRTH,
    CODE,
    COMMENTS,
    CREATOR,
    ID,
    INSTITUTION,
    KEY,
    MODALITY,
    NAME,
    NUMBER,
    OTHER_KEY,
    PRIVATE,
    PROTOCOL_CODES,
    REFERENCED,
    REFERENCED_UID,
    REQUEST,
    SMALLEST,
    SOP_INSTANCE,
    STEP,
    STUDY,
    STUDY_DATE,
    STUDY_DESCRIPTION,
    WEIGHT,
    made,
    made_bytes,
    patient,
)

encodings = pytest.mark.parametrize("syntax", NATIVE, ids=lambda syntax: syntax.name)


def same_but(old: Dataset, new: Dataset, *tags: int) -> bool:
    """Whether nothing else differs."""
    one, other = Dataset(old), Dataset(new)
    for tag in tags:
        for each in (one, other):
            each.pop(tag, None)
    return one == other


def text_in(value: object) -> str:
    """A private text, of which pydicom does not know in Implicit VR that it is one."""
    return value.decode().strip() if isinstance(value, bytes) else str(value)


@encodings
def test_attributes_are_set_by_their_vr(syntax: TransferSyntax) -> None:
    new = made(
        patient(),
        syntax,
        Set(path=(NAME,), values=("Doe^Jané",)),
        Set(path=(0x00080008,), values=("DERIVED", "SECONDARY")),
        Set(path=(0x00180050,), values=("1.25",)),
        Set(path=(0x00280120,), values=("-2000",)),
        Set(path=(0x00189305,), values=("0.5",)),
        Set(path=(0x00280009,), values=("00181063",)),
        Set(path=(INSTITUTION,), values=()),
    )
    assert (new.PatientName, new.SliceThickness, new.InstitutionName) == ("Doe^Jané", 1.25, "")
    assert list(new.ImageType) == ["DERIVED", "SECONDARY"]
    assert new.PixelPaddingValue == -2000
    assert new.RevolutionTime == 0.5
    assert new.FrameIncrementPointer == 0x00181063
    more = (NAME, 0x00080008, 0x00180050, 0x00280120, 0x00189305, 0x00280009, INSTITUTION)
    assert same_but(made(patient(), syntax), new, *more)


@encodings
def test_a_signed_attribute_stays_signed(syntax: TransferSyntax) -> None:
    """Its VR depends on Pixel Representation (PS3.5 A.1)."""
    new = made(patient(), syntax, Set(path=(SMALLEST,), values=("-9",)))
    assert new.SmallestImagePixelValue == -9
    with pytest.raises(PermanentFailure, match=r"\(0028,0106\): a number that no SS can hold"):
        made(patient(), syntax, Set(path=(SMALLEST,), values=("40000",)))


@encodings
def test_what_is_removed_is_gone_with_all_inside(syntax: TransferSyntax) -> None:
    changes = [Remove(path=(path,)) for path in (NAME, REFERENCED, PRIVATE, WEIGHT, 0x00080050)]
    new = made(patient(), syntax, *changes)
    for tag in (NAME, REFERENCED, WEIGHT, 0x00191008):
        assert tag not in new
    assert same_but(made(patient(), syntax), new, NAME, REFERENCED, WEIGHT, 0x00191008)


@encodings
def test_paths_lead_into_all_items(syntax: TransferSyntax) -> None:
    ds = patient()
    ds.ReferencedImageSequence.append(Dataset())
    new = made(
        ds,
        syntax,
        Hash(path=(REFERENCED, REFERENCED_UID), secret=KEY, identity=True),
        Hash(path=(SOP_INSTANCE,), secret=KEY, identity=True),
    )
    first, second, third = new.ReferencedImageSequence
    assert first.ReferencedSOPInstanceUID == new.SOPInstanceUID != "1.2.3.4"
    assert second.ReferencedSOPInstanceUID not in ("1.2.3.5", new.SOPInstanceUID)
    assert "ReferencedSOPInstanceUID" not in third
    assert first.ReferencedSOPClassUID == ds.SOPClassUID


@encodings
def test_inside_a_sequence_that_is_absent_or_empty_nothing_is_made(
    syntax: TransferSyntax,
) -> None:
    """An item of one attribute alone would lack what else the standard wants in it."""
    ds = patient(RequestAttributesSequence=[])
    data = encode(ds, syntax)
    changes = (
        Set(path=(REQUEST, STEP), values=("SPS-1",)),
        Template(path=(0x00400555, PROTOCOL_CODES, 0x00080100), parts=("X-", (MODALITY,))),
        Set(path=(Private(0x0021, 1, "NOBODY"), STEP), values=("SPS-1",)),
    )
    assert made_bytes(data, syntax, TagChanges(changes)) == data


@encodings
def test_what_is_set_in_an_item_is_added_to_it(syntax: TransferSyntax) -> None:
    item = Dataset()
    item.ScheduledProtocolCodeSequence = [Dataset()]
    new = made(
        patient(RequestAttributesSequence=[item, Dataset()]),
        syntax,
        Set(path=(REQUEST, STEP), values=("SPS-1",)),
        Template(path=(REQUEST, PROTOCOL_CODES, CODE), parts=("X-", (MODALITY,))),
        Set(path=(REQUEST, PRIVATE), values=("in an item",), vr="LO"),
    )
    first, second = new.RequestAttributesSequence
    assert first.ScheduledProcedureStepID == second.ScheduledProcedureStepID == "SPS-1"
    assert first.ScheduledProtocolCodeSequence[0].CodeValue == "X-CT"
    assert "ScheduledProtocolCodeSequence" not in second
    assert text_in(first.private_block(0x0019, CREATOR)[0x08].value) == "in an item"


@encodings
def test_a_source_in_the_same_sequence_is_that_of_the_same_item(syntax: TransferSyntax) -> None:
    """Elsewhere it is the first item that has it."""
    requests = [Dataset() for _ in range(3)]
    requests[0].RequestedProcedureID, requests[1].RequestedProcedureID = "R-1", "R-2"
    new = made(
        patient(RequestAttributesSequence=requests),
        syntax,
        Copy(path=(REQUEST, STEP), source=(REQUEST, 0x00401001)),
        Template(path=(REQUEST, 0x00400007), parts=((REQUEST, 0x00401001), "/", (NUMBER,))),
        Copy(path=(STUDY_DESCRIPTION,), source=(REQUEST, 0x00401001)),
    )
    first, second, third = new.RequestAttributesSequence
    assert [first.ScheduledProcedureStepID, second.ScheduledProcedureStepID] == ["R-1", "R-2"]
    assert "ScheduledProcedureStepID" not in third
    assert second.ScheduledProcedureStepDescription == "R-2/7"
    assert third.ScheduledProcedureStepDescription == "/7"
    assert new.StudyDescription == "R-1"


@encodings
def test_a_private_element_is_found_by_its_creator_wherever_its_block_is(
    syntax: TransferSyntax,
) -> None:
    ds = Dataset()
    ds.private_block(0x0019, "OTHER", create=True).add_new(0x08, "LO", "theirs")
    ds.private_block(0x0019, CREATOR, create=True).add_new(0x08, "LO", "ours")
    new = made(
        ds,
        syntax,
        Replace(path=(PRIVATE,), pattern="ours", replacement="mine", vr="LO"),
        Set(path=(Private(0x0019, 0x01, "NEW ONE"),), values=("1", "2"), vr="UL"),
        Set(path=(Private(0x0019, 0x02, "NEW ONE"),), values=("x",), vr="SH"),
        Hash(path=(Private(0x0019, 0x08, "NOBODY"),), secret=KEY, vr="LO"),
    )
    assert [new[0x00190000 | number].value for number in (0x10, 0x11, 0x12)] == [
        "OTHER",
        CREATOR,
        "NEW ONE",
    ]
    assert [text_in(new[tag].value) for tag in (0x00191008, 0x00191108)] == ["theirs", "mine"]
    if syntax.explicit:
        assert list(new[0x00191201].value) == [1, 2]
    assert len(new) == 7


def test_a_group_without_a_free_private_block_is_refused() -> None:
    ds = Dataset()
    for number in range(0x10, 0x100):
        ds.add_new(0x00190000 | number, "LO", f"CREATOR {number}")
    with pytest.raises(PermanentFailure, match="group 0019 has no free private block"):
        made(ds, ELE, Set(path=(PRIVATE,), values=("x",), vr="LO"))


@encodings
def test_copies_and_templates_take_the_values_that_came(syntax: TransferSyntax) -> None:
    """No change sees what another made."""
    new = made(
        patient(),
        syntax,
        Set(path=(MODALITY,), values=("MR",)),
        Copy(path=(STUDY_DESCRIPTION,), source=(INSTITUTION,)),
        Copy(path=(COMMENTS,), source=(COMMENTS,)),
        Copy(path=(0x00081080,), source=(REFERENCED, REFERENCED_UID)),
        Copy(path=(0x00080050,), source=(0x00081070,)),
        Template(path=(0x00081010,), parts=((MODALITY,), "-", (NUMBER,), "/", (0x00280103,))),
    )
    assert (new.Modality, new.StudyDescription, new.StationName) == ("MR", "Klinik Süd", "CT-7/1")
    assert new.PatientComments == "eins\\zwei"
    assert new.AdmittingDiagnosesDescription == "1.2.3.4"
    assert "AccessionNumber" not in new


def test_what_a_template_makes_must_fit() -> None:
    ds = patient(StudyDescription="a rather long description")
    with pytest.raises(PermanentFailure, match=r"\(0008,1010\): 27 characters; a SH has") as held:
        made(ds, ELE, Template(path=(0x00081010,), parts=((STUDY_DESCRIPTION,), "-1")))
    assert "rather" not in str(held.value)


@encodings
def test_a_hash_is_the_keyed_digest_of_the_value_without_padding(syntax: TransferSyntax) -> None:
    wanted = [
        Hash(path=(ID,), secret=KEY, identity=True),
        Hash(path=(NAME,), secret=KEY, length=12),
        Hash(path=(STUDY,), secret=KEY, identity=True),
        Hash(path=(0x00101000,), secret=KEY, length=8),
    ]
    new = made(patient(OtherPatientIDs=["P-0815", ""]), syntax, *wanted)
    digest = hmac.digest(bytes(KEY), b"P-0815", hashlib.sha256).hex().upper()
    assert new.PatientID == digest[:16]
    assert list(new[0x00101000].value) == [digest[:8], ""]
    assert len(str(new.PatientName)) == 12
    assert new.StudyInstanceUID.startswith("2.25.")
    assert new == made(patient(OtherPatientIDs=["P-0815", ""]), syntax, *wanted)


def test_a_hashed_uid_holds_a_uuid_and_another_key_gives_another() -> None:
    """PS3.5 B.2, RFC 9562 5.8."""
    uids = {
        str(made(patient(), ELE, Hash(path=(STUDY,), secret=key, identity=True)).StudyInstanceUID)
        for key in (KEY, OTHER_KEY)
    }
    assert len(uids) == 2
    for uid in uids:
        check_value("UI", uid)
        number = int(uid.removeprefix("2.25."))
        assert number < 2**128
        assert (number >> 76 & 0xF, number >> 62 & 0b11) == (8, 0b10)


def test_nothing_is_made_of_what_is_absent_or_empty() -> None:
    ds = patient(PatientBirthDate="")
    del ds.PatientName
    changes = [
        Hash(path=(NAME,), secret=KEY),
        ShiftDate(path=(BIRTH,), days=3),
        Replace(path=(0x00080050,), pattern="", replacement="x"),
    ]
    data = encode(ds, ELE)
    assert made_bytes(data, ELE, TagChanges(tuple(changes))) == data


@encodings
def test_a_pattern_is_replaced_in_every_value(syntax: TransferSyntax) -> None:
    new = made(
        patient(OtherPatientNames=["Müller^A", "Muller^B"]),
        syntax,
        Replace(path=(NAME,), pattern=r"^([^^]+)\^(.+)$", replacement=r"\2^\1"),
        Replace(path=(0x00101001,), pattern="ü|u", replacement="ue"),
        Replace(path=(COMMENTS,), pattern=r"\\", replacement=" "),
    )
    assert new.PatientName == "Käthe^Müller"
    assert [str(name) for name in new.OtherPatientNames] == ["Mueller^A", "Mueller^B"]
    assert new.PatientComments == "eins zwei"


@encodings
def test_what_takes_the_place_of_a_pattern_keeps_its_signs(syntax: TransferSyntax) -> None:
    new = made(
        patient(PatientName="Mueller^Jürgen"),
        syntax,
        Replace(path=(NAME,), pattern="(M)ueller|(x)", replacement=r"\1üller\2-\0"),
        Replace(path=(COMMENTS,), pattern="(eins)", replacement=r"\12 über \0"),
    )
    assert new.PatientName == "Müller-Mueller^Jürgen"
    assert new.PatientComments == r"eins2 über eins\zwei"


HELD: list[tuple[Change, dict[str, str], str]] = [
    (ShiftDate(path=(BIRTH,), days=1), {"PatientBirthDate": "1961"}, "without a whole date"),
    (ShiftDate(path=(BIRTH,), days=1), {"PatientBirthDate": "99991231"}, "does not exist"),
    (ShiftDate(path=(BIRTH,), within=9, secret=KEY), {"PatientID": ""}, "is empty"),
    (Set(path=(NAME,), values=("山田",)), {}, r"\(0010,0010\): a character that Specific"),
    (Copy(path=(STUDY_DATE,), source=(NAME,)), {}, "no value of VR DA"),
    (Replace(path=(ID,), pattern="P", replacement="\\\\\\\\", identity=True), {}, "backslash"),
    (Hash(path=(STUDY,), secret=KEY, identity=True), {"StudyInstanceUID": "x"}, "VR UI: a UID"),
    (Copy(path=(STUDY,), source=(0x00080050,), identity=True), {"AccessionNumber": ""}, "empty"),
    (Template(path=(STUDY,), parts=((0x00080050,),), identity=True), {}, "would be empty"),
]


@pytest.mark.filterwarnings("ignore:Invalid value")
@pytest.mark.parametrize(("change", "facts", "why"), HELD)
def test_what_cannot_be_done_holds_the_instance_and_quotes_no_value(
    change: Change, facts: dict[str, str], why: str
) -> None:
    ds = patient(**facts)
    with pytest.raises(PermanentFailure, match=why) as held:
        made(ds, ILE, change)
    for value in (ds.PatientName, ds.PatientID, ds.PatientBirthDate, "山田"):
        assert not value or str(value) not in str(held.value)


def test_text_is_written_in_the_character_set_of_its_item() -> None:
    ds = patient()
    ds.ReferencedImageSequence[1].SpecificCharacterSet = "ISO_IR 192"
    change = Set(path=(REFERENCED, STUDY_DESCRIPTION), values=("Größe",))
    data = made_bytes(encode(ds, ELE), ELE, TagChanges((change,)))
    assert data.count("Größe".encode("latin-1")) == 1
    assert data.count("Größe".encode()) == 1


def test_un_is_little_endian_whatever_stands_around_it() -> None:
    """PS3.5 6.2.2; its VR is the dictionary's."""
    data = element(0x0008002A, "UN", b"2024", EBE) + element(0x00280103, "US", b"\0\0", EBE)
    data += element(SMALLEST, "UN", b"\7\0", EBE)
    change = Template(path=(INSTITUTION,), parts=((SMALLEST,), "/", (ACQUIRED,)))
    made = made_bytes(data, EBE, TagChanges((change,)))
    assert element(INSTITUTION, "LO", b"7/2024", EBE) in made


def test_edits_are_nothing_where_nothing_is_asked_for() -> None:
    data = encode(patient(), ELE)
    assert edits(TagChanges(), read(data, [(0, len(data))], ELE)) == {}


def test_other_changes_have_another_digest_and_other_secrets_too() -> None:
    wanted: list[tuple[Change, ...]] = [
        (),
        (Remove(path=(NAME,)),),
        (Remove(path=(ID,), identity=True),),
        (Set(path=(NAME,), values=()),),
        (Hash(path=(NAME,), secret=KEY),),
        (Hash(path=(NAME,), secret=OTHER_KEY),),
        (Remove(path=(Private(0x0019, 1, "A"),)),),
        (Remove(path=(Private(0x0019, 1, "B"),)),),
    ]
    digests = {TagChanges(changes).digest for changes in wanted}
    digests.add(TagChanges((), ("ISO_IR 192",)).digest)
    assert len(digests) == len(wanted) + 1
    assert TagChanges(wanted[4]).digest == TagChanges(wanted[4]).digest
    assert not TagChanges()
    assert TagChanges((), ("ISO_IR 192",))
