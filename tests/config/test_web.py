"""DICOMweb in the configuration: peers, the listener, who may ask it, what is fetched."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest

from gateway.config import Access, Config, DicomWeb, Fetch, Web, effective, load_text
from gateway.config.filters import queries
from gateway.config.windows import parse_window, within

ENVIRONMENT = {"TOKEN": "s3cret", "HOST": "cloud.example"}


def _config(text: str) -> Config:
    config = load_text("version: 1\n" + text, "FILE", ENVIRONMENT)
    assert load_text(effective(config), "EFFECTIVE", ENVIRONMENT) == config
    return config


def _cloud(*lines: str) -> DicomWeb:
    body = "".join(f"      {line}\n" for line in lines)
    config = _config(f"nodes:\n  c:\n    dicomweb:\n      url: https://c.example/dw/\n{body}")
    dicomweb = config.nodes["c"].dicomweb
    assert dicomweb is not None
    return dicomweb


def _web(*lines: str) -> Web:
    return _config("gateway:\n  web:\n" + "".join(f"    {line}\n" for line in lines)).gateway.web


def _fetch(*lines: str) -> Fetch:
    body = "".join(f"    {line}\n" for line in lines)
    node = "nodes: { c: { dicomweb: { url: https://c.example } } }\n"
    rule = f"fetch:\n  - name: f\n    from: c\n    every: 2m\n{body}"
    return _config(node + rule).fetch[0]


def test_a_dicomweb_node_has_careful_limits_and_no_slash_at_its_end() -> None:
    cloud = _cloud()
    assert cloud.url == "https://c.example/dw"
    assert (cloud.wado_uri, cloud.auth, cloud.tls.verify) == (None, None, True)
    assert (cloud.max_connections, cloud.requests_per_second) == (4, None)
    assert _cloud("requests_per_second: 0.5").requests_per_second == 0.5


def test_a_node_with_one_way_sends_by_it() -> None:
    nodes = _config(
        "nodes:\n  a: { dimse: { ae_title: A, host: a } }\n"
        "  b: { dicomweb: { url: https://b.example } }\n"
        "  c: { dimse: { ae_title: C, host: c }, dicomweb: { url: 'https://${HOST}' },"
        " send_by: dicomweb }\n"
    ).nodes
    assert [node.send_by for node in nodes.values()] == ["dimse", "dicomweb", "dicomweb"]


def test_a_server_may_have_wado_uri_alone_and_is_sent_to_in_another_way() -> None:
    config = _config(
        "nodes:\n  a: { dicomweb: { wado_uri: https://a.example/wado } }\n"
        "  b: { dimse: { ae_title: B, host: b }, dicomweb: { wado_uri: https://b.example/w } }\n"
        "routes: [{ name: r, send_to: b }]\n"
    )
    assert [node.send_by for node in config.nodes.values()] == ["dicomweb", "dimse"]


def test_a_secret_comes_from_the_environment_and_is_printed_nowhere() -> None:
    config = _config("nodes: { c: { dicomweb: { url: https://c.example,"
                     " auth: { basic: { user: u, password: '${TOKEN}' } } } } }\n")  # fmt: skip
    dicomweb = config.nodes["c"].dicomweb
    assert dicomweb is not None
    assert dicomweb.auth is not None
    assert dicomweb.auth.basic is not None
    secret = dicomweb.auth.basic.password
    assert secret is not None
    assert secret.value == "s3cret"
    printed = effective(config)
    assert "password: '${TOKEN}'" in printed
    assert "s3cret" not in printed + repr(config) + str(config) + str(secret)


def test_without_auth_everything_is_open() -> None:
    web = _web("listen: 127.0.0.1:0")
    assert all(web.access(group).open for group in ("read", "store", "admin", "health"))


def test_groups_that_are_not_named_are_as_safe_as_the_default() -> None:
    web = _web("auth: { default: { tokens_file: /run/t }, read: none }")
    tokens = Access.model_validate({"tokens_file": "/run/t"})
    assert web.access("store") == web.access("admin") == tokens
    assert web.access("read").open
    assert web.access("health").open


def test_several_ways_may_be_offered_at_once() -> None:
    web = _web(
        "tls: { certificate: c.pem, client_ca: ca.pem }",
        "auth:",
        "  default:",
        "    users_file: /run/users",
        "    client_certificate: true",
        "    oidc: { issuer: https://id.example, audience: gw, scopes: [read, write] }",
    )
    access = web.access("read")
    assert access.client_certificate
    assert access.oidc is not None
    assert access.oidc.scopes == ("read", "write")


def test_web_pages_of_any_origin_or_of_some() -> None:
    assert _web("cors: { origins: '*' }").cors.origins == ("*",)
    origins = _web("cors: { origins: ['https://a.example', 'http://b:8042'] }").cors.origins
    assert origins == ("https://a.example", "http://b:8042")


@pytest.mark.parametrize(
    ("written", "asked"),
    [
        ("today", "20261122"),
        ("today-7d", "20261115"),
        ("today - 1w", "20261115"),
        ("20261101", "20261101"),
        ("{ min: today-7d }", "20261115-"),
        ("{ max: today+1d }", "-20261123"),
        ("{ min: 20260101, max: today }", "20260101-20261122"),
    ],
)
def test_days_are_counted_from_the_day_of_asking(written: str, asked: str) -> None:
    rule = _fetch(f"filter: {{ StudyDate: {written} }}")
    assert list(queries(rule.filter, date(2026, 11, 22))) == [[("StudyDate", asked)]]


def test_a_filter_asks_for_names_wildcards_and_uids() -> None:
    rule = _fetch(
        "level: series", "filter: { Modality: CT, SeriesDescription: 'HEAD*', '0008,0016':"
        " CTImageStorage, StudyInstanceUID: [1.2, 1.3] }"
    )  # fmt: skip
    (query,) = queries(rule.filter, date(2026, 11, 22))
    assert dict(query) == {
        "Modality": "CT",
        "SeriesDescription": "HEAD*",
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2",
        "StudyInstanceUID": "1.2,1.3",
    }


def test_several_values_are_asked_for_one_by_one() -> None:
    rule = _fetch("filter: { ModalitiesInStudy: [CR, DX], PatientID: [A, B], StudyDate: today }")
    found = [[text for _, text in query] for query in queries(rule.filter, date(2026, 11, 22))]
    day = "20261122"
    assert found == [["CR", "A", day], ["CR", "B", day], ["DX", "A", day], ["DX", "B", day]]


@pytest.mark.parametrize(
    ("window", "hour", "inside"),
    [
        ("18:00-06:00", "2026-11-22T18:00", True),
        ("18:00-06:00", "2026-11-23T05:59", True),
        ("18:00-06:00", "2026-11-23T06:00", False),
        ("08:00-17:30", "2026-11-23T17:29", True),
        ("08:00-17:30", "2026-11-23T07:59", False),
        ("00:00-24:00", "2026-11-23T23:59", True),
        ("mon-fri 18:00-06:00", "2026-11-27T23:00", True),  # a Friday
        ("mon-fri 18:00-06:00", "2026-11-28T05:00", True),  # the Friday night's end
        ("mon-fri 18:00-06:00", "2026-11-28T18:00", False),
        ("mon-fri 18:00-06:00", "2026-11-23T05:00", False),  # the Sunday night's end
        ("sat,sun", "2026-11-22T12:00", True),
        ("fri-mon", "2026-11-24T12:00", False),
        ("sunday", "2026-11-22T00:00", True),
        ("08:00-09:00 America/New_York", "2026-11-23T14:30", True),
    ],
)
def test_a_window_of_time_is_judged_in_its_time_zone(window: str, hour: str, inside: bool) -> None:
    berlin = ZoneInfo("Europe/Berlin")
    now = datetime.fromisoformat(hour).replace(tzinfo=berlin)
    parsed = parse_window(window)
    assert within([parsed], now, berlin) is inside
    assert within([parsed], now.astimezone(UTC), berlin) is inside
    assert parse_window(str(parsed)) == parsed


def test_the_gateways_time_zone_is_the_machines_unless_it_is_said() -> None:
    assert _config("").gateway.time_zone is None
    assert _config("gateway: { time_zone: local }").gateway.time_zone is None
    assert _config("gateway: { time_zone: Europe/Paris }").gateway.time_zone == "Europe/Paris"
