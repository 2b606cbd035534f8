"""What ``explain`` says of who is let in, when a delivery goes, and a size that it is told."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file

from gateway.cli.terms import occasion, refusal
from gateway.config import Config, load_text
from gateway.model import Arrival, Origin
from tests.cli.test_configuration import said

NODES = (
    "nodes:\n"
    "  pacs: { dimse: { ae_title: PACS, host: h } }\n"
    "  film: { dimse: { ae_title: FILM, host: h }, can_read: { max_instance: 1MiB } }\n"
    "  cloud: { dicomweb: { url: https://c.example } }\n"
)
DOOR = "version: 1\ngateway: { time_zone: UTC, dicom: { accept_from: [PACS, CT1] } }\n" + NODES
SUNDAY = datetime(2026, 11, 22, 12, tzinfo=UTC)
IMAGE = get_testdata_file("CT_small.dcm")


def _config(*routes: str, door: str = DOOR) -> Config:
    return load_text(door + "routes:\n" + "".join(f"  - {{ {each} }}\n" for each in routes))


def _explained(folder: Path, config: str, *arguments: object) -> list[str]:
    """The lines without the tree."""
    file = folder / "gateway.yaml"
    file.write_text(config, encoding="utf-8")
    result = said("explain", "-c", file, *arguments)
    assert result.exit_code == 0, result.output
    return [line.lstrip("│├└─ ") for line in result.stdout.splitlines()]


def test_who_is_not_let_in_is_told_so(tmp_path: Path) -> None:
    config = DOOR + "routes: [{ name: all, send_to: pacs }]\n"
    lines = _explained(tmp_path, config, IMAGE, "--calling", "MR7")
    why = "MR7 is not in gateway.dicom.accept_from (PACS, CT1)"
    assert f"✗ the association would be refused: {why}" in lines
    assert "if it were let in, it would go to" in lines
    result = said("explain", "--json", "-c", tmp_path / "gateway.yaml", IMAGE, "--from", "film")
    (facts,) = json.loads(result.stdout)
    assert facts["refused"] == "FILM is not in gateway.dicom.accept_from (PACS, CT1)"
    for sender in (["--calling", "CT1"], ["--from", "pacs"], ["--from", "cloud"]):
        lines = _explained(tmp_path, config, IMAGE, *sender)
        assert "goes to" in lines
        assert not [line for line in lines if "refused" in line]


def test_where_nobody_says_who_sends_those_who_may_are_named(tmp_path: Path) -> None:
    lines = _explained(tmp_path, DOOR, IMAGE)
    assert "only PACS, CT1 may send (gateway.dicom.accept_from)" in lines


def test_a_called_title_that_is_not_the_gateways_is_refused_where_it_is_looked_at() -> None:
    config = load_text("version: 1\ngateway: { dicom: { check_called_ae: true } }\n")
    wrong = Origin(Arrival.C_STORE, "", "ARCHIVE")
    text = "it calls ARCHIVE, and gateway.dicom.check_called_ae takes GATEWAY alone"
    assert refusal(wrong, config) == text
    assert refusal(Origin(Arrival.C_STORE, "", "GATEWAY"), config) == ""


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        ("", "at once"),
        ("delivery: { priority: low }", "at once, low priority"),
        ("delivery: { during: sun }", "in these hours: sun (open)"),
        ("delivery: { during: [18:00-20:00, sat] }",
         "in these hours: 18:00-20:00, sat (from Sun 18:00)"),
        ("group: { by: study, quiet_for: 2m }, delivery: { during: sat, priority: high }",
         "once no more of its study has come for 2m, or 1h after the first, in these hours: sat,"
         " high priority"),
        ("delivery: { objects_per_s: 20, mbit_per_s: 0.5 }",
         "at once, at most 20 instances a second, at most 0.5 Mbit/s"),
    ],
)  # fmt: skip
def test_a_delivery_goes_when_its_route_says(terms: str, expected: str) -> None:
    config = _config(", ".join(filter(None, ["name: r, send_to: pacs", terms])))
    assert occasion(config.routes[0], "pacs", config, SUNDAY) == expected


def test_the_order_is_that_of_all_that_waits_for_the_node() -> None:
    config = _config(
        "name: a, send_to: [pacs, film]", "name: b, send_to: film, delivery: { order: by-study }"
    )
    told = [occasion(config.routes[0], node, config, SUNDAY) for node in ("pacs", "film")]
    assert told == ["at once", "at once, by-study"]


def test_each_delivery_has_a_line_that_says_when_and_what_is_held_has_none(tmp_path: Path) -> None:
    config = (
        "version: 1\n" + NODES + "routes:\n"
        "  - { name: a, send_to: pacs, delivery: { priority: high } }\n"
        "  - { name: b, send_to: film, pixels: { change: never } }\n"
    ).replace("1MiB", "1KiB")
    lines = _explained(tmp_path, config, IMAGE)
    assert [line for line in lines if "when" in line] == ["when: at once, high priority"]
    held = [line for line in lines if line.startswith("film by")]
    assert held == ["film by route b: held: 39206 bytes are more than film takes"
                    " (can_read.max_instance: 1KiB)"]  # fmt: skip


@pytest.fixture
def header(tmp_path: Path) -> Path:
    """The DICOM JSON header of a compressed image."""
    path = tmp_path / "header.json"
    syntax = {"vr": "UI", "Value": ["1.2.840.10008.1.2.4.70"]}
    path.write_text(json.dumps([{"00083002": syntax}]))
    return path


FILM = "version: 1\n" + NODES + "routes: [{ name: r, send_to: film, ROUTE }]\n"


def test_a_header_alone_has_no_size_and_the_limits_that_this_leaves_open_are_named(
    tmp_path: Path, header: Path
) -> None:
    as_stored = FILM.replace("ROUTE", "pixels: { change: never }")
    lines = _explained(tmp_path, as_stored, header)
    assert "size unknown: max_instance (1MiB) is not looked at" in lines
    (held,) = [line for line in _explained(tmp_path, as_stored, header, "--size", "2MiB")
               if line.startswith("film")]  # fmt: skip
    assert held.startswith("film by route r: held: 2097152 bytes are more than film takes")
    lines = _explained(tmp_path, as_stored, header, "--size", "1MiB")
    assert not [line for line in lines if "max_instance" in line]
    decoded = FILM.replace("ROUTE", "pixels: { change: always }")
    lines = _explained(tmp_path, decoded, header, "--size", "1MiB")
    text = (
        "max_instance (1MiB) is compared with the stored size; what is sent, only the file tells"
    )
    assert text in lines


def test_what_asks_for_the_size_does_not_hold_where_it_is_not_known(
    tmp_path: Path, header: Path
) -> None:
    config = FILM.replace("ROUTE", "match: { size: { max: 5MiB } }")
    assert "✗ size: max 5MiB: it is not known" in _explained(tmp_path, config, header)
    lines = _explained(tmp_path, config, header, "--size", "512KiB")
    assert "✓ size: max 5MiB: it is 512KiB" in lines
    result = said("explain", "-c", tmp_path / "gateway.yaml", header, "--size", "5M")
    assert result.exit_code == 2
    assert "did you mean 5MiB?" in result.stderr


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("size: 1MiB", ""),
        ("size: 2MiB", "2097152 bytes are more than film takes"),
        ("BitsStored: 12", ""),
        ("BitsStored: 16", "16 bits per sample are more than film reads"),
        ("SOPClassUID: CTImageStorage", ""),
        ("SOPClassUID: MRImageStorage", "film does not read SOP class"),
    ],
)
def test_an_example_may_state_what_a_node_cannot_take(
    tmp_path: Path, given: str, problem: str
) -> None:
    reads = "can_read: { bits: 12, sop_classes: [CTImageStorage], "
    config = FILM.replace(", ROUTE", "").replace("can_read: { ", reads) + (
        f"examples: [{{ given: {{ TransferSyntaxUID: explicit-le, {given} }},"
        " expect: { r: { film: { syntax: explicit-le } } } }]\n"
    )
    file = tmp_path / "gateway.yaml"
    file.write_text(config)
    assert problem in said("check", "-q", file).stderr
    assert said("check", "-q", file).exit_code == bool(problem)
