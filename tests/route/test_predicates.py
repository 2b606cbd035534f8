"""What each kind of predicate takes, and what it passes over."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.config import effective, load_text
from gateway.model import Arrival, Origin
from gateway.route.explain import explain
from gateway.route.rules import Rules, compile_rules

CT = Origin(Arrival.C_STORE, "CT1", "GATEWAY", "10.1.4.21")
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)  # a Sunday


def _rules(*lines: str, gateway: str = "{ time_zone: UTC }") -> Rules:
    body = "".join(f"    {line}\n" for line in lines)
    config = load_text(
        f"version: 1\ngateway: {gateway}\n"
        "nodes: { n: { dimse: { ae_title: N, host: h } } }\n"
        f"routes:\n  - name: r\n    send_to: n\n{body}"
    )
    assert load_text(effective(config)) == config
    return compile_rules(config)


def _takes(line: str, header: dict[str, str], origin: Origin = CT, size: int = 0) -> bool:
    rules = _rules(line)
    taken = bool(rules.route(header, origin, size=size, now=NOW).owed)
    assert explain(rules, header, origin, size=size, now=NOW).routes[0].takes is taken
    return taken


@pytest.mark.parametrize(
    ("condition", "value", "holds"),
    [
        ("StudyDescription: { contains: stroke }", "CT stroke", True),
        ("StudyDescription: { contains: stroke }", "CT Stroke", False),
        ("StudyDescription: { contains: STROKE, ignore_case: true }", "ct stroke", True),
        ("StudyDescription: { contains: [knee, stroke] }", "stroke", True),
        ("StudyDescription: { has: Ärzte, ignore_case: true }", "ÄRZTE", True),
        ("StudyDescription: { matches: 'CT .*' }", "CT head", True),
        ("StudyDescription: { matches: 'CT .*' }", "a CT head", False),
        ("StudyDescription: { matches: 'ct|mr', ignore_case: true }", "MR", True),
        ("StudyDescription: { matches: '^(a+)+$' }", "a" * 5000 + "b", False),
        ("ImageType: { has: LOCALIZER }", r"ORIGINAL\PRIMARY\LOCALIZER", True),
        ("ImageType: { has: [AXIAL, LOCALIZER] }", r"ORIGINAL\PRIMARY", False),
        ("ImageType: { contains: LOCAL, matches: '.*PRIM.*' }", r"PRIMARY\LOCALIZER", True),
        ("Rows: { min: 512 }", "512", True),
        ("Rows: { min: 512 }", "511", False),
        ("Rows: { min: 64, max: 128 }", "129", False),
        ("SliceThickness: { max: 1.5 }", "1.500", True),
        ("SliceThickness: { max: 1.5 }", "x", False),
        ("PixelSpacing: { max: 0.5 }", r"0.7\0.4", True),
        ("StudyDate: today", "20261122", True),
        ("StudyDate: today", "2026.11.22", True),
        ("StudyDate: [today-1d, 20200101]", "20261121", True),
        ("StudyDate: { min: today-7d }", "20261115", True),
        ("StudyDate: { min: today-7d }", "20261114", False),
        ("StudyDate: { min: today-1w, max: 20261120 }", "20261121", False),
        ("StudyDate: { min: 20200101, max: today }", "20261122", True),
        ("StudyDate: { min: 20200101, max: today }", "20261123", False),
        ("StudyTime: { min: 0800, max: 1730 }", "080000.123", True),
        ("StudyTime: { min: 0800, max: 1730 }", "173059.999999", True),
        ("StudyTime: { min: 0800, max: 1730 }", "173100", False),
        ("StudyTime: 0830", "083000", True),
        ("StudyTime: 0830", "083059.999999", True),
        ("StudyTime: 0830", "083100", False),
        ("StudyTime: '08'", "08:59:59", True),
        ("StudyTime: [0700, 0830]", r"060000\083015", True),
        ("StudyTime: '08:30:15'", "083015.25", True),
        ("StudyTime: 083015", "0830", False),
        ("StudyTime: 083000", "0830", True),
        ("StudyTime: { min: 0830, max: 0830 }", "083015", True),
        ("StudyTime: { min: 083015 }", "0830", False),
        ("StudyTime: '0830\\0900'", r"0830\0900", True),
        ("StudyTime: '0830\\0900'", "0830", False),
        ("StudyTime: { has: 0830, missing: false }", "083000", True),
        ("StudyTime: 0830", "half past eight", False),
        ("AcquisitionDateTime: 20261122", "20261122101500", True),
        ("AcquisitionDateTime: 20261122", "20261122235959.999999-0500", True),
        ("AcquisitionDateTime: 20261122", "20261123", False),
        ("AcquisitionDateTime: '2026'", "20261123", True),
        ("AcquisitionDateTime: 202611220830", "20261122", False),
        ("AcquisitionDateTime: 20261122083000", "202611220830", True),
        ("AcquisitionDateTime: { min: 20261122 }", "202611", False),
        ("AcquisitionDateTime: { max: 20261122 }", "202611", True),
        ("AcquisitionDateTime: { max: 20261122 }", "20261122235959.1+0100", True),
        ("AcquisitionDateTime: { min: 20261122 }", "20261121235959", False),
        ("PatientAge: { min: 18Y }", "018Y", True),
        ("PatientAge: { min: 18Y }", "011M", False),
        ("PatientAge: { max: 4W }", "029D", False),
        ("PatientAge: 6M", "006M", True),
        ("PatientName: DOE^JOHN", "DOE^JOHN^^", True),
        ("PatientName: Yamada^Tarou", "Yamada^Tarou=山田^太郎", True),
        ("PatientName: { has: doe^john, ignore_case: true }", "DOE^JOHN", True),
        ("Modality: { missing: true }", "CT", False),
        ("Modality: { missing: false }", "CT", True),
        ("Modality: { missing: false }", " ", False),
        ("RequestAttributesSequence: { missing: false }", "2", True),
        ("RequestAttributesSequence.ScheduledProcedureStepID: A7", r"A6\A7", True),
        ("'(0019,xx08,ACME 1.0)': { min: 5 }", "7", True),
        ("'(0019,xx08,ACME 1.0)': { min: 5 }", "x", False),
    ],
)  # fmt: skip
def test_an_attribute_is_as_the_condition_says(condition: str, value: str, holds: bool) -> None:
    rules = _rules(f"match: {{ {condition} }}")
    header = {rules.subjects[0].source: value}
    assert bool(rules.route(header, CT, now=NOW).owed) is holds


def test_a_component_of_a_name_is_looked_at_in_every_group_of_it() -> None:
    name = {"PatientName": "Yamada^Tarou^^Dr=山田^太郎"}
    assert _takes("match: { PatientName.family: 山田 }", name)
    assert _takes("match: { PatientName.given: { contains: aro } }", name)
    assert _takes("match: { PatientName.prefix: Dr }", name)
    assert not _takes("match: { PatientName.suffix: { missing: false } }", name)
    assert not _takes("match: { PatientName.given: Yamada }", name)


def test_what_is_missing_or_empty_is_missing() -> None:
    line = "match: { BodyPartExamined: { missing: true } }"
    assert _takes(line, {})
    assert _takes(line, {"BodyPartExamined": " \0"})
    assert not _takes(line, {"BodyPartExamined": "HEAD"})


def test_the_origin_can_be_asked_for_in_match_and_unless() -> None:
    assert _takes("match: { calling_ae: [MR?, CT*] }", {})
    assert not _takes("unless: { calling_ae: CT1 }", {})
    assert _takes("unless: { called_ae: ARCHIVE, calling_ae: CT1 }", {})
    assert not _takes("match: { called_ae: { has: gate*, ignore_case: false } }", {})
    assert _takes("match: { called_ae: { has: gate*, ignore_case: true } }", {})
    assert _takes("match: { address: [192.0.2.0/24, 10.1.0.0/16] }", {})
    assert not _takes("match: { address: 10.2.0.0/16 }", {})


def test_senders_may_be_given_with_wildcards() -> None:
    assert _takes("from: ['calling_ae:CT*']", {})
    assert _takes("from: ['called_ae:*WAY']", {})
    assert not _takes("from: ['calling_ae:CT']", {})
    assert not _takes("from: ['calling_ae:?']", {})


def test_the_size_of_an_instance_is_in_bytes_with_units() -> None:
    assert _takes("match: { size: { max: 1KiB } }", {}, size=1024)
    assert not _takes("match: { size: { max: 1KiB } }", {}, size=1025)
    assert _takes("match: { size: { min: 1MB, max: 1MiB } }", {}, size=1_000_000)


@pytest.mark.parametrize(
    ("expr", "header", "holds"),
    [
        ("Modality == 'CT' && Rows > 500.0", {"Modality": "CT", "Rows": "512"}, True),
        ("Rows > 500", {"Rows": "512"}, True),
        ("Rows * Columns < 70000", {"Rows": "256", "Columns": "256"}, True),
        ("Rows > 500", {}, False),
        ("ImageType.exists(v, v == 'LOCALIZER')", {"ImageType": r"A\LOCALIZER"}, True),
        ("size(ImageType) > 2", {"ImageType": r"A\B"}, False),
        ("calling_ae.startsWith('CT') || size > 5", {}, True),
        ("StudyDescription.matches('^[a-z]+$')", {"StudyDescription": "abc"}, True),
        ("StudyDescription == ''", {}, True),
        ("PixelSpacing.all(v, v < 1.0)", {"PixelSpacing": r"0.5\0.6"}, True),
    ],
)
def test_an_expression_says_the_rest(expr: str, header: dict[str, str], holds: bool) -> None:
    assert _takes(f'expr: "{expr}"', header) is holds


def test_a_text_in_an_expression_keeps_its_blanks() -> None:
    expr = "expr: \"StudyDescription == 'CT  HEAD'\""
    assert _takes(expr, {"StudyDescription": "CT  HEAD"})
    assert not _takes(expr, {"StudyDescription": "CT HEAD"})


def test_patient_data_is_a_value_and_never_part_of_an_expression() -> None:
    header = {"PatientID": "' || true || '", "Modality": "x"}
    assert not _takes("expr: \"PatientID == 'A'\"", header)


def test_a_route_without_its_hours_takes_nothing_and_no_time_is_in_no_hours() -> None:
    assert _takes("during: sun 08:00-13:00", {})
    assert not _takes("during: [sat, '13:00-14:00']", {})
    assert not _rules("during: 00:00-24:00").route({}, CT).owed
    assert (
        _rules("during: 13:00-14:00", gateway="{ time_zone: Europe/Berlin }")
        .route({}, CT, now=NOW)
        .owed
    )


def test_days_are_those_of_the_gateways_time_zone() -> None:
    rules = _rules("match: { StudyDate: today }", gateway="{ time_zone: Asia/Tokyo }")
    late = datetime(2026, 11, 22, 20, 0, tzinfo=UTC)
    assert rules.route({"StudyDate": "20261123"}, CT, now=late).owed
    assert not rules.route({"StudyDate": "20261123"}, CT).owed


def test_a_route_that_is_switched_off_is_not_there() -> None:
    rules = _rules("enabled: false")
    assert rules.routes == ()


def test_the_explanation_shows_expression_and_hours_with_what_was_met() -> None:
    rules = _rules("expr: Rows > 500", "during: mon 08:00-09:00", "match: { size: { min: 1KiB } }")
    route = explain(rules, {"Rows": "12"}, CT, size=512, now=NOW).routes[0]
    assert [(each.written, each.met, each.holds) for each in route.rest] == [
        ("expr: Rows > 500", "false", False),
        ("during: mon 08:00-09:00", "sun 12:00", False),
    ]
    assert [(each.written, each.met) for each in route.match] == [("size: min 1KiB", "512B")]


def test_an_expression_sees_a_hundred_values_and_the_explanation_says_so() -> None:
    rules = _rules("expr: ImageType.exists(v, v == 'LAST') || Rows > 1")
    for count, met in ((100, "true"), (101, "false, by the first 100 of 101 values of ImageType")):
        header = {"ImageType": "\\".join([*["A"] * (count - 1), "LAST"]), "Rows": "1"}
        (each,) = explain(rules, header, CT, now=NOW).routes[0].rest
        assert (each.met, each.holds) == (met, count == 100)


KEYS = ["Modality", "Rows", "StudyDate", "StudyTime", "PatientName", "PatientAge", "ImageType",
        "AcquisitionDateTime", "PatientID"]  # fmt: skip


@given(st.dictionaries(st.sampled_from(KEYS), st.text(max_size=20)), st.text(max_size=20))
@settings(deadline=None, max_examples=200)
def test_no_header_harms_any_predicate(header: dict[str, str], title: str) -> None:
    rules = HARD
    origin = Origin(Arrival.C_STORE, title, title, title)
    decision = rules.route(header, origin, now=NOW)
    assert decision == explain(rules, header, origin, now=NOW).decision


HARD = _rules(
    "match:",
    "  Rows: { min: 1, max: 2 }",
    "  StudyDate: { min: today-7d }",
    "  StudyTime: { max: 1200 }",
    "  AcquisitionDateTime: { min: 2020 , max: 2021 }",
    "  PatientAge: { min: 18Y }",
    "  PatientName.family: { matches: 'a.*' , ignore_case: true }",
    "unless: { ImageType: { contains: X }, calling_ae: '*A*' , address: 10.0.0.0/8 }",
    "expr: Rows > 1 && ImageType.exists(v, v == PatientID)",
)
