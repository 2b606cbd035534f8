"""What the database finds is what a look at every instance finds; and it finds it by its indexes.

The oracle knows nothing of normal forms: its values are written so that plain comparisons do.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dicomweb.query import Level, parse_query
from gateway.index.entry import Entry, Reception, entry_of
from gateway.index.schema import INDEX, connect, prepare
from gateway.index.select import selection
from gateway.index.write import add, forget

DATES = ("20260101", "20260102", "20260215", "20270101")
TIMES = ("080000", "101500", "235959")
NAMES = ("Doe^Jane", "Doe^Jan", "Roe^Ann", "Do^X")
IDS = ("P1", "P2", "P10", "p1")
MODALITIES = ("CT", "MR", "SR")
VR = {
    0x00080020: "DA",
    0x00080030: "TM",
    0x00100020: "LO",
    0x00080060: "CS",
    0x00200013: "IS",
    0x00200011: "IS",
}


@dataclass(frozen=True)
class One:
    """An instance as the oracle sees it; study and series attributes depend on their UIDs."""

    study: int
    series: int
    number: int

    @property
    def values(self) -> dict[int, str]:
        pick = self.study * 7 + 3
        return {
            0x00080020: DATES[self.study % len(DATES)],
            0x00080030: TIMES[pick % len(TIMES)],
            0x00100010: NAMES[pick % len(NAMES)],
            0x00100020: IDS[self.study % len(IDS)],
            0x00080060: MODALITIES[(self.study + self.series) % len(MODALITIES)],
            0x00200011: str(self.series),
            0x00200013: str(self.number),
        }

    @property
    def uids(self) -> tuple[str, str, str]:
        study = f"1.{self.study}"
        return study, f"{study}.{self.series}", f"{study}.{self.series}.{self.number}"

    def entry(self, spool_id: int) -> Entry:
        """What the index would have read of it."""
        texts = {}
        for tag, value in self.values.items():
            shown = f'{{"Alphabetic":"{value}"}}' if tag == 0x00100010 else f'"{value}"'
            vr = VR.get(tag, "PN")
            shown = value if vr == "IS" else shown
            texts[tag] = f'"{tag:08X}":{{"vr":"{vr}","Value":[{shown}]}}'
        study, series, uid = self.uids
        return entry_of(Reception(spool_id, uid, "1.2", "1.2.1", study, series), texts)


ALL = [
    One(study, series, number)
    for study in range(9)
    for series in range(1, 1 + study % 3 + 1)
    for number in range(1, 1 + (study + series) % 4 + 1)
]


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    """Everything, some of it received twice and some of that forgotten again."""
    file = tmp_path_factory.mktemp("index") / INDEX
    prepare(file)
    with closing(connect(file, "rw")) as connection:
        again = [one for one in ALL if one.number == 1]
        entries = {number: one.entry(number) for number, one in enumerate([*ALL, *again], 1)}
        add(connection, entries.values(), entries.get)
        forget(connection, range(len(ALL) + 1, len(ALL) + 1 + len(again) // 2), entries.get)
        yield connection


def found(connection: sqlite3.Connection, level: Level, query: str) -> list[str]:
    """The UIDs that a query finds, in order."""
    selected = selection(
        parse_query(tuple(part.split("=", 1)) for part in query.split("&")), level
    )  # type: ignore[misc]
    assert not selected.rest
    sql, parameters = selected.ids()
    table = ("study", "series", "instance")[level]
    key = ("study_id", "series_id", "spool_id")[level]
    ids = [row[0] for row in connection.execute(sql, parameters)]
    count, values, _ = selected.count()
    assert connection.execute(count, values).fetchone() == (len(ids),)
    uid = f"SELECT uid FROM {table} WHERE {key} = ?"  # noqa: S608
    return [connection.execute(uid, (each,)).fetchone()[0] for each in ids]


def a_range(values: tuple[str, ...]) -> st.SearchStrategy[str]:
    one = st.sampled_from(values)
    return st.one_of(
        one,
        st.builds("{}-".format, one),
        st.builds("-{}".format, one),
        st.builds(lambda a, b: "{}-{}".format(*sorted((a, b))), one, one),
    )


def a_pattern(values: tuple[str, ...]) -> st.SearchStrategy[str]:
    """A value with some of its letters turned to wildcards."""

    def spoilt(value: str, at: int, by: str, length: int) -> str:
        return value[: at % len(value)] + by + value[at % len(value) + length :]

    ats = st.integers(0, 9)
    return st.builds(spoilt, st.sampled_from(values), ats, st.sampled_from("*?"), ats)


MATCHES = {
    "StudyDate": (0x00080020, a_range(DATES)),
    "StudyTime": (0x00080030, a_range(TIMES)),
    "PatientName": (0x00100010, a_pattern(NAMES)),
    "PatientID": (0x00100020, st.one_of(st.sampled_from(IDS), a_pattern(IDS))),
    "Modality": (0x00080060, st.lists(st.sampled_from(MODALITIES), min_size=1).map(",".join)),
    "SeriesNumber": (0x00200011, st.sampled_from("123")),
    "InstanceNumber": (0x00200013, st.sampled_from("1234")),
}


def fits(name: str, asked: str, value: str) -> bool:
    """The oracle."""
    if name in ("StudyDate", "StudyTime"):
        low, hyphen, high = asked.partition("-")
        return value == asked if not hyphen else low <= value <= (high or "9")
    if name == "Modality":
        return value in asked.split(",")
    if name == "PatientName":
        return fnmatchcase(value.lower(), asked.lower())
    return fnmatchcase(value, asked)


def combined(asked: dict[str, str], values: dict[int, str]) -> bool | None:
    """Two ranges of the date and the time of a study are one; None where they are not two."""
    date, time = asked.get("StudyDate", ""), asked.get("StudyTime", "")
    if "-" not in date or "-" not in time or date.partition("-")[0] == date.partition("-")[2]:
        return None
    (first, _, last), (begin, _, end) = date.partition("-"), time.partition("-")
    moment = values[0x00080020] + values[0x00080030]
    low = first and first + (begin or "000000")
    high = last and last + (end or "240000")
    return low <= moment <= (high or "9")


def expected(asked: dict[str, str], level: Level) -> set[str]:
    """UIDs of what has, at or above or below it, one instance for which all holds."""
    uids = set()
    for one in ALL:
        values = one.values
        single = combined(asked, values)
        names = [n for n in asked if single is None or n not in ("StudyDate", "StudyTime")]
        if single is not False and all(fits(n, asked[n], values[MATCHES[n][0]]) for n in names):
            uids.add(one.uids[level])
    return uids


@given(
    st.fixed_dictionaries({}, optional={name: values for name, (_, values) in MATCHES.items()}),
    st.sampled_from(Level),
)
def test_the_database_finds_what_a_look_at_every_instance_finds(
    held: sqlite3.Connection, asked: dict[str, str], level: Level
) -> None:
    query = "&".join(f"{name}={value}" for name, value in asked.items()) or "limit=9999"
    uids = found(held, level, query)
    assert len(uids) == len(set(uids))
    assert set(uids) == expected(asked, level)


def test_studies_come_latest_first_and_their_parts_by_number(held: sqlite3.Connection) -> None:
    dates = {one.uids[0]: one.values[0x00080020] + one.values[0x00080030] for one in ALL}
    studies = found(held, Level.STUDY, "limit=99")
    assert [dates[uid] for uid in studies] == sorted(dates.values(), reverse=True)
    instances = found(held, Level.INSTANCE, "limit=99")
    key = {one.uids[2]: (studies.index(one.uids[0]), one.series, one.number) for one in ALL}
    assert instances == sorted(instances, key=lambda uid: key[uid])


@pytest.mark.parametrize(
    ("query", "uids"),
    [
        ("ModalitiesInStudy=SR&StudyInstanceUID=1.1", ["1.1"]),
        ("ModalitiesInStudy=MR&StudyInstanceUID=1.1", []),
        ("StudyInstanceUID=1.1,1.2&NumberOfStudyRelatedSeries=3", ["1.2"]),
        ("SeriesInstanceUID=1.2.3", ["1.2"]),
        ("SOPInstanceUID=1.2.3.1\\1.1.1.1", ["1.2", "1.1"]),
        ("PatientName=jane d&fuzzymatching=true&StudyInstanceUID=1.3", ["1.3"]),
        ('AccessionNumber=""&emptyvaluematching=true&StudyInstanceUID=1.3', ["1.3"]),
        ('AccessionNumber=""&StudyInstanceUID=1.3', []),
        ("BodyPartExamined=HEAD", []),
    ],
)
def test_other_keys_find_studies(held: sqlite3.Connection, query: str, uids: list[str]) -> None:
    assert sorted(found(held, Level.STUDY, query)) == sorted(uids)


@pytest.mark.parametrize(
    ("level", "query", "by"),
    [
        (Level.STUDY, "StudyDate=20260101-20260131", "study_by_date"),
        (Level.STUDY, "PatientID=P1", "study_by_patient_id"),
        (Level.STUDY, "AccessionNumber=A1", "study_by_accession"),
        (Level.STUDY, "PatientName=doe*", "study_by_patient"),
        (Level.STUDY, "SOPInstanceUID=1.2.3", "instance_by_uid"),
        (Level.SERIES, "SeriesInstanceUID=1.2.3", "series_by_uid"),
        (Level.INSTANCE, "SOPInstanceUID=1.2.3", "instance_by_uid"),
    ],
)
def test_indexed_keys_are_looked_up(
    held: sqlite3.Connection, level: Level, query: str, by: str
) -> None:
    plan = _plan(held, level, query)
    assert any(by in step and step.startswith("SEARCH") for step in plan), plan


@pytest.mark.parametrize("level", Level)
@pytest.mark.parametrize("query", ["limit=10", "StudyDate=20260101-20260131"])
def test_pages_by_date_are_found_without_sorting(
    held: sqlite3.Connection, level: Level, query: str
) -> None:
    plan = _plan(held, level, query)
    assert not any("TEMP B-TREE" in step for step in plan), plan


def _plan(connection: sqlite3.Connection, level: Level, query: str) -> list[str]:
    parsed = parse_query([tuple(query.split("=", 1))])  # type: ignore[list-item]
    sql, parameters = selection(parsed, level).ids()
    return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", parameters)]


def test_modalities_are_looked_at_where_all_else_holds() -> None:
    """They cost most, and nearly every study of an archive has the one that is asked for."""
    query = parse_query([("ModalitiesInStudy", "CT"), ("PatientName", "*oe*")])
    sql, _ = selection(query, Level.STUDY).ids()
    assert sql.index("st.patient") < sql.index("st.modalities")


def test_a_list_of_thousands_of_uids_is_looked_up(held: sqlite3.Connection) -> None:
    uids = ",".join(["1.2.3.1", *(f"9.{number}" for number in range(4000))])
    assert found(held, Level.INSTANCE, f"SOPInstanceUID={uids}") == ["1.2.3.1"]


@pytest.mark.parametrize("fuzzy", ["true", "false"])
def test_the_longest_lists_of_names_are_looked_up(held: sqlite3.Connection, fuzzy: str) -> None:
    names = "\\".join(f"*x{number}*" for number in range(45))
    query = f"PatientName={names}&ReferringPhysicianName={names}&fuzzymatching={fuzzy}"
    assert found(held, Level.STUDY, query) == []


def test_an_index_of_another_kind_is_told_apart(tmp_path: Path) -> None:
    assert prepare(tmp_path / INDEX)
    assert not prepare(tmp_path / INDEX)
