"""Attribute matching as PS3.4 C.2.2.2 says, one row per kind; patterns against fnmatch."""

from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dicomweb.matching import BadQuery, Condition, fits, fold, like, wanted_of
from gateway.dicomweb.moments import first_moment, range_of


def matches(vr: str, query: str, *values: str, fuzzy: bool = False, empty: bool = False) -> bool:
    """Whether an attribute with these values is found; all are where nothing is asked."""
    wanted = wanted_of(vr, query, fuzzy, empty)
    return not wanted or fits(Condition((0x00080000,), vr, wanted), values)


@pytest.mark.parametrize(
    ("vr", "query", "values", "found"),
    [
        # single value (C.2.2.2.1)
        ("LO", "P-1", ("P-1",), True),
        ("LO", "P-1", ("P-1 ",), True),
        ("LO", "p-1", ("P-1",), False),
        ("LO", "P-1", (), False),
        ("CS", "ORIGINAL", ("DERIVED", "ORIGINAL"), True),
        ("IS", "7", ("007",), True),
        ("DS", "1.50", ("1.5",), True),
        ("DS", "1e1", ("10",), True),
        ("US", "512", ("512",), True),
        ("IS", "seven", ("7",), False),
        # lists of UIDs, by comma or backslash (C.2.2.2.2)
        ("UI", "1.2,1.3", ("1.3",), True),
        ("UI", "1.2\\1.3", ("1.3",), True),
        ("UI", "1.2", ("1.2.3",), False),
        # several values (C.2.2.2.8)
        ("CS", "MR,CT", ("CT",), True),
        ("LO", "A\\B", ("B",), True),
        ("LO", "A,B", ("A,B",), True),
        ("LO", "A,B", ("A",), False),
        # universal (C.2.2.2.3)
        ("LO", "", (), True),
        ("LO", "*", (), True),
        ("DA", "*", ("nonsense",), True),
        ("CS", "CT,*", ("MR",), True),
        # wildcards (C.2.2.2.4)
        ("LO", "P*", ("P-1",), True),
        ("LO", "*", ("",), True),
        ("LO", "?*", ("",), False),
        ("LO", "P-?", ("P-10",), False),
        ("LO", "*-*0", ("P-10",), True),
        ("LO", "A[12]*", ("A1",), False),
        ("LO", "A[12]*", ("A[12]3",), True),
        ("LT", "*\\*", ("C:\\TEMP",), True),
        # ranges (C.2.2.2.5)
        ("DA", "20260101-20260131", ("20260131",), True),
        ("DA", "20260101-20260131", ("20260201",), False),
        ("DA", "20260101 - 20260131", ("20260115",), True),
        ("DA", "-20260131", ("19000101",), True),
        ("DA", "20260131-", ("20260131",), True),
        ("DA", "20260101", ("2026.01.01",), True),
        ("DA", "20260101-", ("",), False),
        ("DA", "20260101-", (), False),
        ("TM", "1000-1100", ("110000",), True),
        ("TM", "1000-1100", ("110059.9",), True),
        ("TM", "1000-1100", ("1101",), False),
        ("TM", "10", ("103015.25",), True),
        ("TM", "103015.25", ("103015.25",), True),
        ("TM", "103015.25", ("103015.26",), False),
        ("TM", "-0900", ("08:59:59",), True),
        ("DT", "20260101", ("20260101120000",), True),
        ("DT", "20260101120000+0100", ("20260101110000",), True),
        ("DT", "20260101110000-20260101130000", ("20260101100000-0200",), True),
        ("DT", "2025-2026", ("202607",), True),
        ("DT", "20260101120000-0500", ("20260101170000",), True),
        # person names: neither case nor accents, each group for itself
        ("PN", "doe^JANE", ("Doe^Jane",), True),
        ("PN", "Doe^Jane", ("Doe^Jane^^^",), True),
        ("PN", "Doe", ("Doe^Jane",), False),
        ("PN", "muller*", ("Müller^Jörg",), True),
        ("PN", "山田*", ("Yamada^Tarou=山田^太郎",), True),
        ("PN", "=山田^太郎", ("Yamada^Tarou=山田^太郎",), True),
        ("PN", "Suzuki*=山田^太郎", ("Yamada^Tarou=山田^太郎",), False),
        ("PN", "=*", ("Doe",), True),
    ],
)
def test_a_value_is_found(vr: str, query: str, values: tuple[str, ...], found: bool) -> None:
    assert matches(vr, query, *values) is found


@pytest.mark.parametrize(
    ("query", "name", "found"),
    [
        ("jane", "Doe^Jane", True),
        ("jan do", "Doe^Jane", True),
        ("Doe, Jane", "Doe^Jane", True),
        ("ane", "Doe^Jane", False),
        ("jane x", "Doe^Jane", False),
        ("Doe^Jane", "Doe^Jane", True),
        ("*oe*", "Doe^Jane", True),
        ("jörg", "Müller^Jorg", True),
        ("太郎", "Yamada^Tarou=山田^太郎", True),
        ("??", "Doe", False),
    ],
)
def test_fuzzy_matching_finds_names_whose_words_begin_so(
    query: str, name: str, found: bool
) -> None:
    assert matches("PN", query, name, fuzzy=True) is found


def test_two_quotation_marks_ask_for_what_is_empty_only_where_that_is_agreed() -> None:
    assert matches("LO", '""', "", empty=True)
    assert matches("LO", '""', empty=True)
    assert matches("PN", '""', "", empty=True)
    assert not matches("LO", '""', "x", empty=True)
    assert not matches("LO", '""', "")


@pytest.mark.parametrize(
    ("vr", "query"),
    [
        ("DA", "2026-01-01"),
        ("DA", "yesterday"),
        ("DA", "202601*"),
        ("DA", "-"),
        ("TM", "25h"),
        ("DT", "20260101+9900"),
        ("UI", "1.2.*"),
        ("UI", "one"),
        ("UI", "1" * 65),
    ],
)
def test_what_is_no_value_of_its_vr_is_refused(vr: str, query: str) -> None:
    with pytest.raises(BadQuery):
        wanted_of(vr, query)


TEXT = st.text("ab^[]\\ü", max_size=12)


@given(st.text("ab*?[]", max_size=12), st.text("ab[]", max_size=12))
def test_patterns_match_as_shell_patterns_do(pattern: str, value: str) -> None:
    assert like(pattern, value) == fnmatchcase(value, pattern.replace("[", "[[]"))


def test_a_pattern_of_many_stars_takes_no_time() -> None:
    assert not like("*a" * 200 + "b", "a" * 2000)


@given(st.text(max_size=30))
def test_folding_twice_changes_nothing_in_ascii(name: str) -> None:
    once = fold(name.encode("ascii", "ignore").decode())
    assert fold(once) == once


@given(st.text("0123456789.+-: ", max_size=26), st.sampled_from(["DA", "TM", "DT"]))
def test_no_text_breaks_the_reading_of_moments(text: str, vr: str) -> None:
    span = range_of(vr, text)
    moment = first_moment(vr, text)
    assert moment == "" or moment.isdecimal()
    assert span is None or all(side == "" or side.isdecimal() for side in span)


@given(st.datetimes(), st.datetimes(), st.datetimes())
def test_ranges_hold_what_lies_between(one: object, two: object, three: object) -> None:
    moments = [f"{each:%Y%m%d%H%M%S.%f}".rjust(21, "0") for each in (one, two, three)]
    low, high = sorted(moments[:2])
    assert matches("DT", f"{low}-{high}", moments[2]) == (low <= moments[2] <= high)


@pytest.mark.parametrize(
    ("vr", "query", "fuzzy"),
    [("LO", "\\".join(map(str, range(101))), False), ("PN", " ".join(["ab"] * 101), True)],
)
def test_lists_longer_than_a_person_means_are_refused(vr: str, query: str, fuzzy: bool) -> None:
    with pytest.raises(BadQuery, match="more than 100"):
        wanted_of(vr, query, fuzzy)


def test_lists_of_uids_may_be_long() -> None:
    assert len(wanted_of("UI", ",".join(f"1.{number}" for number in range(2000)))) == 2000
