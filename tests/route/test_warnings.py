"""Remarks on what a right configuration may have got wrong, and silence where all is well."""

from pathlib import Path

import pytest

from gateway.config import load, load_text
from gateway.route.warnings import warnings

FOLDER = Path(__file__).parents[2] / "config"
NODES = (
    "version: 1\nnodes:\n"
    "  a: { dimse: { ae_title: A, host: a } }\n  b: { dimse: { ae_title: B, host: b } }\n"
)
KNOWN = "gateway: { dicom: { accept_from: [A, B, X] } }\n"


def _warned(text: str) -> list[str]:
    return [f"{each.line}: {each.text}" for each in warnings(load_text(text, "FILE", {}))]


def _routes(*routes: str, top: str = "") -> list[str]:
    return _warned(NODES + "routes:\n" + "".join(f"  - {{ {each} }}\n" for each in routes) + top)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_examples_give_no_cause(path: Path) -> None:
    assert warnings(load(path, {})) == []


@pytest.mark.parametrize(
    ("route", "why"),
    [
        ("match: { Modality: CT }, unless: { Modality: [CT, MR] }",
         "unless keeps out all that match takes"),
        ("match: { StationName: { contains: x } }, unless: { StationName: { contains: x } }",
         "unless keeps out all that match takes"),
        ("match: { calling_ae: [X, Y] }, from: b",
         "from and match ask for different calling AE titles"),
    ],
)  # fmt: skip
def test_a_route_that_can_never_match_is_named(route: str, why: str) -> None:
    found = _routes(
        f"name: r, send_to: a, {route}", "name: s, match: { Modality: CT }, send_to: b"
    )
    assert found == [f"6: route r can never take anything: {why}"]


def test_a_part_of_a_date_or_time_in_another_form_than_dicoms_is_named() -> None:
    assert _routes(
        "name: r, send_to: a, match: { StudyTime: { contains: [':30', '8h'] } }",
        "name: s, send_to: b, match: { StudyTime: { contains: '0830' } },"
        " unless: { StudyDate: { contains: 2026-11 }, AcquisitionDateTime: { contains: '+01' } }",
        top=KNOWN,
    ) == [
        "6: route r: no StudyTime contains '8h': it is compared as HHMMSS.FFFFFF",
        "7: route s: no StudyDate contains '2026-11': it is compared as YYYYMMDD",
    ]


def test_a_code_in_lower_case_is_named() -> None:
    found = _routes(
        "name: r, send_to: a, match: { Modality: [CT, mr], StudyDescription: head }",
        "name: s, send_to: b, unless: { Modality: { has: ct, ignore_case: true } }",
        "name: t, send_to: b, match: { TransferSyntaxUID: j2k, '(0019,xx08,ACME)': x,"
        " calling_ae: ct1, PatientSex: m }, unless: { Modality: us }",
    )
    assert [each for each in found if "upper case" in each] == [
        "6: route r: Modality is in upper case; did you mean MR?",
        "8: route t: PatientSex is in upper case; did you mean M?",
        "8: route t: Modality is in upper case; did you mean US?",
    ]


@pytest.mark.parametrize(
    ("one", "other"),
    [("StudyTime: 0830", "StudyTime: 083015"), ("StudyDate: today", "StudyDate: 20261122")],
)
def test_routes_whose_dates_or_times_may_meet_overlap(one: str, other: str) -> None:
    assert len(_routes(f"name: r, send_to: [a, b], match: {{ {one} }}",
                       f"name: s, send_to: a, match: {{ {other} }}", top=KNOWN)) == 1  # fmt: skip


def test_a_day_to_come_that_changes_within_the_hours_of_a_fetch_rule_is_named() -> None:
    def found(during: str, day: str) -> list[str]:
        return _warned(
            "version: 1\nnodes: { c: { dicomweb: { url: https://c.example } } }\n"
            "fetch: [{ name: f, from: c, every: 1h,"
            f" during: '{during}', filter: {{ StudyDate: {day} }} }}]\n"
        )

    assert found("22:00-06:00", "today+1d") == [
        "3: fetch rule f: after midnight today+1d is the next day; did you mean StudyDate:"
        " { min: today, max: today+1d }?"
    ]
    for during, day in (
        ("22:00-24:00", "today+1d"),
        ("22:00-06:00", "{ min: today, max: today+1d }"),
        ("22:00-06:00", "today"),
        ("22:00-06:00", "20261122"),
    ):
        assert found(during, day) == []


def test_a_route_whose_senders_are_turned_away_is_named() -> None:
    top = "gateway: { dicom: { accept_from: [X] } }\n"
    assert _routes("name: r, send_to: a, from: b", top=top) == [
        "6: route r can never take anything: gateway.dicom.accept_from turns its senders away"
    ]


def test_a_condition_that_some_instances_meet_is_no_cause() -> None:
    routes = (
        "name: r, from: b, send_to: a, match: { Modality: [CT, MR] }, unless: { Modality: CT }"
    )
    assert _routes(routes, top=KNOWN) == []


def test_a_node_that_has_no_part_is_named() -> None:
    assert _routes("name: r, send_to: a") == [
        "4: node b: no route sends to it, and nothing comes from it"
    ]


@pytest.mark.parametrize(
    "routes",
    [
        ("match: { Modality: CT }", "match: { Modality: MR }"),
        ("from: a", "from: 'calling_ae:X'"),
        ("match: { Modality: CT }", "unless: { Modality: [CT, MR] }"),
        ("match: { PatientID: { missing: true } }", "match: { PatientID: 5 }"),
    ],
)
def test_routes_that_no_instance_can_meet_together_do_not_overlap(routes: tuple[str, str]) -> None:
    first, second = (f"name: r{index}, send_to: b, {each}" for index, each in enumerate(routes))
    assert _routes(first, second, "name: x, send_to: a, from: b", top=KNOWN) == []


@pytest.mark.parametrize(
    "routes",
    [
        ("match: { Modality: CT }", "match: { BodyPartExamined: HEAD }"),
        ("match: { ImageType: A }", "match: { ImageType: B }"),
        ("from: a", ""),
        ("from: a", "from: ['calling_ae:A*']"),
    ],
)
def test_two_routes_to_one_destination_are_named(routes: tuple[str, str]) -> None:
    found = _routes(*(f"name: r{i}, send_to: [a, b], {each}" for i, each in enumerate(routes)))
    text = "routes r0 and r1 may both take an instance to a"
    assert found == [f"7: {text}: then it is sent once, by the first of them"]


def test_many_routes_to_one_node_are_named_in_one_line_each() -> None:
    found = _routes(*(f"name: r{number}, send_to: [a, b]" for number in range(4)))
    both = "may both take an instance to a"
    once = "then it is sent once, by the first of them"
    assert found == [
        f"7: routes r0 and r1 {both}: {once}",
        f"8: routes r0 and r2 {both} (and so may 1 more before it): {once}",
        f"9: routes r0 and r3 {both} (and so may 2 more before it): {once}",
    ]


@pytest.mark.parametrize(
    ("route", "named"),
    [
        ("from: 'called_ae:TEACHING'", True),
        ("match: { called_ae: [TEACHING, NIGHT] }", True),
        ("match: { called_ae: [TEACHING, GATEWAY] }", False),
        ("from: ['called_ae:TEACHING', b]", False),
        ("from: 'called_ae:GATE*'", False),
    ],
)
def test_a_route_for_another_title_than_the_one_that_is_checked_is_named(
    route: str, named: bool
) -> None:
    top = "gateway: { dicom: { check_called_ae: true } }\n"
    found = _routes(f"name: r, send_to: [a, b], {route}", top=top)
    text = "gateway.dicom.check_called_ae turns away who calls another title"
    assert found == ([f"6: route r can never take anything: {text}"] if named else [])
    assert _routes(f"name: r, send_to: [a, b], {route}") == []


def test_a_node_that_reads_no_sop_class_of_a_route_is_named() -> None:
    nodes = NODES.replace("host: b }", "host: b }, can_read: { sop_classes: MRImageStorage }")
    route = "routes: [{ name: r, send_to: [a, b], match: { SOPClassUID: %s } }]\n"
    assert _warned(nodes + route % "[CTImageStorage, MRImageStorage]") == []
    assert _warned(nodes + route % "CTImageStorage") == [
        "5: route r: b reads none of the SOP classes that it takes: all of it is held"
    ]


def test_what_a_node_reads_and_nobody_can_make_is_named() -> None:
    found = _warned(
        "version: 1\nnodes:\n"
        "  a: { dimse: { ae_title: A, host: a }, can_read: { syntaxes: [j2k], color: RGB } }\n"
        "routes:\n  - { name: r, send_to: a, pixels: { change: always } }\n"
    )
    assert found == [
        "3: a reads no uncompressed transfer syntax: color and planar have no use",
        "3: nothing is ever compressed here, so a gets what arrives as j2k alone",
        "5: route r: pixels.change: always, and a reads no uncompressed transfer syntax",
    ]


def test_a_group_that_may_outlast_the_time_after_which_is_given_up_is_named() -> None:
    def said(limit: str) -> list[str]:
        delivery = f"delivery: {{ give_up_after: {limit} }}"
        group = "group: { quiet_for: 20s, deadline: 30m }"
        return _routes(f"name: r, send_to: [a, b], {group}, {delivery}")

    assert said("30m") == [
        "6: route r: give_up_after counts from receipt and is not longer than the group's"
        " deadline: a delivery may be given up at its first failure"
    ]
    assert said("31m") == said("never") == []


def test_credentials_in_plain_text_and_peers_that_are_not_checked_are_named() -> None:
    found = _warned(
        "version: 1\n"
        "gateway: { web: { listen: '0.0.0.0:80', auth: { default: { users_file: u } } } }\n"
        "nodes:\n  c:\n    dicomweb:\n      url: http://c.example\n"
        "      auth: { oauth2: { token_url: http://t.example, client_id: c,"
        " client_secret_file: s } }\n      tls: { verify: false }\n"
        "serve: { upstream: c }\n"
    )
    assert found == [
        "2: credentials reach 0.0.0.0:80 in plain text: gateway.web.tls is not set",
        "6: credentials for c travel in plain text: the URL is http",
        "7: the secret for c travels in plain text: token_url is http",
        "8: c is believed whoever it is: tls.verify is false",
    ]


def test_a_listener_that_anybody_may_use_is_named_unless_it_is_this_machines_own() -> None:
    text = "whoever reaches 0.0.0.0:80 may read, store and administer"
    assert _warned("version: 1\ngateway: { web: { listen: '0.0.0.0:80' } }\n") == [f"2: {text}"]
    assert _warned("version: 1\ngateway: { web: { listen: '127.0.0.1:80' } }\n") == []


@pytest.mark.parametrize("who", ["from: [b, 'calling_ae:X']", "match: { calling_ae: [B, X] }"])
def test_what_nobodys_route_takes_though_anybody_may_send_it_is_named(who: str) -> None:
    route = f"name: r, send_to: a, {who}"
    (found,) = (each for each in _routes(route, "name: s, send_to: b, from: a") if "any" in each)
    assert found == (
        "6: anybody may send, and each route names its senders: what others send goes nowhere; "
        "list who may send in gateway.dicom.accept_from, or add a route without from"
    )
    assert _routes(route, "name: s, send_to: b, from: a", top=KNOWN) == []


@pytest.mark.parametrize("who", ["match: { Modality: CT }", "from: 'calling_ae:*'", "from: a"])
def test_a_route_for_anybodys_images_is_no_cause(who: str) -> None:
    other = "name: s, send_to: b, match: { Modality: MR }"
    assert _routes(f"name: r, send_to: a, {who}", other) == []
