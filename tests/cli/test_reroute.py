"""``dicom-gateway queue reroute`` as a person calls it."""

import asyncio
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.cli import app
from gateway.clock import utc_now
from gateway.spool import Queue, Spool
from tests.scripted_peer import part10
from tests.spool.arrivals import keep

TEXT = """
version: 1
gateway: {{ spool: {{ path: "{folder}/spool" }} }}
nodes:
  pacs: {{ dimse: {{ ae_title: PACS, host: 127.0.0.1 }} }}
  archive: {{ dimse: {{ ae_title: ARCHIVE, host: 127.0.0.1 }} }}
routes:
  - {{ name: to-pacs, match: {{ SOPInstanceUID: {{ matches: "1.2.[01]" }} }}, send_to: [pacs] }}
  - {{ name: to-archive, match: {{ SOPInstanceUID: [1.2.0, 1.2.3] }}, send_to: [archive] }}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """1.2.0 to 1.2.2 are owed to the PACS; 1.2.3 and 1.2.4 nobody is owed."""

    async def fill() -> None:
        spool = Spool.open(tmp_path / "spool", clock=utc_now, refuse_below_free=0)
        for number in range(5):
            uid, to = f"1.2.{number}", ["pacs"] * (number < 3)
            await keep(spool, uid, *to, content=part10(uid), received_at=utc_now())
        await spool.aclose()

    asyncio.run(fill())
    file = tmp_path / "gateway.yaml"
    file.write_text(TEXT.format(folder=tmp_path))
    return file


def said(*arguments: object):
    return CliRunner().invoke(app, ["queue", "reroute", *map(str, arguments)])


def owed(config: Path) -> list[tuple[str, str, str]]:
    with Queue(config.parent / "spool", clock=utc_now) as queue:
        rows = queue.list()
    return sorted((row.sop_instance_uid[-1], row.destination, row.state) for row in rows)


def test_all_that_a_node_is_owed_is_routed_anew(config: Path) -> None:
    result = said("--destination", "pacs", "-c", config)
    assert result.output == (
        "2 of 3 instances routed anew: 1 deliveries new, 1 dropped, 0 by another route or "
        "priority\n"
    )
    assert result.exit_code == 0
    assert owed(config) == [
        ("0", "archive", "owed"),
        ("0", "pacs", "owed"),
        ("1", "pacs", "owed"),
        ("2", "pacs", "dropped"),
    ]


def test_what_nobody_took_is_taken_now(config: Path) -> None:
    result = said("--unrouted", "-c", config)
    assert result.output.startswith("1 of 2 instances routed anew: 1 deliveries new, 0 dropped")
    assert ("3", "archive", "owed") in owed(config)
    assert len(owed(config)) == 4


@pytest.mark.parametrize("selector", ["1.2.2", "3"])
def test_one_instance_by_its_uid_or_by_a_deliverys_number(config: Path, selector: str) -> None:
    assert said(selector, "-c", config).output.startswith("1 of 1 instances routed anew")
    assert [row for row in owed(config) if row[2] == "dropped"] == [("2", "pacs", "dropped")]


def test_a_whole_study(config: Path) -> None:
    assert said("--study", "1.2.3", "-c", config).output.startswith("3 of 5 instances")


def test_a_dry_run_only_says_what_would_change(config: Path) -> None:
    before = owed(config)
    result = said("--study", "1.2.3", "--dry-run", "-c", config)
    *named, counted = result.output.splitlines()
    assert counted.startswith("3 of 5 instances would be routed anew: 2 deliveries new, 1")
    assert [(line.split()[0], line.rpartition("  ")[2]) for line in named] == [
        ("1.2.0", "to archive"),
        ("1.2.2", "no longer to pacs"),
        ("1.2.3", "to archive"),
    ]
    assert owed(config) == before


def test_a_dry_run_for_what_nobody_took_names_what_stays_so_too(config: Path) -> None:
    named = said("--unrouted", "--dry-run", "-c", config).output.splitlines()[:-1]
    assert [(line.split()[:2], line.rpartition("  ")[2]) for line in named] == [
        (["1.2.3", "CT1"], "to archive"),
        (["1.2.4", "CT1"], "no route takes it"),
    ]


def test_what_cannot_be_read_stays_as_it_is_and_is_named(config: Path) -> None:
    (config.parent / "spool" / "instances" / "000000" / "3.dcm").unlink()
    result = said("--destination", "pacs", "-c", config)
    assert result.exit_code == 1
    assert "1.2.2: cannot be read, and stays as it is" in result.output
    assert "1 of 2 instances routed anew" in result.output
    assert ("2", "pacs", "owed") in owed(config)


@pytest.mark.parametrize("given", [[], ["1.2.1", "--unrouted"], ["--study", "1", "1.2.1"]])
def test_who_does_not_name_one_thing_is_told_what_may_be_named(
    config: Path, given: list[str]
) -> None:
    result = said(*given, "-c", config)
    assert result.exit_code == 2
    assert "name one" in result.output


def test_nothing_found_is_an_exit_status(config: Path) -> None:
    result = said("1.9.9", "-c", config)
    assert result.exit_code == 1
    assert result.output.startswith("0 of 0 instances")
