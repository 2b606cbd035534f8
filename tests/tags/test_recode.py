"""Text in another character set: all of it, or the instance is held."""

import pytest
from pydicom.dataset import Dataset

from gateway.failures import PermanentFailure
from gateway.tags import Set, TagChanges
from gateway.tags.recode import readable
from gateway.transfer_syntax import TransferSyntax
from tests.dataset.samples import ELE, NATIVE, element, encode
from tests.tags.samples import NAME, made, made_bytes, patient


@pytest.mark.parametrize("syntax", NATIVE, ids=lambda syntax: syntax.name)
def test_all_text_is_written_anew_also_in_items(syntax: TransferSyntax) -> None:
    ds = patient()
    ds.ReferencedImageSequence[0].SpecificCharacterSet = "ISO_IR 144"
    code = Dataset()
    code.CodeMeaning = "Ждём"
    ds.ReferencedImageSequence[0].PurposeOfReferenceCodeSequence = [code]
    new = made(ds, syntax, charsets=("ISO_IR 192",))
    assert new.SpecificCharacterSet == "ISO_IR 192"
    assert (new.PatientName, new.InstitutionName) == ("Müller^Käthe", "Klinik Süd")
    item = new.ReferencedImageSequence[0]
    assert "SpecificCharacterSet" not in item
    assert item.PurposeOfReferenceCodeSequence[0].CodeMeaning == "Ждём"
    data = made_bytes(encode(ds, ELE), ELE, TagChanges((), ("ISO_IR 192",)))
    assert element(NAME, "PN", "Müller^Käthe".encode()) in data


def test_a_change_is_written_in_the_new_character_set() -> None:
    change = Set(path=(NAME,), values=("Ждём",))
    new = made(patient(), ELE, change, charsets=("ISO_IR 192", "ISO_IR 101"))
    assert (new.PatientName, new.InstitutionName) == ("Ждём", "Klinik Süd")


def test_a_text_that_cannot_be_written_holds_the_instance() -> None:
    with pytest.raises(PermanentFailure, match=r"\(0008,0080\) .* 'ISO_IR 144': a char") as held:
        made(patient(), ELE, charsets=("ISO_IR 144",))
    assert "Klinik" not in str(held.value)


YAMADA = "Yamada^Tarou=山田^太郎"


@pytest.mark.parametrize(
    ("wanted", "written"),
    [
        (("ISO_IR 100", "ISO_IR 192"), "ISO_IR 192"),
        (("ISO_IR 192", "ISO 2022 IR 87"), "ISO_IR 192"),
        (("ISO 2022 IR 87", "ISO_IR 192"), ["", "ISO 2022 IR 87"]),
        (("ISO_IR 144", "ISO 2022 IR 6", "ISO 2022 IR 87"), ["ISO 2022 IR 6", "ISO 2022 IR 87"]),
        (("GB18030",), "GB18030"),
    ],
)
def test_the_first_that_has_every_character_is_taken(
    wanted: tuple[str, ...], written: str | list[str]
) -> None:
    ds = patient(PatientName=YAMADA, InstitutionName="病院")
    ds.SpecificCharacterSet = "ISO_IR 192" if "ISO_IR 192" not in wanted else "GB18030"
    new = made(ds, ELE, charsets=wanted)
    assert new.SpecificCharacterSet == written
    assert (str(new.PatientName), new.InstitutionName) == (YAMADA, "病院")


def test_where_none_has_every_character_each_is_named() -> None:
    ds = patient(PatientName=YAMADA, SpecificCharacterSet="ISO_IR 192")
    with pytest.raises(PermanentFailure, match=r"'ISO_IR 100': .*; .* 'ISO 2022 IR 13'"):
        made(ds, ELE, charsets=("ISO_IR 100", "ISO 2022 IR 13"))


def test_a_text_without_a_meaning_holds_the_instance() -> None:
    data = encode(patient(), ELE).replace(b"ISO_IR 100", b"ISO_IR 192")
    with pytest.raises(PermanentFailure, match="gives no meaning"):
        made_bytes(data, ELE, TagChanges((), ("ISO_IR 100",)))


@pytest.mark.parametrize("wanted", [("ISO_IR 192", "ISO_IR 100"), ("ISO_IR 100",)])
def test_what_is_read_already_keeps_its_bytes(wanted: tuple[str, ...]) -> None:
    data = encode(patient(), ELE)
    assert made_bytes(data, ELE, TagChanges((), wanted)) == data


def test_the_default_repertoire_is_read_by_everybody() -> None:
    ds = patient(InstitutionName="Clinic", PatientName="Doe")
    del ds.SpecificCharacterSet
    data = encode(ds, ELE)
    assert made_bytes(data, ELE, TagChanges((), ("ISO_IR 144",))) == data
    assert readable("", ("ISO_IR 144",))
    assert readable("ISO_IR 6", ("ISO_IR 144",))
    assert not readable("\\ISO 2022 IR 87", ("ISO_IR 144",))
