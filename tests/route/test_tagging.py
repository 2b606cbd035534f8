"""What a route's changes make of a header, and of a data set's bytes."""

from io import BytesIO

import pydicom
import pytest
from pydicom.data import get_testdata_file

from gateway.config.tags import Tags
from gateway.dataset.edit import new_value, new_values
from gateway.dataset.header import texts
from gateway.dataset.part10 import read_file_meta
from gateway.dataset.rewrite import rewrite
from gateway.failures import PermanentFailure
from gateway.route.tagging import NewText, Tagging, compile_tags
from gateway.transfer_syntax import BY_UID

KEY = b"a secret of the hospital"


def _tagging(**tags: object) -> Tagging:
    needs = "hash" in tags or "up_to" in str(tags.get("shift_dates"))
    secret = {"key_file": "k"} if needs else {}
    return compile_tags(Tags.model_validate({**tags, **secret, "identity": "true"}))


def _text(tagging: Tagging, key: bytes = KEY, **header: str) -> str | None:
    (change,) = tagging.of(header, key).values() or (None,)
    return None if change is None else change.text


def test_values_are_set_and_left_out_whatever_was_there() -> None:
    tagging = _tagging(set={"StationName": "S1", "ImageType": ["A", "B"]}, remove=["PatientID"])
    assert tagging.of({}, b"") == {
        0x00100020: None,
        0x00081010: NewText("SH", "S1"),
        0x00080008: NewText("CS", "A\\B"),
    }
    assert tagging.reads == {}


def test_an_attribute_is_copied_where_it_is_there() -> None:
    tagging = _tagging(copy={"StudyDescription": "SeriesDescription"})
    assert _text(tagging, SeriesDescription="head") == "head"
    assert tagging.of({}, b"") == {}
    assert tagging.reads == {0x0008103E: "SeriesDescription"}


def test_a_template_holds_values_and_no_blanks_of_missing_ones() -> None:
    tagging = _tagging(template={"StudyDescription": "{Modality} {BodyPartExamined} {StudyDate}"})
    assert _text(tagging, Modality="CT", StudyDate="20261122") == "CT 20261122"


def test_a_hash_is_the_same_for_the_same_value_and_another_for_another_key() -> None:
    tagging = _tagging(hash=["PatientID"])
    first = _text(tagging, PatientID="P1")
    assert first == _text(tagging, PatientID="P1")
    assert first != _text(tagging, PatientID="P2")
    assert first != _text(tagging, key=b"other", PatientID="P1")
    assert first is not None
    assert len(first) == 16
    assert tagging.of({}, KEY) == {}


def test_a_hashed_uid_is_a_uid() -> None:
    uid = _text(_tagging(hash=["StudyInstanceUID"]), StudyInstanceUID="1.2.3")
    assert uid is not None
    assert uid.startswith("2.25.")
    assert pydicom.uid.UID(uid).is_valid


def test_without_its_key_nothing_is_changed() -> None:
    with pytest.raises(ValueError, match="key"):
        _tagging(hash=["PatientID"]).of({"PatientID": "1"}, b"")


def test_what_a_pattern_finds_is_replaced() -> None:
    tagging = _tagging(replace={"StudyDescription": {"find": "(MR)-([0-9]+)", "with": r"\2 \1"}})
    assert _text(tagging, StudyDescription="MR-17 and MR-4") == "17 MR and 4 MR"
    assert tagging.of({"StudyDescription": "CT"}, b"") == {}


def test_dates_are_moved_by_days_and_times_stay() -> None:
    tagging = _tagging(shift_dates={"attributes": ["AcquisitionDateTime"], "days": "-31"})
    assert _text(tagging, AcquisitionDateTime="20260131083000.5") == "20251231083000.5"


def test_a_date_that_is_none_does_not_stay() -> None:
    tagging = _tagging(shift_dates={"attributes": ["StudyDate"], "days": "1"})
    assert _text(tagging, StudyDate="2026-1-1") == ""


def test_all_dates_of_a_patient_move_by_as_many_days() -> None:
    tagging = _tagging(shift_dates={"attributes": ["StudyDate", "SeriesDate"], "up_to": "365"})
    header = {"StudyDate": "20260110", "SeriesDate": "20260112", "PatientID": "P1"}
    study, series = (each.text for each in tagging.of(header, KEY).values() if each)
    assert study < "20260110"
    assert int(series[-2:]) - int(study[-2:]) in (2, -29, -28)
    other = tagging.of({**header, "PatientID": "P2"}, KEY)
    assert other != tagging.of(header, KEY)


@pytest.mark.parametrize(
    "name", ["CT_small.dcm", "MR_small_bigendian.dcm", "MR_small_implicit.dcm"]
)
def test_every_other_element_stays_byte_for_byte(name: str) -> None:
    with open(get_testdata_file(name), "rb") as file:  # noqa: PTH123
        data = file.read()
    meta = read_file_meta(data)
    syntax = BY_UID[meta.transfer_syntax]
    tagging = _tagging(
        set={"StationName": "ÄÖ" if name == "CT_small.dcm" else "AO"},
        remove=["StudyDescription"],
        hash=["PatientID"],
    )
    header, _ = texts(data, meta.dataset_offset, len(data), syntax, dict(tagging.reads))
    changes = new_values(tagging.of(header, KEY), "ISO_IR 100")
    span = data, meta.dataset_offset, len(data), syntax, syntax
    changed = b"".join(rewrite(*span, changes))
    whole = pydicom.dcmread(BytesIO(data[: meta.dataset_offset] + changed))
    before = pydicom.dcmread(BytesIO(data))
    for element in before:
        if element.tag not in changes:
            assert whole[element.tag] == element
    assert "StudyDescription" not in whole
    assert whole.StationName.startswith(("A", "Ä"))
    assert len(whole.PatientID) == 16


def test_a_character_that_the_data_set_cannot_have_is_refused() -> None:
    assert new_value("LO", "Müller", "ISO_IR 100").value == "Müller".encode("latin-1")
    assert new_value("LO", "山田", "ISO_IR 192").value == "山田".encode()
    with pytest.raises(PermanentFailure, match="ISO_IR 100"):
        new_value("LO", "山田", "ISO_IR 100")
    with pytest.raises(PermanentFailure, match="ISO_IR 6"):
        new_value("LO", "Ü", "")


def test_numbers_are_packed() -> None:
    assert new_value("US", "1\\258", "").value == b"\x01\x00\x02\x01"
