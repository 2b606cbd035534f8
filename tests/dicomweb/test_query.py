"""The query parameters of a search, as clients write them (PS3.18 8.3.4)."""

from contextlib import suppress
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dicomweb.matching import BadQuery, Between, Exactly, Like
from gateway.dicomweb.query import Query, parse_query


def parsed(text: str) -> Query:
    return parse_query(parse_qsl(text, keep_blank_values=True))


@pytest.mark.parametrize(
    "name",
    ["PatientID", "00100020", "0010,0020", "(0010,0020)"],
)
def test_an_attribute_is_named_by_keyword_or_tag(name: str) -> None:
    (condition,) = parsed(f"{name}=P1").conditions
    assert (condition.path, condition.vr) == ((0x00100020,), "LO")
    assert condition.wanted == (Exactly("P1"),)


@pytest.mark.parametrize(
    "name",
    [
        "00400275.00400009",
        "RequestAttributesSequence.ScheduledProcedureStepID",
        "00400275.ScheduledProcedureStepID",
    ],
)
def test_an_attribute_in_a_sequence_is_named_by_its_path(name: str) -> None:
    (condition,) = parsed(f"{name}=S1").conditions
    assert (condition.path, condition.vr) == ((0x00400275, 0x00400009), "SH")


def test_tags_may_be_in_lower_case_and_private() -> None:
    assert parsed("0008103e=x").conditions[0].path == (0x0008103E,)
    assert parsed("00191008=x").conditions[0].wanted == (Exactly("x"),)


def test_what_is_asked_twice_may_be_either() -> None:
    (condition,) = parsed("Modality=CT&Modality=M*").conditions
    assert condition.wanted == (Exactly("CT"), Like("M*"))
    assert parsed("Modality=CT&Modality=").conditions == ()


def test_includefield_is_repeated_or_a_list_or_all() -> None:
    query = parsed("includefield=00081030%2C00080060&includefield=StudyDescription,PatientAge")
    assert query.include == (0x00081030, 0x00080060, 0x00101010)
    assert not query.everything
    assert parsed("includefield=all").everything


def test_attributes_that_are_matched_are_returned() -> None:
    assert parsed("PatientAge=010Y").include == (0x00101010,)


def test_ranges_of_date_and_time_are_one_span() -> None:
    query = parsed("StudyDate=20260101-20260103&StudyTime=1000-1130")
    assert query.conditions == ()
    (moments,) = query.moments
    assert moments.span == Between("20260101100000000000", "20260103113060999999")


@pytest.mark.parametrize(
    "text",
    [
        "StudyDate=20260101-20260103&StudyTime=10",
        "StudyDate=20260101&StudyTime=1000-1100",
        "StudyDate=20260101-20260103&SeriesTime=1000-1100",
    ],
)
def test_other_dates_and_times_are_matched_each_for_itself(text: str) -> None:
    assert (len(parsed(text).conditions), parsed(text).moments) == (2, ())


def test_paging_is_read() -> None:
    assert (parsed("limit=10&offset=20").limit, parsed("limit=10&offset=20").offset) == (10, 20)
    assert (parsed("").limit, parsed("").offset) == (None, 0)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("PatientNme=x", "did you mean PatientName"),
        ("00100010Z=x", "keyword, or a tag"),
        ("StudyDate=2026-01-01", "StudyDate: '2026-01-01' is no value of VR DA"),
        ("PatientID.Modality=x", "no sequence"),
        ("PixelData=x", "cannot be matched"),
        ("RequestAttributesSequence=x", "cannot be matched"),
        ("limit=-1", "limit is a number"),
        ("limit=1e3", "limit is a number"),
        ("offset=", "offset is a number"),
        ("fuzzymatching=maybe", "fuzzymatching is true or false"),
        ("&".join(f"0010{number:04X}=x" for number in range(0x1000, 0x1041)), "more than 64"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_words(text: str, says: str) -> None:
    with pytest.raises(BadQuery) as refused:
        parsed(text)
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("text", "remark"),
    [
        ("orderby=StudyDate", "the parameter 'orderby' is not supported"),
        ("includefield=Nonsense", "includefield 'Nonsense' is not known"),
        ("SpecificCharacterSet=ISO_IR 100", "SpecificCharacterSet is not matched"),
    ],
)
def test_what_may_be_passed_over_is_said(text: str, remark: str) -> None:
    query = parsed(text)
    assert query.remarks == (remark,)
    assert query.conditions == ()


@pytest.mark.parametrize("text", ["accept=application/json", "_=1700000000", "PatientID="])
def test_what_needs_no_remark_gets_none(text: str) -> None:
    assert parsed(text).remarks == parsed(text).conditions == ()


def test_a_path_adds_its_uids() -> None:
    query = parsed("Modality=CT").within(StudyInstanceUID="1.2", SeriesInstanceUID="")
    assert [condition.path for condition in query.conditions] == [(0x0020000D,), (0x00080060,)]


@given(st.lists(st.tuples(st.text(max_size=20), st.text(max_size=20)), max_size=5))
def test_any_parameters_are_read_or_refused(parameters: list[tuple[str, str]]) -> None:
    with suppress(BadQuery):
        parse_query(parameters)
