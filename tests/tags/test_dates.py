"""Dates that are shifted: by days that are given, or that are drawn for each patient."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from gateway.tags import (
    ShiftDate,
)
from gateway.tags.values import shifted
from gateway.transfer_syntax import TransferSyntax
from tests.dataset.samples import ELE, NATIVE
from tests.tags.samples import (
    ACQUIRED,
    BIRTH,
    KEY,
    STUDY_DATE,
    made,
    patient,
)

encodings = pytest.mark.parametrize("syntax", NATIVE, ids=lambda syntax: syntax.name)


@encodings
def test_dates_are_shifted_by_days_and_times_stay(syntax: TransferSyntax) -> None:
    new = made(
        patient(),
        syntax,
        ShiftDate(path=(STUDY_DATE,), days=1),
        ShiftDate(path=(ACQUIRED,), days=-1),
    )
    assert (new.StudyDate, new.AcquisitionDateTime) == ("20240301", "20240229083000.5+0100")


def test_dates_of_one_patient_are_shifted_alike() -> None:
    def shift(ds: Dataset) -> int:
        changes = [ShiftDate(path=(path,), within=365, secret=KEY) for path in (STUDY_DATE, BIRTH)]
        new = made(ds, ELE, *changes)
        days = {(day(new[tag].value) - day(ds[tag].value)).days for tag in (STUDY_DATE, BIRTH)}
        assert len(days) == 1
        return days.pop()

    drawn = [shift(patient(PatientID=f"P-{number}")) for number in range(50)]
    assert all(-365 <= days <= -1 for days in drawn)
    assert len(set(drawn)) > 30
    assert drawn[0] == shift(patient(PatientID="P-0 "))


def day(text: str) -> date:
    return date(int(text[:4]), int(text[4:6]), int(text[6:8]))


@given(st.dates(), st.integers(-4000, 4000))
def test_a_date_shifted_there_and_back_is_the_same(when: date, days: int) -> None:
    text = f"{when:%Y%m%d}".zfill(8)
    try:
        there = shifted(text, days)
    except ValueError:
        assert not date.min.toordinal() <= when.toordinal() + days <= date.max.toordinal()
    else:
        assert (day(there) - when).days == days
        assert shifted(there, -days) == text
